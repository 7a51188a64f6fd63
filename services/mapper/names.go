package mapper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/stream"
)

// Names is the bucket of names that are somebody's. Put succeeds only where rev
// is still the stored revision (0: not there yet), else it fails with
// stream.ErrConflict.
type Names interface {
	Get(ctx context.Context, key string) (identity.Name, uint64, error)
	Put(ctx context.Context, key string, name identity.Name, rev uint64) (uint64, error)
}

// errStore marks a failure of what a mapping asks: the event comes again, it is
// no problem of the person's.
var errStore = errors.New("what is kept of names and people could not be asked")

// settleNames gives each attribute that must be unique the best candidate that
// is the person's already, or nobody's, and then becomes theirs for good. The
// same candidates always give the same person the same name: after a crash, on
// a redelivery, and when they come back after years. What was reserved and did
// not make it into a wish stays reserved; it is theirs when it is due.
func settleNames(ctx context.Context, names Names, target, id string, result *mapping.Result) error {
	for _, p := range result.Proposals {
		if err := settleName(ctx, names, target, id, p, result); err != nil {
			return err
		}
	}
	return nil
}

func settleName(ctx context.Context, names Names, target, id string, p mapping.Proposal, result *mapping.Result) error {
	if names == nil {
		return fmt.Errorf("%w: there is none", errStore)
	}
	for _, c := range p.Candidates {
		theirs, err := claim(ctx, names, identity.NameKey(target, p.Path, c.Value), identity.Name{Identity: id, Path: p.Path})
		if err != nil {
			return err
		}
		if theirs {
			return result.Take(p, c)
		}
	}
	return p.Failed(target, mapping.ErrTaken)
}

// claim tells whether a name is the person's; one that is nobody's becomes it.
// Of two who ask at the same time the store lets one have it, and the other
// reads whose it is.
func claim(ctx context.Context, names Names, key string, name identity.Name) (theirs bool, err error) {
	for range maxConflicts {
		holder, _, err := names.Get(ctx, key)
		if err == nil {
			return holder.Identity == name.Identity, nil
		}
		if !errors.Is(err, stream.ErrNotFound) {
			return false, fmt.Errorf("%w: read a name: %w", errStore, err)
		}
		name.At = time.Now().UTC()
		_, err = names.Put(ctx, key, name, 0)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, stream.ErrConflict) {
			return false, fmt.Errorf("%w: reserve a name: %w", errStore, err)
		}
	}
	return false, fmt.Errorf("%w: reserve a name: %w", errStore, stream.ErrConflict)
}

// storeFailed is the failure to ask what is kept among problems, or nil.
func storeFailed(problems []problem) error {
	for _, p := range problems {
		if errors.Is(p.err, errStore) {
			return fmt.Errorf("compute the wish for %s: %w", p.target, p.err)
		}
	}
	return nil
}
