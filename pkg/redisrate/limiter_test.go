package redisrate_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/joinery/joinery/pkg/rate"
	"github.com/joinery/joinery/pkg/redisrate"
)

func TestALimiterNeedsToKnowWhereRedisIs(t *testing.T) {
	if _, err := redisrate.New(redisrate.Options{}); err == nil {
		t.Error("made a limiter on nothing")
	}
}

func TestWaitingCostsNoCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		l := open(t, n, redisrate.Options{}, tenASecond())
		ctx, cancel := context.WithCancel(t.Context())
		load(ctx, l, rate.Normal, 500)
		after(time.Second)
		before := n.sent()
		after(10 * time.Second)
		if calls := n.sent() - before; calls > 110 {
			t.Errorf("%d calls in 10 s for 500 waiters and 99 tokens", calls)
		}
		if err := l.Hold(ctx, "acme", time.Hour); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		before = n.sent()
		after(time.Minute)
		if calls := n.sent() - before; calls > 7 {
			t.Errorf("%d calls in a minute's pause", calls)
		}
		cancel()
		synctest.Wait()
	})
}

func TestOneCallServesManyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		l := open(t, n, redisrate.Options{}, rate.Window{Requests: 5000, Per: time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		load(ctx, l, rate.Normal, 100)
		after(100 * time.Millisecond)
		before := n.sent()
		after(200 * time.Millisecond)
		if calls := n.sent() - before; calls > 120 {
			t.Errorf("%d calls for 1000 tokens", calls)
		}
		cancel()
		synctest.Wait()
	})
}

func TestEqualCallersGoInTheOrderInWhichTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, newNetwork(t), redisrate.Options{}, tenASecond())
		var mu sync.Mutex
		var got []int
		for i := range 8 {
			go func() {
				if l.Wait(t.Context(), "acme", rate.Normal, 1) == nil {
					mu.Lock()
					defer mu.Unlock()
					got = append(got, i)
				}
			}()
			synctest.Wait()
		}
		after(time.Second)
		if diff := cmp.Diff([]int{0, 1, 2, 3, 4, 5, 6, 7}, got); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestAnUrgentCallerGetsTheTokenThatWasAskedForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		minute, began := rate.Window{Requests: 1, Per: time.Minute}, time.Now()
		l := open(t, newNetwork(t), redisrate.Options{}, minute)
		turns := make(chan string, 2)
		wait := func(lane rate.Lane) {
			if l.Wait(t.Context(), "acme", lane, 1) == nil {
				turns <- lane.String()
			}
		}
		go wait(rate.Bulk)
		after(60500 * time.Millisecond)
		go wait(rate.Urgent)
		first := <-turns
		// The bulk caller's poller would look again 0.3 s later.
		due := time.Duration(1/minute.Bucket().Refill) * time.Microsecond
		if took := time.Since(began); took > due+10*time.Millisecond {
			t.Errorf("the first turn came after %v, want %v", took, due)
		}
		if got := []string{first, <-turns}; !cmp.Equal(got, []string{"urgent", "bulk"}) {
			t.Errorf("order %v", got)
		}
	})
}

func TestWhoGaveUpBeforeTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		l := open(t, n, redisrate.Options{}, tenASecond())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		after(time.Second)
		before := n.sent()
		if err := l.Wait(ctx, "acme", rate.Urgent, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if n.sent() != before {
			t.Error("Redis was asked")
		}
	})
}

func TestALaneThatIsNoneIsRefused(t *testing.T) {
	l := redisrate.NewLocal(redisrate.Options{})
	defer func() { _ = l.Close() }()
	for _, lane := range []rate.Lane{-1, 3} {
		if err := l.Wait(t.Context(), "acme", lane, 1); err == nil {
			t.Errorf("lane %d was let through", lane)
		}
	}
}

func TestAPauseIsKeptWhenItsCallerIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, newNetwork(t), redisrate.Options{}, tenASecond())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Hold(ctx, "acme", time.Minute); err != nil {
			t.Fatal(err)
		}
		state, err := l.State(t.Context(), "acme")
		if err != nil || state.Held != time.Minute || !state.Shared {
			t.Errorf("held for %v, on all replicas: %v (%v), want 1m on all", state.Held, state.Shared, err)
		}
	})
}

func TestTheStateShowsLevelsPauseAndQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hundred := rate.Window{Requests: 100, Per: time.Second}
		limits := []rate.Window{hundred, {Requests: 600, Per: time.Hour}}
		for name, l := range map[string]*redisrate.Limiter{
			"redis": open(t, newNetwork(t), redisrate.Options{}, limits...), "memory": redisrate.NewLocal(redisrate.Options{}),
		} {
			if err := l.Configure("acme", limits); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if err := l.Wait(ctx, "acme", rate.Urgent, 1); err != nil {
				t.Fatal(err)
			}
			after(6030 * time.Millisecond)
			if err := l.Hold(ctx, "acme", 30*time.Second); err != nil {
				t.Fatal(err)
			}
			load(ctx, l, rate.Bulk, 3)
			load(ctx, l, rate.Urgent, 1)
			synctest.Wait()
			got, err := l.State(ctx, "acme")
			if err != nil {
				t.Fatal(err)
			}
			want := redisrate.State{
				Held: 30 * time.Second, Factor: 1, Waiting: [rate.Lanes]int{1, 0, 3}, Shared: name == "redis",
				Levels: []redisrate.Level{{hundred, 2, 2}, {limits[1], 1, 7}},
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 0.01)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			cancel()
			synctest.Wait()
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAPersonCanReleaseATarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		one, two := open(t, n, redisrate.Options{}, tenASecond()), open(t, n, redisrate.Options{}, tenASecond())
		if err := one.Hold(t.Context(), "acme", time.Hour); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		turns := make(chan time.Duration, 2)
		for _, l := range []*redisrate.Limiter{one, two} {
			go func() {
				if l.Wait(t.Context(), "acme", rate.Normal, 1) == nil {
					turns <- time.Since(began)
				}
			}()
		}
		after(time.Minute)
		if err := one.Release(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		if here, there := <-turns, <-turns; min(here, there) > time.Minute+10*time.Millisecond || max(here, there) > time.Minute+maxRest+time.Second {
			t.Errorf("released after %v and %v", here, there)
		}
	})
}

func TestGrantsAreObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []redisrate.Grant
		l := redisrate.NewLocal(redisrate.Options{Observe: func(g redisrate.Grant) { got = append(got, g) }})
		defer func() { _ = l.Close() }()
		if err := l.Configure("acme", rate.Limits{tenASecond()}); err != nil {
			t.Fatal(err)
		}
		if err := l.Wait(t.Context(), "acme", rate.Bulk, 1); err != nil {
			t.Fatal(err)
		}
		want := []redisrate.Grant{{Target: "acme", Lane: rate.Bulk, Cost: 1, Waited: 106 * time.Millisecond, Factor: 1}}
		near := cmp.Comparer(func(a, b time.Duration) bool { return (a - b).Abs() < 2*time.Millisecond })
		if diff := cmp.Diff(want, got, near); diff != "" {
			t.Errorf("grants (-want +got):\n%s", diff)
		}
	})
}

func TestAPauseDuringTheDelayOfAGreatCostHoldsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, newNetwork(t), redisrate.Options{}, tenASecond())
		after(time.Second)
		began := time.Now()
		done := make(chan time.Duration, 1)
		go func() {
			if l.Wait(t.Context(), "acme", rate.Normal, 9) == nil {
				done <- time.Since(began)
			}
		}()
		after(300 * time.Millisecond)
		if err := l.Hold(t.Context(), "acme", 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if took := <-done; took < 10300*time.Millisecond {
			t.Errorf("let through after %v, during the pause", took)
		}
	})
}

func TestLogsNameTargetsAndReasonsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := newNetwork(t)
		l := open(t, n, redisrate.Options{Password: "canary-password", Log: slog.New(slog.NewTextHandler(&log, nil))}, tenASecond())
		n.set(true, false)
		if err := l.Wait(t.Context(), "acme", rate.Normal, 1); err != nil {
			t.Fatal(err)
		}
		n.set(false, false)
		after(time.Second)
		got := log.String()
		if strings.Count(got, "redis is away") != 1 || strings.Count(got, "redis is back") != 1 || strings.Contains(got, "canary") {
			t.Errorf("log:\n%s", got)
		}
	})
}
