package dispatcher

import (
	"context"
	"slices"
	"sync"

	"github.com/joinery/joinery/pkg/identity"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// Newest gives the newest command of a pair, whatever its lane, or
// stream.ErrNotFound.
type Newest func(ctx context.Context, target, id string) (*joineryv1.ProvisioningCommand, error)

// references knows who waits for whom in one target: a manager who has no
// account yet parks one attribute of everybody who reports to them.
type references struct {
	mu      sync.Mutex
	waiting map[string][]string // awaited identity to those who wait
	parked  map[string][]string // those who wait to the identities they await
	there   map[string]bool     // identities that have an account
}

func newReferences() *references {
	return &references{waiting: map[string][]string{}, parked: map[string][]string{}, there: map[string]bool{}}
}

// seen takes over an account as stored, and gives those whose waiting ended
// with it.
func (r *references) seen(a identity.Account) (ready []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(a.Identity)
	for _, awaited := range a.Waiting {
		if r.there[awaited] {
			ready = append(ready, a.Identity) // came between the look and the store
			continue
		}
		r.waiting[awaited] = append(r.waiting[awaited], a.Identity)
		r.parked[a.Identity] = append(r.parked[a.Identity], awaited)
	}
	was := r.there[a.Identity]
	r.there[a.Identity] = a.RemoteID != ""
	if a.RemoteID != "" && !was {
		ready = append(ready, r.waiting[a.Identity]...)
		delete(r.waiting, a.Identity)
	}
	return ready
}

// forget drops what somebody waited for until now.
func (r *references) forget(id string) {
	for _, awaited := range r.parked[id] {
		r.waiting[awaited] = slices.DeleteFunc(r.waiting[awaited], func(waiter string) bool { return waiter == id })
	}
	delete(r.parked, id)
}

// resume sends the newest command of somebody again whose reference can be
// resolved now.
func (t *worker) resume(ctx context.Context, id, because string) error {
	err := t.again(ctx, id, "reference-"+because, func(c *joineryv1.ProvisioningCommand) { c.Verify = false })
	if err != nil {
		return err
	}
	t.log.InfoContext(ctx, "reference resolved", "target", t.name, "identity", id, "refers_to", because)
	return nil
}

// follow watches the target's accounts: it counts them, notes which
// leavers are to be read again, and resumes whoever waited for one.
func (t *worker) follow(ctx context.Context, accounts WatchedAccounts) error {
	refs := newReferences()
	return accounts.Watch(ctx, t.name, func(key string, a *identity.Account, _ uint64) {
		if key == "" {
			t.guards.census.complete()
		}
		if a == nil {
			return
		}
		if a.Kind != identity.Grouped {
			t.guards.census.seen(*a)
			t.vigil.seen(*a)
		}
		for _, id := range refs.seen(*a) {
			if err := t.resume(ctx, id, a.Identity); err != nil && ctx.Err() == nil {
				t.log.WarnContext(ctx, "reference not resolved; reconciliation will", "target", t.name, "identity", id, "error", err)
			}
		}
	})
}
