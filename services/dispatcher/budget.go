package dispatcher

import (
	"context"
	"sync"
	"time"
)

// The retry budget of a target: retries are at most a tenth of the requests that
// it is sent, and one a second however little there is to do. A target in trouble is not
// finished off by those who ask it again and again.
const (
	retryShare = 0.1
	retryFloor = 1.0 // a second
	retryBurst = 20
)

// budget counts what may be retried.
type budget struct {
	mu     sync.Mutex
	tokens float64
	filled time.Time
}

func newBudget() *budget { return &budget{tokens: retryBurst, filled: time.Now()} }

// sent notes requests.
func (b *budget) sent(n int32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.tokens+float64(n)*retryShare, retryBurst)
}

// retry takes leave for one retry.
func (b *budget) retry() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.tokens = min(b.tokens+now.Sub(b.filled).Seconds()*retryFloor, retryBurst)
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// overBudget is the pause of a retry that the budget does not allow.
const overBudget = 2 * time.Second

// ramp bounds how many commands a target has at a time, over all lanes: a quarter
// of the places, where there is more than one, is for leavers. A target that was
// down has its load back step by step.
//
//	full ──down──▶ 1 ──success──▶ 2 ──success──▶ … ──▶ full
type ramp struct {
	full    int
	mu      sync.Mutex
	allowed int
	under   int
	freed   chan struct{} // closed and renewed when a place may be free
}

func newRamp(full int) *ramp {
	full = max(full, 1)
	return &ramp{full: full, allowed: full, freed: make(chan struct{})}
}

// enter waits for a place, and gives the function that leaves it. urgent may have
// the places that are kept.
func (r *ramp) enter(ctx context.Context, urgent bool) (leave func(), err error) {
	for {
		r.mu.Lock()
		freed := r.freed
		places := r.allowed
		if !urgent && places == r.full {
			places = max(places-shares(r.full)["urgent"], 1)
		}
		if r.under < places {
			r.under++
			r.mu.Unlock()
			return r.leave, nil
		}
		r.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *ramp) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.under--
	r.wake()
}

// down starts again from one.
func (r *ramp) down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.allowed = 1
}

// success lets one more in at a time.
func (r *ramp) success() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.allowed < r.full {
		r.allowed++
		r.wake()
	}
}

func (r *ramp) wake() {
	close(r.freed)
	r.freed = make(chan struct{})
}
