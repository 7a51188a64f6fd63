package dispatcher

import (
	"sync"
	"time"
)

// The breaker's settings: after tripAfter failures in a row, whatever the
// account, or when more than half of the last window attempts failed, the target
// counts as down and is only probed, at first after probeFirst, then doubling up
// to probeCap.
const (
	tripAfter  = 5
	window     = 20
	probeFirst = time.Second
	probeCap   = time.Minute
)

// breaker says whether a target answers at all. It belongs to one process: each
// replica learns by itself within a few calls.
//
//	closed --5 failures in a row, or 11 of 20--> open --probe succeeds--> closed
//	                                 ^ |
//	                                 +-+ probe fails: wait twice as long
//
// A success of a real command resets the waiting time; a succeeding probe does
// not, so that a target which answers probes but fails commands is asked ever
// more seldom.
type breaker struct {
	mu       sync.Mutex
	failures int
	last     []bool // of the last attempts, whether they failed
	open     bool
	wait     time.Duration
	opened   chan struct{} // closed when the breaker opens
	closed   chan struct{} // closed when the breaker closes
}

func newBreaker() *breaker {
	closed := make(chan struct{})
	close(closed)
	return &breaker{opened: make(chan struct{}), closed: closed, wait: probeFirst}
}

// success notes that a command got an answer.
func (b *breaker) success() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.wait = 0, probeFirst
	b.note(false)
	b.shut()
}

// note keeps the result of an attempt, and tells whether most of the last failed.
func (b *breaker) note(failed bool) bool {
	b.last = append(b.last, failed)
	if len(b.last) > window {
		b.last = b.last[1:]
	}
	n := 0
	for _, f := range b.last {
		if f {
			n++
		}
	}
	return len(b.last) == window && n > window/2
}

// failure notes a failure and tells whether the target now counts as down.
func (b *breaker) failure() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	if most := b.note(true); !b.open && (most || b.failures >= tripAfter) {
		b.open = true
		b.closed = make(chan struct{})
		close(b.opened)
	}
	return b.open
}

// probed notes the result of a probe and gives the time until the next.
func (b *breaker) probed(ok bool) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wait = min(2*b.wait, probeCap)
	if ok {
		b.failures = 0
		b.shut()
	}
	return b.wait
}

// trip opens the breaker at once: the target itself is refused or gone.
func (b *breaker) trip() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		b.open = true
		b.closed = make(chan struct{})
		close(b.opened)
	}
}

func (b *breaker) shut() {
	if b.open {
		b.open, b.last = false, nil
		b.opened = make(chan struct{})
		close(b.closed)
	}
}

// state gives the two channels to wait on, and the waiting time before a probe.
func (b *breaker) state() (open bool, opened, closed <-chan struct{}, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open, b.opened, b.closed, b.wait
}
