package redisrate

import (
	"slices"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/rate"
)

// waiter is a caller in the queue.
type waiter struct {
	lane rate.Lane
	cost int
	turn chan turn // takes one
}

// turn is what a caller waits for.
type turn struct {
	// delay is what must pass before the turn may be used.
	delay  time.Duration
	factor float64
	shared bool
}

// target is the queue before one target, and what is known of its state.
type target struct {
	name string
	// wake ends the poller's rest: somebody more urgent came, somebody left, or the
	// limits changed.
	wake chan struct{}

	mu      sync.Mutex
	limits  rate.Limits
	queue   [rate.Lanes][]*waiter
	polling bool

	via       store // who answered last
	seen      int64
	heldUntil time.Time
}

func newTarget(name string) *target {
	return &target{name: name, wake: make(chan struct{}, 1)}
}

func (t *target) configure(limits rate.Limits) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limits = slices.Clone(limits)
	t.rouse()
}

func (t *target) known() rate.Limits {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limits
}

// join queues w, and tells whether a poller must be started for it.
func (t *target) join(w *waiter) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if head := t.head(); head != nil && w.lane < head.lane {
		t.rouse()
	}
	t.queue[w.lane] = append(t.queue[w.lane], w)
	start := !t.polling
	t.polling = true
	return start
}

// leave takes w out of the queue. Where its turn had just come, the tokens go to
// whoever is next.
func (t *target) leave(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.remove(w) {
		t.rouse()
		return
	}
	if got := <-w.turn; got.delay == 0 {
		t.spend(w.cost, got)
	}
}

// rouse must be called with mu held.
func (t *target) rouse() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *target) remove(w *waiter) bool {
	lane := &t.queue[w.lane]
	i := slices.Index(*lane, w)
	if i < 0 {
		return false
	}
	*lane = slices.Delete(*lane, i, i+1)
	return true
}

func (t *target) head() *waiter {
	for _, lane := range t.queue {
		if len(lane) > 0 {
			return lane[0]
		}
	}
	return nil
}

// batch is who asks next, most urgent first. An empty batch ends the polling.
func (t *target) batch() ([]*waiter, rate.Limits) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*waiter
	for _, lane := range t.queue {
		all = append(all, lane[:min(len(lane), maxBatch-len(all))]...)
	}
	t.polling = len(all) > 0
	return all, t.limits
}

// hand gives out what was granted to the first of a batch.
func (t *target) hand(batch []*waiter, a rate.Answer, shared bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	granted := batch[:a.Granted]
	now := turn{factor: a.Factor, shared: shared}
	if a.Delay > 0 {
		last := granted[len(granted)-1]
		granted = granted[:len(granted)-1]
		if t.remove(last) {
			last.turn <- turn{delay: a.Delay, factor: a.Factor, shared: shared}
		}
	}
	tokens := 0
	for _, w := range granted {
		tokens += w.cost
	}
	t.spend(tokens, now)
}

// spend gives tokens to whoever is first now: somebody more urgent may have come
// since they were asked for, and somebody may have left. What is over is lost,
// which is safe.
func (t *target) spend(tokens int, now turn) {
	for head := t.head(); head != nil && head.cost <= tokens; head = t.head() {
		tokens -= head.cost
		t.remove(head)
		head.turn <- now
	}
}

// learn remembers a pause, for the day on which Redis forgets it.
func (t *target) learn(pause time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if until := time.Now().Add(min(pause, rate.MaxHold)); until.After(t.heldUntil) {
		t.heldUntil = until
	}
}

// forget forgets the pause, and lets those who wait look again.
func (t *target) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heldUntil = time.Time{}
	t.rouse()
}

// held is the rest of the longest pause that this process knows of.
func (t *target) held() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, time.Until(t.heldUntil))
}

func (t *target) waiting() (n [rate.Lanes]int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for lane, all := range t.queue {
		n[lane] = len(all)
	}
	return n
}
