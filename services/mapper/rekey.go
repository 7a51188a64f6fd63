package mapper

import (
	"context"
	"errors"
	"fmt"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/proto"
)

// maxKeys bounds how many keys one person may have had, one after the other.
const maxKeys = 32

var (
	// errTwoPeople puts an event before a person.
	errTwoPeople = errors.New("the key that the person has now is another person's already, and two people are not made one by themselves")
	// errRekeyed: the key is of somebody who is kept by another.
	errRekeyed  = errors.New("the person is kept by another key")
	errManyKeys = errors.New("the person had too many keys")
)

// storeRekeyed stores what an event says of the person, under the key by which
// the person is kept, and gives the event with that key.
func (s *Service) storeRekeyed(ctx context.Context, e *joineryv1.LifecycleEvent) (*joineryv1.LifecycleEvent, handled, error) {
	if e.GetFormerKey() == "" {
		if done, err := s.store(ctx, e); !errors.Is(err, errRekeyed) {
			return e, done, err
		}
	}
	e, err := s.rekey(ctx, e)
	if err != nil {
		return e, handled{}, err
	}
	done, err := s.store(ctx, e)
	return e, done, err
}

// rekey is the event under the key by which the person is kept: the first one
// that a source gave them. A source that gives somebody another key, as in a
// rehire under a new employee id, says so once, with the first event under it.
func (s *Service) rekey(ctx context.Context, e *joineryv1.LifecycleEvent) (*joineryv1.LifecycleEvent, error) {
	key := e.GetIdentityKey()
	kept, err := follow(ctx, s.identities, key)
	if err != nil {
		return nil, err
	}
	if former := e.GetFormerKey(); former != "" && kept == key {
		if kept, err = s.identify(ctx, key, former); err != nil {
			return nil, err
		}
	}
	if kept == key {
		return e, nil
	}
	e, _ = proto.Clone(e).(*joineryv1.LifecycleEvent)
	e.IdentityKey = kept
	return e, nil
}

// identify notes that a key means somebody who had another before, and gives the
// key by which they are kept.
func (s *Service) identify(ctx context.Context, key, former string) (string, error) {
	kept, err := follow(ctx, s.identities, former)
	if err != nil || kept == key {
		return key, err
	}
	id := identity.IDOf(key)
	_, err = s.identities.Put(ctx, id, identity.Record{ID: id, Key: key, Is: kept, Revision: 1}, 0)
	switch {
	case errors.Is(err, stream.ErrConflict):
		rec, _, err := s.identities.Get(ctx, id)
		if err != nil {
			return "", fmt.Errorf("read an identity: %w", err)
		}
		if rec.Is != kept {
			return "", fault.Mark(fault.Permanent, fmt.Errorf("follow a person to another key: %w", errTwoPeople))
		}
	case err != nil:
		return "", fmt.Errorf("store an identity: %w", err)
	}
	return kept, nil
}

// follow is the key by which somebody is kept.
func follow(ctx context.Context, identities Identities, key string) (string, error) {
	for range maxKeys {
		rec, _, err := identities.Get(ctx, identity.IDOf(key))
		if errors.Is(err, stream.ErrNotFound) {
			return key, nil
		}
		if err != nil {
			return "", fmt.Errorf("read an identity: %w", err)
		}
		if rec.Is == "" {
			return key, nil
		}
		key = rec.Is
	}
	return "", fault.Mark(fault.Permanent, errManyKeys)
}

// Keeper gives the key by which somebody is kept.
type Keeper func(ctx context.Context, key string) (string, error)

// KeeperOf follows people through all stored identities.
func KeeperOf(identities Identities) Keeper {
	return func(ctx context.Context, key string) (string, error) { return follow(ctx, identities, key) }
}

// opaque names the people referred to by their ids.
func (k Keeper) opaque(ctx context.Context, references map[string]string) (map[string]string, error) {
	if len(references) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(references))
	for path, key := range references {
		if k != nil {
			var err error
			if key, err = k(ctx, key); err != nil {
				return nil, fmt.Errorf("%w: %w", errStore, err)
			}
		}
		out[path] = identity.IDOf(key)
	}
	return out, nil
}
