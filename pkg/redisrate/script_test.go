package redisrate

import (
	"context"
	"fmt"
	"math"
	"net"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/joinery/joinery/pkg/rate"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

// pair is the same target twice: in Redis, and in the reference.
type pair struct {
	t      *rapid.T
	redis  *shared
	mini   *miniredis.Miniredis
	limits rate.Limits
	name   string

	now   time.Time
	state rate.State
	seen  int64
}

func (p *pair) tick(by time.Duration) {
	p.now = p.now.Add(by.Truncate(time.Microsecond))
	p.mini.SetTime(p.now)
}

func (p *pair) clock() rate.Micros { return rate.Micros(p.now.UnixMicro()) }

func (p *pair) take(ctx context.Context, seen int64, demands []rate.Demand) {
	got, err := p.redis.take(ctx, p.name, p.limits, seen, demands)
	if err != nil {
		p.t.Fatal(err)
	}
	state, lost := p.state.Verify(seen)
	state, want := state.Take(p.clock(), p.limits, demands...)
	want.Lost = lost
	p.state, p.seen = state, want.Seq
	if diff := cmp.Diff(want, got, alike()); diff != "" {
		p.t.Fatalf("take %v (-reference +script):\n%s", demands, diff)
	}
}

func (p *pair) hold(ctx context.Context, pause time.Duration, refused bool) {
	if err := p.redis.hold(ctx, p.name, p.limits, pause, refused); err != nil {
		p.t.Fatal(err)
	}
	p.state = p.state.Hold(p.clock(), pause, refused)
}

func (p *pair) release(ctx context.Context) {
	if err := p.redis.release(ctx, p.name, p.limits); err != nil {
		p.t.Fatal(err)
	}
	p.state = p.state.Release(p.clock())
}

// look compares without changing either.
func (p *pair) look(ctx context.Context) {
	got, err := p.redis.look(ctx, p.name, p.limits)
	if err != nil {
		p.t.Fatal(err)
	}
	state, a := p.state.Take(p.clock(), p.limits)
	want := view{held: a.Held, factor: a.Factor}
	for _, w := range p.limits {
		want.levels = append(want.levels, state.Levels[w.Per])
	}
	if diff := cmp.Diff(want, got, alike(), cmp.AllowUnexported(view{})); diff != "" {
		p.t.Fatalf("look (-reference +script):\n%s", diff)
	}
}

// alike allows for the last bit of a number and its microsecond.
func alike() cmp.Option {
	return cmp.Options{
		cmpopts.EquateApprox(1e-12, 1e-12), cmpopts.EquateEmpty(),
		cmp.Comparer(func(a, b time.Duration) bool { return (a - b).Abs() <= time.Microsecond }),
	}
}

func embeddedRedis(t *testing.T) (*miniredis.Miniredis, *shared) {
	t.Helper()
	mini := miniredis.NewMiniRedis()
	t.Cleanup(mini.Close)
	client := newClient(Options{Dialer: func(context.Context, string, string) (net.Conn, error) { return mini.Dial() }}, time.Second)
	t.Cleanup(func() { _ = client.Close() })
	return mini, &shared{client: client, script: redis.NewScript(script), timeout: 10 * time.Second}
}

func TestScriptAndReferenceAgree(t *testing.T) {
	mini, store := embeddedRedis(t)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		p := &pair{t: t, redis: store, mini: mini, name: fmt.Sprintf("run-%d", run), now: time.Unix(1_800_000_000, 0)}
		p.tick(0)
		for i := range rapid.IntRange(0, 3).Draw(t, "windows") {
			p.limits = append(p.limits, rate.Window{
				Requests: rapid.IntRange(1, 2000).Draw(t, "requests"),
				Per:      []time.Duration{time.Second, 7 * time.Second, time.Hour}[i],
			})
		}
		ctx := context.Background()
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			p.tick(time.Duration(rapid.OneOf(
				rapid.Int64Range(0, int64(50*time.Millisecond)),
				rapid.Int64Range(0, int64(20*time.Minute)),
				rapid.Int64Range(-int64(2*time.Hour), 0),
			).Draw(t, "step")))
			p.step(ctx, rapid.IntRange(0, 9).Draw(t, "event"))
		}
	})
}

func (p *pair) step(ctx context.Context, event int) {
	switch event {
	case 0:
		p.mini.Del(keyPrefix + p.name)
		p.state = rate.State{}
	case 1, 2:
		pause := time.Duration(rapid.Int64Range(-1, int64(30*time.Hour)).Draw(p.t, "long"))
		if event == 2 {
			pause /= 5000
		}
		p.hold(ctx, pause, rapid.Bool().Draw(p.t, "refused"))
	case 3:
		p.release(ctx)
	case 4:
		p.look(ctx)
	default:
		seen := p.seen
		if event == 5 {
			seen++ // as if served elsewhere
		}
		p.take(ctx, seen, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) rate.Demand {
			return rate.Demand{Lane: rate.Lane(rapid.IntRange(0, 2).Draw(t, "lane")), Cost: rapid.IntRange(1, 40).Draw(t, "cost")}
		}), 0, 6).Draw(p.t, "demands"))
	}
}

// Redis' tostring keeps 14 digits, miniredis' keeps all: only the text of the
// script can show that it is not used on numbers.
func TestStoredNumbersKeepAllTheirDigits(t *testing.T) {
	mini, store := embeddedRedis(t)
	mini.SetTime(time.UnixMicro(1_799_999_999_999_999))
	limits := rate.Limits{{Requests: 3, Per: time.Second}}
	for range 2 {
		if _, err := store.take(t.Context(), "acme", limits, 0, nil); err != nil {
			t.Fatal(err)
		}
		mini.SetTime(time.UnixMicro(1_800_000_000_012_346))
	}
	want := map[string]string{"t": "1800000000012346", "s": "0", "h": "0", "pl": "0", "pa": "0", "pr": "0"}
	level := limits[0].Bucket().Refill * 12347
	for field, value := range want {
		if got := mini.HGet("tb:acme", field); got != value {
			t.Errorf("field %s is %q, want %q", field, got, value)
		}
	}
	if got := mini.HGet("tb:acme", "w1000000"); got != fmt.Sprintf("%.17g", level) {
		t.Errorf("level is %q, want %.17g", got, level)
	}
}

func TestAnIdleStateIsForgottenAfterItsPauseAndLongestWindow(t *testing.T) {
	mini, store := embeddedRedis(t)
	mini.SetTime(time.Unix(1_800_000_000, 0))
	for _, row := range []struct {
		per, pause, want time.Duration
	}{
		{time.Second, 0, time.Hour},
		{24 * time.Hour, 0, 48 * time.Hour},
		{time.Second, 3 * time.Hour, 4 * time.Hour},
	} {
		name := fmt.Sprint(row.per, row.pause)
		if err := store.hold(t.Context(), name, rate.Limits{{Requests: 1, Per: row.per}}, row.pause, true); err != nil {
			t.Fatal(err)
		}
		if got := mini.TTL("tb:" + name); got != row.want {
			t.Errorf("%+v: kept for %v", row, got)
		}
	}
}

func TestAnswersThatAreNoneAreErrors(t *testing.T) {
	for _, values := range [][]string{nil, {"1"}, {"1", "2", "3", "4", "5", "6", "seven"}} {
		if _, _, err := answer(values); err == nil {
			t.Errorf("%v was accepted", values)
		}
	}
	if got := exact(1.0 / 3); got != "0.3333333333333333" || exact(math.MaxInt32) != "2.147483647e+09" {
		t.Errorf("numbers are written as %s", got)
	}
}
