package dispatcher

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/alert"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// recheck is when a disabled account is read again after the target showed it
// disabled: some targets take a change back, or are told otherwise by another
// system, within minutes.
//
//	0 (at once)   1 minute   15 minutes
var recheck = []time.Duration{time.Minute, 15 * time.Minute}

// vigil is the disabled accounts of one target that are to be read again, fed by
// the watch on accounts, so that a restart forgets none.
type vigil struct {
	mu  sync.Mutex
	due map[string]time.Time
	// deleteAfter is when disabled accounts are deleted; 0 is never.
	deleteAfter time.Duration
	// queue has every due time that was ever set, soonest first; what is no
	// longer in due is passed over.
	queue checks
	// news wakes who waits for the next.
	news chan struct{}
}

type check struct {
	at time.Time
	id string
}

type checks []check

func (q checks) Len() int           { return len(q) }
func (q checks) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q checks) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *checks) Push(x any)        { *q = append(*q, x.(check)) } //nolint:forcetypeassert // only later pushes
func (q *checks) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func newVigil(deleteAfter time.Duration) *vigil {
	return &vigil{due: map[string]time.Time{}, deleteAfter: deleteAfter, news: make(chan struct{}, 1)}
}

// seen takes over an account as stored.
func (v *vigil) seen(a identity.Account) {
	at, watched := nextCheck(a, v.deleteAfter)
	if !watched {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.due, a.Identity)
		return
	}
	v.set(a.Identity, at)
	select {
	case v.news <- struct{}{}:
	default:
	}
}

// set says when an account is to be read.
func (v *vigil) set(id string, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.due[id].Equal(at) {
		return
	}
	v.due[id] = at
	heap.Push(&v.queue, check{at, id})
}

// next is who is due first, and when.
func (v *vigil) next() (c check, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.queue) > 0 {
		c = v.queue[0]
		if at, there := v.due[c.id]; there && at.Equal(c.at) {
			return c, true
		}
		heap.Pop(&v.queue)
	}
	return check{}, false
}

// nextCheck is when a disabled account is to be looked at again, if it is: to
// read it, or, once that is done, to delete it where the target says so.
func nextCheck(a identity.Account, deleteAfter time.Duration) (time.Time, bool) {
	switch {
	case a.State != identity.Disabled || a.RemoteID == "" || a.Left.IsZero():
		return time.Time{}, false
	case a.Checks < len(recheck):
		return a.Left.Add(recheck[a.Checks]), true
	case deleteAfter > 0 && a.Case == "":
		return a.Left.Add(max(deleteAfter, recheck[len(recheck)-1])), true
	default:
		return time.Time{}, false
	}
}

// unread counts the disabled accounts that are still to be read again.
func (v *vigil) unread() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.due)
}

// unreadable is how long an account may be overdue to be read before people are
// told.
const unreadable = 15 * time.Minute

// retryCheck is the pause after a check that could not be made.
const retryCheck = time.Minute

// Confirm reads disabled accounts again when they are due, until ctx ends.
func (t *worker) Confirm(ctx context.Context) error {
	for {
		first, ok := t.vigil.next()
		if !ok {
			first.at = time.Now().Add(time.Hour)
		}
		timer := time.NewTimer(time.Until(first.at))
		select {
		case <-ctx.Done():
		case <-t.vigil.news:
			ok = false // somebody else may be first now
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !ok {
			continue
		}
		if err := t.Admit(ctx); err != nil {
			return err
		}
		t.vigil.set(first.id, time.Now().Add(retryCheck)) // unless the watch says otherwise
		err := t.confirmAgain(ctx, first.id)
		t.metrics.unconfirmed.Set(float64(t.vigil.unread()), t.name)
		if err != nil && ctx.Err() == nil {
			if time.Since(first.at) > unreadable {
				t.raise(ctx, alert.Unconfirmed, t.name, t.name+" cannot be asked whether somebody who left is gone; see: joinery leavers")
			}
			t.log.WarnContext(ctx, "leaver not confirmed", "target", t.name, "identity", first.id, "kind", fault.KindOf(err).String(), "error", err)
		}
	}
}

// confirmAgain reads one disabled account, and sends its wish again where the
// target shows it active.
func (t *worker) confirmAgain(ctx context.Context, id string) error {
	free, err := t.ledger.pairs.lock(ctx, t.name+"."+id)
	if err != nil {
		return err
	}
	defer free()
	account, rev, err := t.ledger.load(ctx, t.name, id)
	if err != nil {
		return err
	}
	if at, watched := nextCheck(account, t.vigil.deleteAfter); !watched || time.Until(at) > 0 {
		return nil
	}
	if account.Checks >= len(recheck) {
		t.vigil.set(id, time.Now().Add(retryDelete)) // unless the watch says otherwise
		return t.retire(ctx, account)
	}
	ctx = withErrand(ctx, errand{lane: joineryv1.Lane_LANE_URGENT, life: t.life, period: t.states.period()})
	active, err := t.shown(ctx, account)
	if err != nil {
		return err
	}
	result := "confirmed"
	if active {
		result = "reappeared"
		account.Checks, account.Confirmed = 0, time.Time{}
		account.Left = time.Now().UTC() // the checks begin again once it is disabled again
	} else {
		account.Checks++
		account.Confirmed = time.Now().UTC()
	}
	account.UpdatedAt = time.Now().UTC()
	if active {
		t.raise(ctx, alert.Unconfirmed, t.name, t.name+" shows somebody active again who left; the account is disabled again; see: joinery leavers")
		if err := t.leaveAgain(ctx, account); err != nil {
			return err
		}
	}
	t.metrics.confirmed.Add(1, t.name, result)
	t.log.InfoContext(ctx, "leaver read back", "target", t.name, "identity", id, "result", result, "check", account.Checks)
	if _, err := t.ledger.accounts.Put(ctx, identity.AccountKey(t.name, id), account, rev); err != nil && !errors.Is(err, stream.ErrConflict) {
		return fmt.Errorf("store an account: %w", err)
	}
	return nil
}

// shown tells whether the target shows the account as active. One that is gone
// is not, once a control request shows that we are talking to the right place.
func (t *worker) shown(ctx context.Context, a identity.Account) (active bool, err error) {
	r, err := t.provider.Get(ctx, scim.Users, a.RemoteID)
	if fault.Is(err, fault.NotFound) {
		return false, t.check(ctx)
	}
	if fault.Is(err, fault.Throttled) {
		_ = t.pauser.Hold(ctx, t.name, fault.Pause(err))
	}
	if err != nil {
		return false, fmt.Errorf("read back a disabled account: %w", err)
	}
	active, said := r.Active()
	return active || !said, nil // silence is no proof
}

// retryDelete is the pause before a deletion that has not come about is asked for
// again.
const retryDelete = 6 * time.Hour

// retire asks for a disabled account to be deleted: its time of grace is over.
func (t *worker) retire(ctx context.Context, a identity.Account) error {
	err := t.again(ctx, a.Identity, fmt.Sprintf("retention-%d", a.Finished), func(c *joineryv1.ProvisioningCommand) {
		// Whatever else is wished for now goes on as it is.
		if c.GetWish() == joineryv1.Wish_WISH_DISABLED {
			c.Wish, c.Cause, c.Lane = joineryv1.Wish_WISH_ABSENT, joineryv1.Cause_CAUSE_SCHEDULE, joineryv1.Lane_LANE_BULK
		}
	})
	if err != nil {
		return err
	}
	t.log.InfoContext(ctx, "disabled account retires", "target", t.name, "identity", a.Identity, "disabled", a.Left.Format(time.RFC3339))
	return nil
}

// leaveAgain sends the wish of somebody who is back though they left.
func (t *worker) leaveAgain(ctx context.Context, a identity.Account) error {
	name := "confirmation-" + strings.ToLower(time.Now().UTC().Format("20060102t150405z"))
	return t.again(ctx, a.Identity, name, func(c *joineryv1.ProvisioningCommand) { c.Lane = joineryv1.Lane_LANE_URGENT })
}
