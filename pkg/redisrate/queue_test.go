package redisrate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/rate"
)

// queued are waiters of these lanes, of cost 1, and who got a turn by number.
func queued(t *target, lanes ...rate.Lane) ([]*waiter, func() []int) {
	var all []*waiter
	for _, lane := range lanes {
		w := &waiter{lane: lane, cost: 1, turn: make(chan turn, 1)}
		t.join(w)
		all = append(all, w)
	}
	return all, func() []int {
		var turns []int
		for i, w := range all {
			if len(w.turn) > 0 {
				turns = append(turns, i)
			}
		}
		return turns
	}
}

func TestABatchIsAskedForMostUrgentFirst(t *testing.T) {
	target := newTarget("acme")
	queued(target, rate.Bulk, rate.Normal, rate.Urgent, rate.Normal)
	batch, _ := target.batch()
	var got []rate.Lane
	for _, w := range batch {
		got = append(got, w.lane)
	}
	if diff := cmp.Diff([]rate.Lane{rate.Urgent, rate.Normal, rate.Normal, rate.Bulk}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestABatchIsBounded(t *testing.T) {
	target := newTarget("acme")
	queued(target, make([]rate.Lane, 50)...)
	for range 50 {
		queued(target, rate.Bulk)
	}
	if batch, _ := target.batch(); len(batch) != maxBatch {
		t.Errorf("%d callers in a batch", len(batch))
	}
}

func TestATokenGoesToWhoIsFirstWhenItComes(t *testing.T) {
	target := newTarget("acme")
	_, turns := queued(target, rate.Normal)
	batch, _ := target.batch()
	_, urgent := queued(target, rate.Urgent)
	target.hand(batch, rate.Answer{Granted: 1}, true)
	if len(turns()) != 0 || len(urgent()) != 1 {
		t.Errorf("turns: normal %v, urgent %v", turns(), urgent())
	}
}

func TestATurnThatComesTooLateGoesToTheNext(t *testing.T) {
	target := newTarget("acme")
	all, turns := queued(target, rate.Normal, rate.Normal)
	batch, _ := target.batch()
	target.hand(batch, rate.Answer{Granted: 1}, true)
	target.leave(all[0])
	if diff := cmp.Diff([]int{1}, turns()); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}
}

func TestATokenOfOneWhoLeftGoesToTheNext(t *testing.T) {
	target := newTarget("acme")
	all, turns := queued(target, rate.Normal, rate.Normal)
	batch, _ := target.batch()
	target.leave(all[0])
	target.hand(batch, rate.Answer{Granted: 1}, true)
	if diff := cmp.Diff([]int{1}, turns()); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}
}

func TestADelayedTurnIsItsOwnersOnly(t *testing.T) {
	target := newTarget("acme")
	all, turns := queued(target, rate.Normal, rate.Normal, rate.Normal)
	all[1].cost = 9
	batch, _ := target.batch()
	target.leave(all[1])
	target.hand(batch, rate.Answer{Granted: 2, Delay: 5}, true)
	if diff := cmp.Diff([]int{0}, turns()); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}
}
