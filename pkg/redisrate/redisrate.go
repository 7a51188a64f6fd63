// Package redisrate lets all replicas of a service keep to a target's rate
// together: callers wait for their turn, urgent ones first, and a pause that a
// target asked of one replica holds all. The arithmetic is pkg/rate's; this
// package owns Redis, in which its states are kept.
//
// Within a process the callers of a target queue by lane, and one of them at a
// time asks Redis for all, so that waiting costs no Redis calls. What Redis grants
// is used at once and never stored up.
//
//	Redis            what happens
//	answers          all replicas together keep to the rate
//	is away          each replica keeps to its share (Options.Replicas), in its own
//	                 memory and from empty buckets; Options.Down is told
//	comes back       the buckets in Redis are emptied once by each replica; pauses
//	                 that a replica learned meanwhile are handed over
//	lost its memory  empty buckets; pauses that a replica knows are handed over
//
// While some replicas reach Redis and others do not, all together can exceed the
// rate by the shares of those that do not.
package redisrate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/rate"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Options say where Redis is and who wants to know. None is needed by NewLocal
// but the last four.
type Options struct {
	// Addr is host:port. On fake time the host must be an IP address.
	Addr               string
	Username, Password string
	DB                 int
	// TLS is used where it is not nil.
	TLS *tls.Config
	// Dialer replaces the network: for an embedded Redis.
	Dialer func(ctx context.Context, network, addr string) (net.Conn, error)
	// Timeout bounds one call, after which Redis counts as away; 0 means 500 ms.
	Timeout time.Duration
	// Replicas is how many processes share the rate; 0 means 1. Each keeps to its
	// part while Redis is away.
	Replicas int
	// Observe is told of every request that was let through. It must not block.
	Observe func(Grant)
	// Down is told, with the reason, when Redis is away, and with nil when it is
	// back: an alarm. It must not block.
	Down func(error)
	// Log may be nil.
	Log *slog.Logger
}

// Grant is a request that was let through.
type Grant struct {
	Target string
	Lane   rate.Lane
	Cost   int
	// Waited is how long the caller waited.
	Waited time.Duration
	// Factor is the share of the configured rate in use.
	Factor float64
	// Shared tells that all replicas agreed, and false that this one kept to its share.
	Shared bool
}

// ErrClosed is what waiters get when the limiter is closed.
var ErrClosed = errors.New("limiter is closed")

const (
	defaultTimeout = 500 * time.Millisecond
	// retryEvery is how often Redis is tried while it is away.
	retryEvery = 500 * time.Millisecond
	// probe is not a target: names of targets have no tilde.
	probe = "~"
)

// Limiter lets callers wait for their turn. All methods may be called at once by
// many goroutines. A target that was not configured has no limits but its pauses.
type Limiter struct {
	shared  *shared // nil where there is no Redis
	local   *memory
	observe func(Grant)
	alarm   func(error)
	log     *slog.Logger
	closed  chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	targets map[string]*target // as many as the configuration has ever named
	ended   bool
	away    bool
}

// New is a limiter that shares its states through Redis. It reaches no network: a
// Redis that is not there is found out by the first caller. End it with Close.
func New(o Options) (*Limiter, error) {
	if o.Addr == "" && o.Dialer == nil {
		return nil, errors.New("make a limiter: no address of a Redis")
	}
	l := newLimiter(o)
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	l.shared = &shared{client: newClient(o, timeout), script: redis.NewScript(script), timeout: timeout}
	return l, nil
}

// NewLocal is a limiter for a single process: it needs no Redis, costs
// microseconds, and forgets with the process. Options.Replicas is ignored.
func NewLocal(o Options) *Limiter {
	o.Replicas = 1
	return newLimiter(o)
}

func newLimiter(o Options) *Limiter {
	l := &Limiter{
		local: newMemory(o.Replicas), observe: o.Observe, alarm: o.Down, log: o.Log,
		closed: make(chan struct{}), targets: map[string]*target{},
	}
	if l.observe == nil {
		l.observe = func(Grant) {}
	}
	if l.alarm == nil {
		l.alarm = func(error) {}
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	return l
}

func newClient(o Options, timeout time.Duration) *redis.Client {
	addr := o.Addr
	if addr == "" {
		addr = "127.0.0.1:6379"
	}
	options := &redis.Options{
		Addr: addr, Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: o.TLS, Dialer: o.Dialer,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout,
		ContextTimeoutEnabled: true,
		// A Redis that is away must be known at once: the defaults take 1.7 s a call.
		MaxRetries: -1, DialerRetries: 1,
		// Nothing but our calls goes over the wire, so that fake time can stand still.
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if options.Dialer == nil {
		options.Dialer = redis.NewDialer(options)
	}
	options.Dialer = quiet(options.Dialer, timeout)
	return redis.NewClient(options)
}

// Configure sets a target's limits, also for those who wait already. It refuses
// impossible limits and keeps the old ones then.
func (l *Limiter) Configure(name string, limits rate.Limits) error {
	if err := limits.Validate(); err != nil {
		return fmt.Errorf("limits of %s: %w", name, err)
	}
	l.target(name).configure(limits)
	return nil
}

// Wait returns nil when a request that the target counts as cost requests may be
// sent, at once and by the caller: a turn cannot be kept for later. More urgent
// callers go first, equal ones in the order in which they came.
//
// It fails when ctx ends, when the limiter is closed (ErrClosed), and when no
// window can ever hold the cost. Then nothing was taken.
func (l *Limiter) Wait(ctx context.Context, name string, lane rate.Lane, cost int) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for a token of %s: %w", name, err)
	}
	t := l.target(name)
	if most := t.known().MaxCost(); cost < 1 || cost > most {
		return fmt.Errorf("wait for a token of %s: a cost of %d is not between 1 and %d", name, cost, most)
	}
	if lane < rate.Urgent || lane > rate.Bulk {
		return fmt.Errorf("wait for a token of %s: there is no lane %d", name, lane)
	}
	began := time.Now()
	w := &waiter{lane: lane, cost: cost, turn: make(chan turn, 1)}
	if t.join(w) && !l.begin(func() { l.poll(context.WithoutCancel(ctx), t) }) {
		return fmt.Errorf("wait for a token of %s: %w", name, ErrClosed)
	}
	got, err := l.await(ctx, t, w)
	if err != nil {
		return fmt.Errorf("wait for a token of %s: %w", name, err)
	}
	l.observe(Grant{
		Target: name, Lane: lane, Cost: cost, Waited: time.Since(began), Factor: got.factor, Shared: got.shared,
	})
	return nil
}

// await waits for the turn of w, and for what is to be paid before it.
func (l *Limiter) await(ctx context.Context, t *target, w *waiter) (turn, error) {
	select {
	case got := <-w.turn:
		return got, l.pass(ctx, got.delay, t)
	case <-ctx.Done():
		t.leave(w)
		return turn{}, ctx.Err()
	case <-l.closed:
		t.leave(w)
		return turn{}, ErrClosed
	}
}

// pass lets the delay of a great cost pass, and a pause that began meanwhile.
func (l *Limiter) pass(ctx context.Context, delay time.Duration, t *target) error {
	for delay > 0 {
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-l.closed:
			timer.Stop()
			return ErrClosed
		}
		delay = t.held()
	}
	return nil
}

// Hold makes everybody wait, on every replica, because the target refused a
// request and asked for a pause, at most rate.MaxHold. Of several pauses the one
// that ends last counts. Refusals that go on lower the pace (rate.Pace). The pause
// is kept even when ctx ends, and while Redis is away.
func (l *Limiter) Hold(ctx context.Context, name string, pause time.Duration) error {
	t := l.target(name)
	t.learn(pause)
	return l.store(ctx, func(ctx context.Context, s store) error {
		return s.hold(ctx, name, t.known(), pause, true)
	})
}

// Release ends a target's pause and gives it the full pace again: a person knows better.
func (l *Limiter) Release(ctx context.Context, name string) error {
	t := l.target(name)
	defer t.forget()
	return l.store(ctx, func(ctx context.Context, s store) error {
		return s.release(ctx, name, t.known())
	})
}

// store writes to Redis, or to memory while Redis is away.
func (l *Limiter) store(ctx context.Context, write func(context.Context, store) error) error {
	ctx = context.WithoutCancel(ctx)
	if l.reachable() {
		err := write(ctx, l.shared)
		if err == nil {
			return nil
		}
		l.lose(ctx, err)
	}
	return write(ctx, l.local)
}

// Level is how full a window's bucket is.
type Level struct {
	Window   rate.Window
	Tokens   float64
	Capacity float64
}

// State is what a target's limiter shows.
type State struct {
	// Held is the rest of the pause that the target asked for.
	Held time.Duration
	// Factor is the share of the configured rate in use.
	Factor float64
	// Levels are in the order of the limits.
	Levels []Level
	// Waiting are the callers in this process, by lane.
	Waiting [rate.Lanes]int
	// Shared tells that the state is that of all replicas.
	Shared bool
}

// State shows a target without changing anything.
func (l *Limiter) State(ctx context.Context, name string) (State, error) {
	t := l.target(name)
	limits := t.known()
	var s store = l.local
	shared := l.reachable()
	if shared {
		s = l.shared
	} else {
		limits = limits.Share(l.local.replicas)
	}
	v, err := s.look(ctx, name, t.known())
	if err != nil {
		return State{}, err
	}
	state := State{Held: v.held, Factor: v.factor, Waiting: t.waiting(), Shared: shared}
	for i, w := range limits {
		state.Levels = append(state.Levels, Level{Window: w, Tokens: v.levels[i], Capacity: w.Bucket().Capacity})
	}
	return state, nil
}

// vacantPoll is how often Vacant looks again.
const vacantPoll = 5 * time.Millisecond

// Vacant waits until a request that is brought now would be the next of its lane
// in this process: nobody waits in it before, and no pause that we know of is in
// force. So work is fetched when it may be sent, and not to wait here.
func (l *Limiter) Vacant(ctx context.Context, name string, lane rate.Lane) error {
	t := l.target(name)
	for {
		pause := t.held()
		if pause == 0 && t.waiting()[lane] == 0 {
			return nil
		}
		timer := time.NewTimer(max(min(pause, time.Second), vacantPoll))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("wait for the queue of %s: %w", name, ctx.Err())
		}
	}
}

// Ready fails while Redis is away. Callers are served nevertheless, from this
// replica's share.
func (l *Limiter) Ready(ctx context.Context) error {
	if l.shared == nil {
		return nil
	}
	if _, err := l.shared.take(ctx, probe, nil, 0, nil); err != nil {
		return fmt.Errorf("limiter: %w", err)
	}
	return nil
}

// Close sends everybody who waits away with ErrClosed and closes the connections.
func (l *Limiter) Close() error {
	l.mu.Lock()
	ended := l.ended
	l.ended = true
	l.mu.Unlock()
	if ended {
		return nil
	}
	close(l.closed)
	l.running.Wait()
	if l.shared == nil {
		return nil
	}
	if err := l.shared.client.Close(); err != nil {
		return fmt.Errorf("close the limiter's connections: %w", err)
	}
	return nil
}

func (l *Limiter) target(name string) *target {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.targets[name]
	if !ok {
		t = newTarget(name)
		l.targets[name] = t
	}
	return t
}

// begin runs work beside the callers, unless the limiter is closed.
func (l *Limiter) begin(work func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.running.Go(work)
	return true
}
