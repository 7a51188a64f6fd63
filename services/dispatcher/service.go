package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/joinery/joinery/pkg/app"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/rate"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/target"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"go.opentelemetry.io/otel/trace"
)

// Lanes gives the queue of one lane of one target. Admit is asked before each
// fetch; at most concurrency messages are out at a time, and one per identity.
type Lanes interface {
	Lane(target, lane string, concurrency int, admit func(context.Context) error) message.Subscriber
}

// Watched is a bucket of target states that can be watched. The watch calls fn
// for every state, and for every change until ctx ends.
type Watched interface {
	States
	Watch(ctx context.Context, prefix string, fn func(key string, value *target.State, rev uint64)) error
}

// WatchedAccounts is a bucket of accounts that can be watched.
type WatchedAccounts interface {
	Accounts
	Watch(ctx context.Context, prefix string, fn func(key string, value *identity.Account, rev uint64)) error
}

// Target is one target as configured.
type Target struct {
	Settings Settings
	Provider Provider
	// Groups are the target's groups; nil leaves groups alone.
	Groups      Groups
	Concurrency int
	// Version changes when anything of the target's configuration does.
	Version string
	// Vacant waits until a command of a lane could be sent at once; nil means now.
	Vacant func(ctx context.Context, lane joineryv1.Lane) error
	// OffPeak is when the bulk lane works.
	OffPeak rate.OffPeak
	// Stopped targets (mode simulate or paused) keep their commands.
	Stopped bool
}

// Options are what the service works with.
type Options struct {
	Lanes    Lanes
	Accounts WatchedAccounts
	Members  Members
	States   Watched
	Newest   Newest
	Windows  Windows
	Outbox   Outbox
	Pauser   Pauser
	// Worker names this process. It must survive a restart where only one such
	// process can run, and differ between replicas.
	Worker string
	// Lease is how long another worker's unfinished call is left alone; it must
	// exceed the longest time that a request can take.
	Lease     time.Duration
	Telemetry *telemetry.Telemetry
	// Raise tells people that something needs them; nil tells nobody.
	Raise func(ctx context.Context, kind, subject, summary string)
	// Jitter spreads pauses; nil means at random over the upper half.
	Jitter func(time.Duration) time.Duration
}

// Service is the dispatcher: one bulkhead for each target.
type Service struct {
	options Options
	metrics *metrics
	ledger  *ledger
	mu      sync.Mutex
	wanted  map[string]Target
	changed chan struct{}
}

// New makes a dispatcher that has no targets yet.
func New(o Options) *Service {
	if o.Lease == 0 {
		o.Lease = time.Minute
	}
	if o.Jitter == nil {
		o.Jitter = jitter
	}
	if o.Raise == nil {
		o.Raise = func(context.Context, string, string, string) {}
	}
	return &Service{
		options: o, metrics: newMetrics(o.Telemetry.Metrics), changed: make(chan struct{}, 1),
		ledger: &ledger{accounts: o.Accounts, worker: o.Worker, lease: o.Lease},
	}
}

// Configure puts targets in force. What is in flight is finished first.
func (s *Service) Configure(targets map[string]Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = targets
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Run dispatches until ctx ends, then finishes what is in flight.
func (s *Service) Run(ctx context.Context) error {
	running := map[string]*bulkhead{}
	defer func() {
		for _, b := range running {
			b.stop()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
			s.reconfigure(ctx, running)
		}
	}
}

// bulkhead is one target at work, and how to end it.
type bulkhead struct {
	version string
	worker  *worker
	cancel  context.CancelFunc
	done    chan struct{}
}

func (b *bulkhead) stop() {
	b.cancel()
	<-b.done
}

func (s *Service) reconfigure(ctx context.Context, running map[string]*bulkhead) {
	s.mu.Lock()
	wanted := s.wanted
	s.mu.Unlock()
	for name, b := range running {
		if t, ok := wanted[name]; !ok || t.Stopped || t.Version != b.version {
			b.stop()
			delete(running, name)
		}
	}
	for name, t := range wanted {
		if running[name] == nil && !t.Stopped {
			running[name] = s.start(ctx, name, t)
		}
	}
}

func (s *Service) start(ctx context.Context, name string, t Target) *bulkhead {
	ctx, cancel := context.WithCancel(ctx)
	w := s.worker(name, t)
	w.life = ctx
	if pupil, ok := t.Provider.(interface{ Remember(l scimhttp.Lessons) }); ok {
		pupil.Remember(lessons{w})
	}
	b := &bulkhead{version: t.Version, worker: w, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		for pause := minPause; ; pause = min(2*pause, time.Minute) {
			err := w.run(ctx, s.options, t.Concurrency)
			if err == nil || ctx.Err() != nil {
				return
			}
			w.log.ErrorContext(ctx, "target stopped working; it begins again", "target", name, "pause", pause, "error", err)
			if sleep(ctx, pause) != nil {
				return
			}
			w = s.worker(name, t)
			w.life = ctx
		}
	}()
	return b
}

func (s *Service) worker(name string, t Target) *worker {
	o := s.options
	return &worker{
		vacant: t.Vacant, offPeak: t.OffPeak,
		name: name, settings: t.Settings.Defaults(), provider: t.Provider, groups: t.Groups, members: o.Members, ledger: s.ledger,
		outbox: o.Outbox, pauser: o.Pauser, states: newStates(o.States, name), breaker: newBreaker(),
		vigil: newVigil(t.Settings.DeleteAfter), budget: newBudget(), ramp: newRamp(t.Concurrency),
		guards: &guards{target: name, windows: o.Windows, census: newCensus(), limits: t.Settings.Guard},
		newest: o.Newest, jitter: o.Jitter, raise: o.Raise, log: o.Telemetry.Log, tracer: o.Telemetry.Tracer, metrics: s.metrics,
	}
}

// run works the three lanes, the probe and the watch of one target.
func (t *worker) run(ctx context.Context, o Options, concurrency int) error {
	group := app.NewGroup(ctx)
	for key, seen := range map[string]func(target.State){t.name: t.states.seen, target.Everything: t.states.seenEverything} {
		group.Go("watch "+key+" for "+t.name, func(ctx context.Context) error { return o.watch(ctx, key, seen, t.states.read) })
	}
	group.Go("probe "+t.name, t.Probe)
	group.Go("confirm "+t.name, t.Confirm)
	group.Go("references "+t.name, func(ctx context.Context) error { return t.follow(ctx, o.Accounts) })
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: o.Lease}, telemetry.Watermill(t.log))
	if err != nil {
		return fmt.Errorf("make a router: %w", err)
	}
	router.AddMiddleware(middleware.Recoverer)
	for lane, share := range shares(concurrency) {
		router.AddConsumerHandler(t.name+"."+lane, lane, o.Lanes.Lane(t.name, lane, share, t.admitting(lane)), t.receive)
	}
	group.Go("router "+t.name, router.Run)
	return group.Wait()
}

// watch brings one state and its changes; read is called once all that was there
// has come.
func (o Options) watch(ctx context.Context, key string, seen func(target.State), read func()) error {
	once := sync.OnceFunc(read)
	return o.States.Watch(ctx, key, func(at string, value *target.State, _ uint64) {
		switch {
		case at == "":
			once()
		case at == key && value != nil:
			seen(*value)
		case at == key:
			seen(target.State{Target: key})
		}
	})
}

// shares divides a target's concurrency: a quarter, at least one, is kept for
// leavers; bulk may use a quarter.
func shares(concurrency int) map[string]int {
	concurrency = max(concurrency, 1)
	urgent := max(concurrency/4, 1)
	return map[string]int{
		"urgent": urgent,
		"normal": max(concurrency-urgent, 1),
		"bulk":   max(concurrency/4, 1),
	}
}

// receive settles one message: nil acknowledges it.
func (t *worker) receive(msg *message.Message) error {
	var c joineryv1.ProvisioningCommand
	ctx, err := wire.Decode(msg, &c)
	if err != nil {
		err = t.poison(ctx, msg, err)
	} else {
		err = t.Handle(ctx, &c)
	}
	if err != nil {
		stream.RetryAfter(msg, max(fault.Pause(err), minPause))
	}
	return err
}

// minPause keeps a failure that named no pause from coming back in a hot loop.
const minPause = time.Second

// poison dead-letters a command that cannot be read.
func (t *worker) poison(ctx context.Context, msg *message.Message, why error) error {
	subject := strings.Split(stream.DeliveryOf(msg).Subject, ".")
	id := subject[len(subject)-1]
	return t.outbox.DeadLetter(ctx, &joineryv1.DeadLetter{
		Id: "poison-" + t.name + "-" + id, Cause: joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_POISON,
		Command: &joineryv1.ProvisioningCommand{Id: msg.UUID, Target: t.name, Identity: id},
		Payload: msg.Payload, Reason: why.Error(), TraceId: traceID(ctx),
	})
}

// worker is one target at work.
type worker struct {
	name     string
	settings Settings
	provider Provider
	groups   Groups
	members  Members
	ledger   *ledger
	outbox   Outbox
	pauser   Pauser
	states   *states
	breaker  *breaker
	guards   *guards
	vigil    *vigil
	budget   *budget
	ramp     *ramp
	newest   Newest
	jitter   func(time.Duration) time.Duration
	log      *slog.Logger
	tracer   trace.Tracer
	metrics  *metrics
	raise    func(ctx context.Context, kind, subject, summary string)
	vacant   func(ctx context.Context, lane joineryv1.Lane) error
	offPeak  rate.OffPeak
	// gathering holds groups back for a moment.
	gathering gathering
	life      context.Context // ends when the worker is told to stop
}

// check asks the target's control question.
func (t *worker) check(ctx context.Context) error { return checked{t.provider}.Check(ctx) }

var errNoWish = errors.New("command has no wish")
