package redisrate

import (
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/rate"
	"github.com/redis/go-redis/v9"
)

// store keeps the states of targets. Seen is the greatest Seq that the caller was
// given, see rate.State.Verify.
type store interface {
	take(ctx context.Context, target string, limits rate.Limits, seen int64, demands []rate.Demand) (rate.Answer, error)
	hold(ctx context.Context, target string, limits rate.Limits, pause time.Duration, refused bool) error
	release(ctx context.Context, target string, limits rate.Limits) error
	look(ctx context.Context, target string, limits rate.Limits) (view, error)
}

// view is what a state shows, with one level for each limit.
type view struct {
	held   time.Duration
	factor float64
	levels []float64
}

//go:embed bucket.lua
var script string

// keyPrefix and the target's name make a key.
const keyPrefix = "tb:"

// leastKept is how long an idle state is kept at least; the pace needs less, and
// what is forgotten only starts with empty buckets.
const leastKept = time.Hour

// shared keeps states in Redis.
type shared struct {
	client  *redis.Client
	script  *redis.Script
	timeout time.Duration
}

func (s *shared) take(
	ctx context.Context, target string, limits rate.Limits, seen int64, demands []rate.Demand,
) (rate.Answer, error) {
	args := make([]any, 0, 2*len(demands))
	for _, d := range demands {
		args = append(args, int(d.Lane), d.Cost)
	}
	a, _, err := s.run(ctx, "take", target, limits, seen, args)
	if err != nil {
		return a, fmt.Errorf("take a token for %s: %w", target, err)
	}
	return a, nil
}

func (s *shared) hold(ctx context.Context, target string, limits rate.Limits, pause time.Duration, refused bool) error {
	flag := 0
	if refused {
		flag = 1
	}
	micros := int64(rate.Micros(0).After(min(max(0, pause), rate.MaxHold)))
	if _, _, err := s.run(ctx, "hold", target, limits, 0, []any{micros, flag}); err != nil {
		return fmt.Errorf("hold %s: %w", target, err)
	}
	return nil
}

func (s *shared) release(ctx context.Context, target string, limits rate.Limits) error {
	if _, _, err := s.run(ctx, "release", target, limits, 0, nil); err != nil {
		return fmt.Errorf("release %s: %w", target, err)
	}
	return nil
}

func (s *shared) look(ctx context.Context, target string, limits rate.Limits) (view, error) {
	a, levels, err := s.run(ctx, "look", target, limits, 0, nil)
	if err != nil {
		return view{}, fmt.Errorf("look at %s: %w", target, err)
	}
	return view{held: a.Held, factor: a.Factor, levels: levels}, nil
}

func (s *shared) run(
	ctx context.Context, operation, target string, limits rate.Limits, seen int64, more []any,
) (rate.Answer, []float64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	args := slices.Concat(arguments(operation, limits, seen), more)
	values, err := s.script.Run(ctx, s.client, []string{keyPrefix + target}, args...).StringSlice()
	if err != nil {
		return rate.Answer{}, nil, err
	}
	return answer(values)
}

// arguments are those that every operation has; bucket.lua lists them.
func arguments(operation string, limits rate.Limits, seen int64) []any {
	var longest time.Duration
	for _, w := range limits {
		longest = max(longest, w.Per)
	}
	args := []any{operation, seen, max(leastKept, 2*longest).Milliseconds(), len(limits)}
	for _, w := range limits {
		b := w.Bucket()
		args = append(args, "w"+strconv.FormatInt(w.Per.Microseconds(), 10), exact(b.Capacity), exact(b.Refill))
		for _, floor := range b.Floors {
			args = append(args, exact(floor))
		}
	}
	return args
}

// exact is the number as text that reads back as the same number.
func exact(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// fixed is how many values an answer has before the levels.
const fixed = 7

func answer(values []string) (rate.Answer, []float64, error) {
	if len(values) < fixed {
		return rate.Answer{}, nil, fmt.Errorf("the script answered %d values", len(values))
	}
	numbers := make([]float64, len(values))
	var errs []error
	for i, v := range values {
		n, err := strconv.ParseFloat(v, 64)
		numbers[i] = n
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return rate.Answer{}, nil, fmt.Errorf("read the script's answer: %w", err)
	}
	return rate.Answer{
		Granted: int(numbers[0]),
		Delay:   micros(numbers[1]),
		Wait:    micros(numbers[2]),
		Held:    micros(numbers[3]),
		Lost:    numbers[4] == 1,
		Seq:     int64(numbers[5]),
		Factor:  numbers[6],
	}, numbers[fixed:], nil
}

func micros(n float64) time.Duration {
	return time.Duration(math.Ceil(n)) * time.Microsecond
}

// memory keeps states in the process: the reference itself. It is what a replica
// goes on with while Redis is away, and then knows only its own share.
type memory struct {
	replicas int

	mu     sync.Mutex
	states map[string]rate.State
}

func newMemory(replicas int) *memory {
	return &memory{replicas: replicas, states: map[string]rate.State{}}
}

// clock is the process' own; State makes up for one that goes back.
func clock() rate.Micros { return rate.Micros(time.Now().UnixMicro()) }

func (m *memory) take(
	_ context.Context, target string, limits rate.Limits, seen int64, demands []rate.Demand,
) (rate.Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state, lost := m.states[target].Verify(seen)
	state, a := state.Take(clock(), limits.Share(m.replicas), demands...)
	a.Lost = lost
	m.states[target] = state
	return a, nil
}

func (m *memory) hold(_ context.Context, target string, _ rate.Limits, pause time.Duration, refused bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states[target] = m.states[target].Hold(clock(), pause, refused)
	return nil
}

func (m *memory) release(_ context.Context, target string, _ rate.Limits) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states[target] = m.states[target].Release(clock())
	return nil
}

func (m *memory) look(_ context.Context, target string, limits rate.Limits) (view, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	limits = limits.Share(m.replicas)
	state, a := m.states[target].Take(clock(), limits)
	v := view{held: a.Held, factor: a.Factor}
	for _, w := range limits {
		v.levels = append(v.levels, state.Levels[w.Per])
	}
	return v, nil
}
