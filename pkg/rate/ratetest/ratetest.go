// Package ratetest is the suite that every limiter passes: the pure arithmetic,
// the one in memory, the one on an embedded Redis on fake time, and the one on a
// real Redis on real time. It tests what callers see: when they are let through.
package ratetest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/rate"
)

// Limiter lets callers wait for their turn.
type Limiter interface {
	// Configure sets a target's limits.
	Configure(target string, l rate.Limits) error
	// Wait returns nil when a request of that cost may be sent.
	Wait(ctx context.Context, target string, lane rate.Lane, cost int) error
	// Hold makes everybody wait, because the target refused a request.
	Hold(ctx context.Context, target string, pause time.Duration) error
}

// Suite says what is tested and how.
type Suite struct {
	// Open starts a limiter that nobody has used. Every call of what it returns
	// gives one replica; all of them share the rate of each target.
	Open func(t *testing.T) (replica func() Limiter)
	// Within runs one test; synctest.Test gives it fake time.
	Within func(t *testing.T, test func(t *testing.T))
	// Late is by how much the machine may be late: 0 on fake time.
	Late time.Duration
	// Minutes tells that minutes cost nothing.
	Minutes bool
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	tests := []struct {
		name string
		long bool
		test func(*testing.T, *bench)
	}{
		{"a cold start never bursts and waits for one token only", false, coldStart},
		{"no stretch of any window lets more through, over all replicas and lanes", false, neverMore},
		{"nearly the whole rate is used while somebody waits", false, nearlyAll},
		{"an urgent request gets the next token", false, urgentNext},
		{"an urgent request on another replica gets the next token", false, urgentElsewhere},
		{"bulk takes what nobody else wants", false, bulkLast},
		{"bulk alone gets nearly the whole rate", false, bulkAlone},
		{"a pause holds everybody on every replica and ends by itself", false, pauseHolds},
		{"of two pauses the one that ends last counts", false, longerPause},
		{"a cost counts as so many requests", false, costCounts},
		{"a cost above the burst is paid before and after", false, greatCost},
		{"a cost that no window can hold is refused at once", false, impossibleCost},
		{"who gives up takes nothing along", false, givesUp},
		{"a target does not wait for another", false, apart},
		{"without a window only pauses hold", false, pausesOnly},
		{"a limit that changes holds for who waits already", false, changed},
		{"impossible limits are refused", false, impossibleLimits},
		{"refusals that go on slow the target down, and it recovers", true, slowsDown},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.long && !s.Minutes {
				t.Skip("takes minutes of real time")
			}
			s.Within(t, func(t *testing.T) { test.test(t, newBench(t, s)) })
		})
	}
}

// bench records when requests were let through.
type bench struct {
	t       *testing.T
	suite   Suite
	replica func() Limiter
	began   time.Time
	waiting sync.WaitGroup

	mu   sync.Mutex
	sent []sent
}

// sent is a request that was let through, at a time since the beginning.
type sent struct {
	Name string
	At   time.Duration
	Cost int
}

func newBench(t *testing.T, s Suite) *bench {
	return &bench{t: t, suite: s, replica: s.Open(t), began: time.Now()}
}

const target = "acme"

// limiter is a new replica with these limits.
func (b *bench) limiter(l ...rate.Window) Limiter {
	b.t.Helper()
	limiter := b.replica()
	if err := limiter.Configure(target, l); err != nil {
		b.t.Fatalf("configure: %v", err)
	}
	return limiter
}

// wait waits in the foreground and records.
func (b *bench) wait(l Limiter, lane rate.Lane, cost int) {
	b.t.Helper()
	if err := l.Wait(b.t.Context(), target, lane, cost); err != nil {
		b.t.Errorf("wait: %v", err)
		return
	}
	b.record(lane.String(), cost)
}

// send starts n waiters in the background.
func (b *bench) send(l Limiter, lane rate.Lane, n, cost int) {
	for range n {
		b.waiting.Go(func() { b.wait(l, lane, cost) })
	}
	b.settle()
}

// record must be called at once: it is the moment of the request.
func (b *bench) record(name string, cost int) {
	at := time.Since(b.began)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, sent{Name: name, At: at, Cost: cost})
}

// all waits for the background and gives what was sent, in order.
func (b *bench) all() []sent {
	b.waiting.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	slices.SortStableFunc(b.sent, func(x, y sent) int { return int(x.At - y.At) })
	return b.sent
}

// pass lets time pass.
func (b *bench) pass(d time.Duration) { <-time.After(d) }

// settle lets the waiters that were started reach the limiter.
func (b *bench) settle() { b.pass(min(b.suite.Late, 5*time.Millisecond) + time.Microsecond) }

func (b *bench) near(what string, got, want time.Duration) {
	b.t.Helper()
	if early, late := want-got, got-want; early > 2*time.Millisecond || late > 2*time.Millisecond+b.suite.Late {
		b.t.Errorf("%s: after %v, want %v", what, got, want)
	}
}

// within fails where any stretch of the window holds more than it allows.
func within(t *testing.T, all []sent, w rate.Window) {
	t.Helper()
	for i, first := range all {
		total := 0
		for _, next := range all[i:] {
			if next.At-first.At >= w.Per {
				break
			}
			total += next.Cost
		}
		if total > w.Requests {
			t.Errorf("%d requests in the %v from %v, want at most %d", total, w.Per, first.At, w.Requests)
			return
		}
	}
}

// token is the time in which a window gains one token.
func token(w rate.Window) time.Duration {
	return time.Duration(1/w.Bucket().Refill) * time.Microsecond
}

// ahead is how much longer a lane waits on an empty bucket than an urgent request.
func ahead(w rate.Window, lane rate.Lane) time.Duration {
	b := w.Bucket()
	return time.Duration(b.Floors[lane]/b.Refill) * time.Microsecond
}
