package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

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
	since   map[string]uint64   // identities that have an account, and the revision at which it was linked
}

// reference is from somebody to an account that was linked at a revision.
type reference struct {
	from, to string
	since    uint64
}

// name is one for each time that the reference can be resolved, however often that
// is noticed.
func (r reference) name() string { return fmt.Sprintf("reference-%s-%d", r.to, r.since) }

func newReferences() *references {
	return &references{waiting: map[string][]string{}, parked: map[string][]string{}, since: map[string]uint64{}}
}

// seen takes over an account as stored at rev, and gives the references that can
// be resolved with it.
func (r *references) seen(a identity.Account, rev uint64) (ready []reference) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(a.Identity)
	for _, awaited := range a.Waiting {
		if since, there := r.since[awaited]; there {
			ready = append(ready, reference{a.Identity, awaited, since}) // came between the look and the store
			continue
		}
		r.waiting[awaited] = append(r.waiting[awaited], a.Identity)
		r.parked[a.Identity] = append(r.parked[a.Identity], awaited)
	}
	if a.RemoteID == "" {
		delete(r.since, a.Identity)
		return ready
	}
	if _, was := r.since[a.Identity]; !was {
		r.since[a.Identity] = rev
		for _, from := range r.waiting[a.Identity] {
			ready = append(ready, reference{from, a.Identity, rev})
		}
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
func (t *worker) resume(ctx context.Context, r reference) {
	err := t.again(ctx, r.from, r.name(), func(c *joineryv1.ProvisioningCommand) { c.Verify = false })
	switch {
	case err == nil:
		t.log.InfoContext(ctx, "reference resolved", "target", t.name, "identity", r.from, "refers_to", r.to)
	case ctx.Err() == nil:
		t.log.WarnContext(ctx, "reference not resolved; reconciliation will", "target", t.name, "identity", r.from, "error", err)
	}
}

// follow watches the target's accounts: it counts them, notes which leavers are to
// be read again, resumes whoever waited for one, and has those put right who refer
// to one that was made again.
func (t *worker) follow(ctx context.Context, accounts WatchedAccounts) error {
	refs, again, live := newReferences(), map[string]string{}, false
	var looking sync.WaitGroup
	defer looking.Wait()
	return accounts.Watch(ctx, t.name, func(key string, a *identity.Account, rev uint64) {
		if key == "" {
			t.guards.census.complete()
			live = true
		}
		if a == nil {
			return
		}
		if a.Kind != identity.Grouped {
			t.guards.census.seen(*a)
			t.vigil.seen(*a)
		}
		for _, r := range refs.seen(*a, rev) {
			t.resume(ctx, r)
		}
		if a.RemoteID == "" || a.Former == "" || a.Former == a.RemoteID || again[a.Identity] == a.RemoteID {
			return
		}
		again[a.Identity] = a.RemoteID
		if live {
			looking.Go(func() { t.remade(ctx, accounts, *a, rev) })
		}
	})
}

// remade puts those right who refer to an account by an id that it had before: the
// reports of a manager, and the groups of a member. It reads the whole ledger,
// which is rare enough.
func (t *worker) remade(ctx context.Context, accounts WatchedAccounts, who identity.Account, rev uint64) {
	within, done := context.WithCancel(ctx)
	defer done()
	err := accounts.Watch(within, t.name, func(key string, a *identity.Account, _ uint64) {
		switch {
		case key == "":
			done()
		case a == nil:
		case a.Kind == identity.Grouped:
			t.enrolAgain(ctx, *a, who, rev)
		case a.Refers[who.Identity] != "" && a.Refers[who.Identity] != who.RemoteID:
			t.resume(ctx, reference{a.Identity, who.Identity, rev})
		}
	})
	if err != nil && within.Err() == nil {
		t.log.WarnContext(ctx, "references to an account made again not looked for; reconciliation will", "target", t.name, "identity", who.Identity, "error", err)
	}
}

// enrolAgain has a group compared in which somebody is a member by a former id.
func (t *worker) enrolAgain(ctx context.Context, group, who identity.Account, rev uint64) {
	if t.members == nil {
		return
	}
	m, _, err := t.members.Get(ctx, identity.MemberKey(t.name, group.Identity, who.Identity))
	if err != nil || !m.Present || m.Sent == "" || m.Sent == who.RemoteID {
		return // not a member, or not to be known: reconciliation compares every group
	}
	r := reference{group.Identity, who.Identity, rev}
	c := group.GroupCommand(time.Now())
	c.Lane, c.Cause = joineryv1.Lane_LANE_NORMAL, joineryv1.Cause_CAUSE_DRIFT
	c.EventId, c.Id = r.name(), c.GetId()+":"+r.name()
	if err := t.outbox.Command(ctx, c); err != nil && ctx.Err() == nil {
		t.log.WarnContext(ctx, "group not compared; reconciliation will", "target", t.name, "identity", group.Identity, "error", err)
	}
}
