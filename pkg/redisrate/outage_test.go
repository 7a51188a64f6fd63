package redisrate_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/rate"
	"github.com/joinery/joinery/pkg/redisrate"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// journal records grants and alarms, with times since the beginning.
type journal struct {
	mu     sync.Mutex
	began  time.Time
	grants []grant
	alarms []string
}

type grant struct {
	at     time.Duration
	lane   rate.Lane
	shared bool
}

func newJournal() *journal { return &journal{began: time.Now()} }

func (j *journal) options(replicas int) redisrate.Options {
	return redisrate.Options{
		Replicas: replicas,
		Observe: func(g redisrate.Grant) {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.grants = append(j.grants, grant{time.Since(j.began), g.Lane, g.Shared})
		},
		Down: func(err error) {
			j.mu.Lock()
			defer j.mu.Unlock()
			state := "back"
			if err != nil {
				state = "away"
			}
			j.alarms = append(j.alarms, state)
		},
	}
}

// between counts the grants of a stretch of time.
func (j *journal) between(from, to time.Duration) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, g := range j.grants {
		if g.at >= from && g.at < to {
			n++
		}
	}
	return n
}

// never fails where any stretch of the window holds more than it allows.
func (j *journal) never(t *testing.T, w rate.Window) {
	t.Helper()
	j.mu.Lock()
	grants := slices.Clone(j.grants)
	j.mu.Unlock()
	for _, g := range grants {
		if n := j.between(g.at, g.at+w.Per); n > w.Requests {
			t.Errorf("%d requests in the %v from %v, want at most %d", n, w.Per, g.at, w.Requests)
			return
		}
	}
}

// load keeps n callers of a lane busy until ctx ends.
func load(ctx context.Context, l *redisrate.Limiter, lane rate.Lane, n int) {
	for range n {
		go func() {
			for l.Wait(ctx, "acme", lane, 1) == nil {
			}
		}()
	}
}

// after lets time pass, and everything happen that is due then.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func tenASecond() rate.Window { return rate.Window{Requests: 10, Per: time.Second} }

func TestWhileRedisIsAwayEachReplicaKeepsToItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, j := newNetwork(t), newJournal()
		one, two := open(t, n, j.options(2), tenASecond()), open(t, n, j.options(2), tenASecond())
		ctx, cancel := context.WithCancel(t.Context())
		load(ctx, one, rate.Normal, 4)
		load(ctx, two, rate.Normal, 4)
		after(10 * time.Second)
		n.set(true, false)
		after(10 * time.Second)
		n.set(false, false)
		after(10 * time.Second)
		cancel()
		synctest.Wait()

		j.never(t, tenASecond())
		if got := j.between(10*time.Second, 20*time.Second); got < 90 {
			t.Errorf("%d requests in 10 s without Redis, want the shares to be used", got)
		}
		if got := j.between(21*time.Second, 30*time.Second); got < 86 {
			t.Errorf("%d requests in the 9 s after it came back", got)
		}
		if diff := cmp.Diff([]string{"away", "away", "back", "back"}, j.alarms); diff != "" {
			t.Errorf("alarms (-want +got):\n%s", diff)
		}
		for _, g := range j.grants {
			settled := g.at < 10*time.Second || g.at > 21*time.Second
			if away := g.at > 10*time.Second && g.at < 20*time.Second; away && g.shared || settled && !g.shared {
				t.Errorf("a grant at %v counts as shared: %v", g.at, g.shared)
			}
		}
	})
}

func TestARedisThatHangsCostsOneTimeoutOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, j := newNetwork(t), newJournal()
		n.set(false, true)
		l := open(t, n, j.options(1), tenASecond())
		ctx, cancel := context.WithCancel(t.Context())
		load(ctx, l, rate.Normal, 2)
		after(5 * time.Second)
		cancel()
		synctest.Wait()
		// Half a second until the first call is given up, then ten a second.
		if got := j.between(0, 5*time.Second); got < 43 || got > 45 {
			t.Errorf("%d requests in 5 s, want 44", got)
		}
		if diff := cmp.Diff([]string{"away"}, j.alarms); diff != "" {
			t.Errorf("alarms (-want +got):\n%s", diff)
		}
		if err := l.Ready(t.Context()); err == nil {
			t.Error("the limiter calls itself ready")
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		after(time.Second) // the last attempt to connect ends by itself
	})
}

func TestLeaversGoFirstWhileRedisIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, j := newNetwork(t), newJournal()
		n.set(true, false)
		l := open(t, n, j.options(5), tenASecond()) // two a second
		ctx, cancel := context.WithCancel(t.Context())
		load(ctx, l, rate.Bulk, 3)
		load(ctx, l, rate.Normal, 3)
		after(5 * time.Second)
		began := time.Now()
		if err := l.Wait(ctx, "acme", rate.Urgent, 1); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited > 520*time.Millisecond {
			t.Errorf("the leaver waited %v, want no longer than the next token", waited)
		}
		cancel()
		synctest.Wait()
	})
}

func TestAPauseSurvivesTheLossOfRedisAndItsReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, j := newNetwork(t), newJournal()
		one, two := open(t, n, j.options(2), tenASecond()), open(t, n, j.options(2), tenASecond())
		ctx, cancel := context.WithCancel(t.Context())
		load(ctx, one, rate.Urgent, 2)
		after(time.Second)
		if err := one.Hold(ctx, "acme", 40*time.Second); err != nil {
			t.Fatal(err)
		}
		end := time.Since(j.began) + 40*time.Second
		load(ctx, two, rate.Urgent, 2) // learns of the pause from Redis
		after(time.Second)
		n.set(true, false)
		after(25 * time.Second) // longer than a poller rests
		n.redis.FlushAll()
		n.set(false, false)
		after(30 * time.Second)
		cancel()
		synctest.Wait()
		if got := j.between(1100*time.Millisecond, end-time.Millisecond); got != 0 {
			t.Errorf("%d requests during the pause", got)
		}
		if got := j.between(end, end+2*time.Second); got < 10 {
			t.Errorf("%d requests in the two seconds after the pause", got)
		}
	})
}

func TestAChangeBetweenRedisAndMemoryGivesNoTokenTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, j := newNetwork(t), newJournal()
		w := rate.Window{Requests: 1, Per: 10 * time.Second}
		l := open(t, n, j.options(1), w)
		for i := range 6 {
			n.set(i%2 == 1, false)
			after(time.Second) // Redis is found again
			if err := l.Wait(t.Context(), "acme", rate.Urgent, 1); err != nil {
				t.Fatal(err)
			}
		}
		j.never(t, w)
		var shared []bool
		for _, g := range j.grants {
			shared = append(shared, g.shared)
		}
		if diff := cmp.Diff([]bool{true, false, true, false, true, false}, shared); diff != "" {
			t.Errorf("shared (-want +got):\n%s", diff)
		}
	})
}

func TestAPauseLearnedWithoutRedisHoldsAllOnceItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, j := newNetwork(t), newJournal()
		one, two := open(t, n, j.options(2), tenASecond()), open(t, n, redisrate.Options{}, tenASecond())
		ctx, cancel := context.WithCancel(t.Context())
		load(ctx, one, rate.Urgent, 1)
		after(time.Second)
		n.set(true, false)
		after(time.Second)
		if err := one.Hold(ctx, "acme", time.Minute); err != nil {
			t.Fatal(err)
		}
		n.set(false, false)
		after(2 * maxRest)
		state, err := two.State(ctx, "acme")
		if err != nil || state.Held < 30*time.Second {
			t.Errorf("the other replica is held for %v (%v), want about 40s", state.Held, err)
		}
		cancel()
		synctest.Wait()
	})
}

// maxRest is how long a poller may rest before it asks again.
const maxRest = 10 * time.Second

func TestALossOfMemoryNeverAllowsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, j := newNetwork(t), newJournal()
		w := rate.Window{Requests: 50, Per: time.Second}
		one, two := open(t, n, j.options(1), w), open(t, n, j.options(1), w)
		ctx, cancel := context.WithCancel(t.Context())
		load(ctx, one, rate.Normal, 4)
		load(ctx, two, rate.Bulk, 4)
		for range 20 {
			after(470 * time.Millisecond)
			n.redis.FlushAll()
		}
		if err := one.Hold(ctx, "acme", 5*time.Second); err != nil {
			t.Fatal(err)
		}
		end := time.Since(j.began) + 5*time.Second
		after(time.Second)
		n.redis.FlushAll()
		// The first who asks hands the pause over.
		if err := one.Wait(ctx, "acme", rate.Urgent, 1); err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		j.never(t, w)
		if got := j.between(end-4900*time.Millisecond, end-time.Millisecond); got != 0 {
			t.Errorf("%d requests during the pause", got)
		}
		if len(j.alarms) != 0 {
			t.Errorf("alarms %v: Redis was never away", j.alarms)
		}
	})
}

func TestAnEmptiedScriptCacheIsFilledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, j := newNetwork(t), newJournal()
		l := open(t, n, j.options(1), tenASecond())
		client := redis.NewClient(&redis.Options{
			Addr: "127.0.0.1:6379", Dialer: n.dial, Protocol: 2, DisableIdentity: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		defer func() { _ = client.Close() }()
		for range 3 {
			if err := l.Wait(t.Context(), "acme", rate.Normal, 1); err != nil {
				t.Fatal(err)
			}
			if err := client.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if len(j.alarms) != 0 || !j.grants[2].shared {
			t.Errorf("alarms %v, grants %v", j.alarms, j.grants)
		}
	})
}

func TestARedisThatRefusesCountsAsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, j := newNetwork(t), newJournal()
		l := open(t, n, j.options(1), tenASecond())
		n.redis.SetError("READONLY You can't write against a read only replica.")
		if err := l.Wait(t.Context(), "acme", rate.Normal, 1); err != nil {
			t.Fatal(err)
		}
		after(3 * time.Second)
		n.redis.SetError("")
		after(time.Second)
		if err := l.Wait(t.Context(), "acme", rate.Normal, 1); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"away", "back"}, j.alarms); diff != "" {
			t.Errorf("alarms (-want +got):\n%s", diff)
		}
		if got := []bool{j.grants[0].shared, j.grants[1].shared}; !cmp.Equal(got, []bool{false, true}) {
			t.Errorf("shared: %v", got)
		}
	})
}

func TestAClockOfRedisThatGoesBackHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, j := newNetwork(t), newJournal()
		l := open(t, n, j.options(1), tenASecond())
		ctx, cancel := context.WithCancel(t.Context())
		load(ctx, l, rate.Normal, 2)
		began := time.Now()
		for i := range 200 {
			at := began.Add(time.Duration(i) * 50 * time.Millisecond)
			if i >= 100 {
				at = at.Add(-time.Hour)
			}
			n.redis.SetTime(at)
			after(50 * time.Millisecond)
		}
		cancel()
		synctest.Wait()
		j.never(t, tenASecond())
		if got := j.between(5500*time.Millisecond, 9500*time.Millisecond); got < 36 {
			t.Errorf("%d requests in 4 s after the jump, want 39", got)
		}
	})
}

func TestCloseSendsEverybodyAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, j := newNetwork(t), newJournal()
		l := open(t, n, j.options(1), rate.Window{Requests: 1, Per: time.Hour})
		gone := make(chan error, 3)
		for range 3 {
			go func() { gone <- l.Wait(t.Context(), "acme", rate.Urgent, 1) }()
		}
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := <-gone; !errors.Is(err, redisrate.ErrClosed) {
				t.Errorf("got %v", err)
			}
		}
		if err := l.Wait(t.Context(), "acme", rate.Urgent, 1); !errors.Is(err, redisrate.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}
