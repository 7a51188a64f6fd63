package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
)

// Leaver is an account that should no longer give access, and of which the
// target has not yet shown three times that it does not.
type Leaver struct {
	Target   string `json:"target"`
	Identity string `json:"identity"`
	Key      string `json:"key"`
	Wish     string `json:"wish"`
	// Since is when the person lost the account.
	Since time.Time `json:"since"`
	// Stands is where it stands: waiting, failing, held, case, or confirming (the
	// target shows it; it is read again).
	Stands string `json:"stands"`
	// Confirmed is when the target last showed it.
	Confirmed time.Time `json:"confirmed,omitzero"`
	Checks    int       `json:"checks"`
	Case      string    `json:"case,omitempty"`
}

// confirmations is how often a disabled account is read again.
const confirmations = 2

// Leavers lists, oldest first, whose leaving is not confirmed yet.
func (l *Library) Leavers(ctx context.Context) ([]Leaver, error) {
	ids, err := l.Identities.Keys(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	out := []Leaver{}
	for _, id := range ids {
		rec, _, err := l.Identities.Get(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("read a person: %w", err)
		}
		for target, wish := range rec.Wishes {
			if wish.Wish == identity.Present || wish.Wish == identity.Unmanaged {
				continue
			}
			a, _, err := l.Accounts.Get(ctx, identity.AccountKey(target, id))
			if errors.Is(err, stream.ErrNotFound) {
				continue // there never was one
			}
			if err != nil {
				return nil, fmt.Errorf("read an account: %w", err)
			}
			if stands := standing(a, wish); stands != "" {
				out = append(out, Leaver{
					Target: target, Identity: id, Key: rec.Key, Wish: wish.Wish, Since: wish.Since, Stands: stands,
					Confirmed: a.Confirmed, Checks: a.Checks, Case: a.Case,
				})
			}
		}
	}
	slices.SortFunc(out, func(x, y Leaver) int { return x.Since.Compare(y.Since) })
	return out, nil
}

// standing is how far a leaver's account has come, or "" where it is done.
func standing(a identity.Account, w identity.Wish) string {
	switch {
	case a.RemoteID == "" && a.Intent == nil:
		return "" // nothing there
	case a.Held == w.Revision:
		return "held"
	case a.Case != "":
		return "case"
	case a.Applied < w.Revision && a.Attempts > 0:
		return "failing"
	case a.Applied < w.Revision:
		return "waiting"
	case a.State == identity.Disabled && a.Checks < confirmations:
		return "confirming"
	default:
		return ""
	}
}
