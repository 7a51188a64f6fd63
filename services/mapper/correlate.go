package mapper

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/proto"
)

// Links is the bucket of who is who. Put is a compare-and-swap, as everywhere.
type Links interface {
	Get(ctx context.Context, key string) (identity.Link, uint64, error)
	Put(ctx context.Context, key string, link identity.Link, rev uint64) (uint64, error)
}

// Correlation is how a source with keys of its own finds the people of the other
// sources. What such a source says is never what others are found by.
type Correlation struct {
	// By are tried in order; the first that finds anybody decides.
	By []Match
	// Own makes those whom nobody matches people of their own; otherwise they are
	// put before a person.
	Own bool
}

// Match compares an attribute of the event with the same of people.
type Match struct {
	Attribute string
	// When names an attribute of the event that must be true, as in
	// email_verified; "" asks for nothing.
	When string
}

// maxHolders bounds who is remembered for one value: more than one is ambiguous
// already, and those who have it no more make room.
const maxHolders = 8

// errUnmatched and errAmbiguous put an event before a person.
var (
	errUnmatched = errors.New("no person of another source matches, and the source makes none of its own")
	errAmbiguous = errors.New("several persons match")
)

// correlate is the event with the key of the person it is about. Whom a source's
// key means is decided once: later changes of attributes move nobody's accounts.
func (s *Service) correlate(ctx context.Context, e *joineryv1.LifecycleEvent) (*joineryv1.LifecycleEvent, error) {
	sources := s.sources.Load()
	rules, ok := sources.Correlate[e.GetSource()]
	if !ok || e.GetIdentityKey() == "" {
		return e, nil
	}
	own := identity.OwnKey(e.GetSource(), e.GetIdentityKey())
	link, _, err := sources.Links.Get(ctx, own)
	if errors.Is(err, stream.ErrNotFound) {
		link, err = s.find(ctx, sources, rules, e)
		if err != nil {
			return nil, err
		}
		link, err = keep(ctx, sources.Links, own, link)
	}
	if err != nil {
		return nil, fmt.Errorf("link a person: %w", err)
	}
	e, _ = proto.Clone(e).(*joineryv1.LifecycleEvent)
	e.IdentityKey = link.Keys[0]
	return e, nil
}

// answer ends an event under the name that its source gave the person, where the
// person turned out to be another: that is where its outcome is looked for. It
// comes before the outcome itself, which tells of the commands.
func (s *Service) answer(ctx context.Context, named string, o *joineryv1.Outcome) error {
	if o.GetIdentity() == named {
		return nil
	}
	o.Id, o.Identity, o.Revision, o.Commands = o.GetId()+":"+named, named, 0, nil
	if err := s.outbox.Outcome(ctx, o); err != nil {
		return fmt.Errorf("answer a correlated event: %w", err)
	}
	return nil
}

// find is whom the event means by its attributes. A person of the source's own
// has its name before the key: another source may mean somebody else by it.
func (s *Service) find(ctx context.Context, sources *Sources, rules Correlation, e *joineryv1.LifecycleEvent) (identity.Link, error) {
	said := e.GetAttributes().AsMap()
	for _, m := range rules.By {
		value := identity.ValueText(said[m.Attribute])
		if value == "" || m.When != "" && said[m.When] != true {
			continue
		}
		keys, _, err := s.holders(ctx, sources, m.Attribute, value)
		switch {
		case err != nil:
			return identity.Link{}, err
		case len(keys) == 1:
			return identity.Link{Keys: keys}, nil
		case len(keys) > 1:
			return identity.Link{}, fault.Mark(fault.Permanent, fmt.Errorf("correlate an event by %s: %w", m.Attribute, errAmbiguous))
		}
	}
	if rules.Own {
		return identity.Link{Keys: []string{e.GetSource() + "/" + e.GetIdentityKey()}}, nil
	}
	return identity.Link{}, fault.Mark(fault.Permanent, fmt.Errorf("correlate an event: %w", errUnmatched))
}

// keep stores a link, unless another replica has: then that one counts.
func keep(ctx context.Context, links Links, key string, link identity.Link) (identity.Link, error) {
	_, err := links.Put(ctx, key, link, 0)
	if errors.Is(err, stream.ErrConflict) {
		link, _, err = links.Get(ctx, key)
	}
	return link, err
}

// holders are the people of whom a source with the leading keys says the value
// now; rev is the revision of what was remembered of them.
func (s *Service) holders(ctx context.Context, sources *Sources, attribute, value string) (keys []string, rev uint64, err error) {
	link, rev, err := sources.Links.Get(ctx, identity.ValueKey(attribute, value))
	if errors.Is(err, stream.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read who has an attribute: %w", err)
	}
	for _, key := range link.Keys {
		rec, _, err := s.identities.Get(ctx, identity.IDOf(key))
		if err != nil && !errors.Is(err, stream.ErrNotFound) {
			return nil, 0, fmt.Errorf("read an identity: %w", err)
		}
		if err == nil && rec.Says(attribute, value, sources.leading) {
			keys = append(keys, key)
		}
	}
	return keys, rev, nil
}

// leading tells whether a source's keys are the people's.
func (s *Sources) leading(source string) bool { _, follows := s.Correlate[source]; return !follows }

// index remembers who has the values that others are found by. It runs after the
// person is stored and before the event ends, so that a crash repeats it.
func (s *Service) index(ctx context.Context, e *joineryv1.LifecycleEvent) error {
	sources := s.sources.Load()
	if !sources.leading(e.GetSource()) {
		return nil
	}
	said := e.GetAttributes().AsMap()
	for _, rules := range sources.Correlate {
		for _, m := range rules.By {
			if value := identity.ValueText(said[m.Attribute]); value != "" {
				if err := s.remember(ctx, sources, m.Attribute, value, e.GetIdentityKey()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *Service) remember(ctx context.Context, sources *Sources, attribute, value, key string) error {
	for range maxConflicts {
		keys, rev, err := s.holders(ctx, sources, attribute, value)
		if err != nil {
			return err
		}
		if rev > 0 && (slices.Contains(keys, key) || len(keys) >= maxHolders) {
			return nil
		}
		_, err = sources.Links.Put(ctx, identity.ValueKey(attribute, value), identity.Link{Keys: append(keys, key)}, rev)
		if err == nil || !errors.Is(err, stream.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("remember who has an attribute: %w", stream.ErrConflict)
}
