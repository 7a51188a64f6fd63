package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
)

// Errors that make a case of a command.
var (
	// ErrStranger: an account matches that is not ours to take.
	ErrStranger = errors.New("an account that Joinery neither created nor may adopt has this name")
	// ErrAmbiguous: more than one account matches.
	ErrAmbiguous = errors.New("more than one account matches this person")
)

// search looks for the account by the target's matching rules, first hit wins,
// and links it where that is allowed:
//
//	found                                    then
//	nothing                                  nothing (the caller creates)
//	one, with our externalId                 ours
//	one, while a create of ours is open      ours: the lost answer said 201
//	one, with somebody else's externalId     case "stranger"
//	one, without externalId                  by policy: adopt, or case "stranger"
//	several                                  case "ambiguous"
func (p *pursuit) search(ctx context.Context, desired scim.Resource) error {
	asked := false
	for _, attr := range p.settings.Match {
		value, ok := text(desired, attr)
		if !ok {
			continue
		}
		found, err := p.find(ctx, attr, value)
		if fault.Is(err, fault.Permanent) || fault.Is(err, fault.Unsupported) {
			// The target cannot filter on this attribute; the next may do.
			p.learnFilter(ctx, attr, evidence("search by "+attr, err))
			continue
		}
		if err != nil {
			return fmt.Errorf("search for an account by %s: %w", attr, err)
		}
		asked = true
		if len(found) > 0 {
			return p.take(found, desired)
		}
	}
	if asked {
		return nil
	}
	return p.scan(ctx, desired)
}

// find asks the target, unless it taught that it cannot be asked so. Some
// targets say 404 where nobody has the value.
func (p *pursuit) find(ctx context.Context, attr, value string) ([]scim.Resource, error) {
	if contains(p.knobs().FilterRefused, attr) {
		return nil, fault.Mark(fault.Unsupported, errors.New("the target refuses the filter"))
	}
	found, err := p.scim.Find(ctx, scim.Users, attr, value)
	if fault.Is(err, fault.NotFound) {
		return nil, p.scim.Check(ctx)
	}
	return found, err
}

func (p *pursuit) take(found []scim.Resource, desired scim.Resource) error {
	if len(found) > 1 {
		return fault.Mark(fault.Conflict, ErrAmbiguous)
	}
	return p.link(found[0], desired)
}

// scan looks through all accounts of a target that cannot be searched: slow,
// but a second account for one person is worse.
func (p *pursuit) scan(ctx context.Context, desired scim.Resource) error {
	matches := make([][]scim.Resource, len(p.settings.Match))
	for r, err := range p.scim.List(ctx, scim.Users) {
		if err != nil {
			return fmt.Errorf("look through all accounts: %w", err)
		}
		for i, attr := range p.settings.Match {
			want, ok := text(desired, attr)
			if got, has := text(r, attr); ok && has && strings.EqualFold(got, want) {
				matches[i] = append(matches[i], r)
			}
		}
	}
	for _, found := range matches {
		if len(found) > 0 {
			return p.take(found, desired)
		}
	}
	return nil
}

// link takes a found account as ours, where that is allowed.
func (p *pursuit) link(found, desired scim.Resource) error {
	theirs, ours := found.ExternalID(), desired.ExternalID()
	begun := p.creating()
	switch {
	case ours != "" && theirs == ours:
	case begun && theirs == "":
	case p.consented(found.ID()):
	case theirs != "", p.settings.Adopt != "exact":
		return p.stranger(found)
	}
	p.account.RemoteID, p.account.Stranger = found.ID(), ""
	p.account.Ownership = identity.Adopted
	if begun {
		p.account.Ownership = identity.Created
		p.operation = opCreate
	} else {
		p.operation = opAdopt
	}
	if !begun { // what a lost create sent is ours, to be taken back if need be
		p.account.Sent = nil
	}
	p.observe(found)
	return nil
}

// stranger notes an account that matches and is not ours.
func (p *pursuit) stranger(found scim.Resource) error {
	p.account.Ownership, p.account.Stranger = identity.Seen, found.ID()
	return fault.Mark(fault.Conflict, ErrStranger)
}

// consented tells whether a person agreed that this account is taken over.
func (p *pursuit) consented(remoteID string) bool {
	a := p.cmd.GetApproval()
	return a.GetAdopt() != "" && a.GetAdopt() == remoteID && time.Now().Before(a.GetExpiresAt().AsTime())
}

// create makes the account: intent first, then one POST. The caller has
// searched. While an earlier POST is unresolved, a second waits until the
// target has had time to show the first.
func (p *pursuit) create(ctx context.Context, desired scim.Resource) error {
	if err := p.settled(); err != nil {
		return err
	}
	earlier, sent := p.account.Intent, p.account.Sent
	p.account.Sent = desired // searched for, should the answer be lost
	if err := p.begin(ctx, opCreate); err != nil {
		return err
	}
	k := p.knobs()
	first := newcomer(k, desired)
	created, err := p.scim.Create(ctx, scim.Users, first)
	if err != nil && !fault.Is(err, fault.Unknown) {
		// The target refused: this POST made nothing. What an earlier one made is
		// as open as before.
		p.account.Intent, p.account.Sent = earlier, sent
	}
	if fault.Is(err, fault.Conflict) {
		return p.contested(ctx, desired, err)
	}
	if err != nil {
		return fmt.Errorf("create an account: %w", err)
	}
	p.operation = opCreate
	p.account.Ownership, p.account.Stranger = identity.Created, ""
	if err := p.settle(ctx, created, first); err != nil || len(scim.Equal(first, desired)) == 0 {
		return err
	}
	p.account.Sent = first
	return p.update(ctx, desired)
}

// settled fails while a create that was begun may still come to light: the
// target has had no time to show it.
func (p *pursuit) settled() error {
	if !p.creating() {
		return nil
	}
	if wait := max(p.settings.Settle, p.settings.Knobs.Visibility) - time.Since(p.account.Intent.At); wait > 0 {
		return fault.Retry(wait, errors.New("an earlier create is not resolved yet"))
	}
	return nil
}

// creating tells whether a create was begun whose end is not known.
func (p *pursuit) creating() bool {
	return p.account.Intent != nil && p.account.Intent.Operation == opCreate
}

// settle links a created account from the target's answer, or where the answer
// held none, from a search.
func (p *pursuit) settle(ctx context.Context, created, desired scim.Resource) error {
	if created == nil || created.ID() == "" {
		if err := p.search(ctx, desired); err != nil {
			return err
		}
		if p.account.RemoteID == "" {
			return fault.Mark(fault.Unknown, errors.New("the target answered a create without a resource, and shows none yet"))
		}
	} else {
		p.account.RemoteID = created.ID()
		p.observe(created)
	}
	if _, said := p.observed.Active(); !said {
		p.observed = nil // the answer was a fragment: read it back
	}
	if err := p.verify(ctx, desired); err != nil {
		return err
	}
	p.changed = []string{}
	return nil
}

// contested resolves a 409: somebody has that name; if it is us, go on.
func (p *pursuit) contested(ctx context.Context, desired scim.Resource, conflict error) error {
	var existing *scimhttp.Existing
	if errors.As(conflict, &existing) && existing.Resource.ID() != "" {
		if err := p.link(existing.Resource, desired); err != nil {
			return err
		}
		if _, said := p.observed.Active(); !said {
			p.observed = nil // the answer was a fragment: what it lacks is sent
		}
		return p.update(ctx, desired)
	}
	if err := p.search(ctx, desired); err != nil {
		return err
	}
	if p.account.RemoteID == "" {
		return fmt.Errorf("create an account that conflicts with one no search finds: %w", conflict)
	}
	return p.update(ctx, desired)
}

// text is a string attribute of the resource, for use in a search.
func text(r scim.Resource, attr string) (string, bool) {
	v, ok := r.Get(attr)
	if !ok {
		return "", false
	}
	if many, isList := v.([]any); isList && len(many) > 0 {
		v = many[0]
	}
	s, isString := v.(string)
	return s, isString && s != ""
}
