// Package reconciler owns the truth about targets: it pages each one, compares
// what it shows with what is wished, reports, and sends repairs down the bulk
// lane. It changes nothing in a target itself.
package reconciler

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/reconcile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Store is a bucket of records under compare-and-swap.
type Store[T any] interface {
	Get(ctx context.Context, key string) (T, uint64, error)
	Put(ctx context.Context, key string, value T, rev uint64) (uint64, error)
	Keys(ctx context.Context, prefix string) ([]string, error)
}

// Runs is the bucket of runs, which is also the queue of requests.
type Runs interface {
	Store[reconcile.Run]
	Watch(ctx context.Context, prefix string, fn func(key string, value *reconcile.Run, rev uint64)) error
}

// Lister reads all resources of a target; what cannot be read to its end ends
// in an error.
type Lister interface {
	List(ctx context.Context, kind scim.Kind) iter.Seq2[scim.Resource, error]
}

// Outbox publishes repairs.
type Outbox interface {
	Command(ctx context.Context, c *joineryv1.ProvisioningCommand) error
}

// Target is one target as configured.
type Target struct {
	Lister Lister
	// Every is the time between scheduled runs; 0 schedules none.
	Every time.Duration
	// Mode of scheduled runs: report or remediate.
	Mode string
}

// Options are what the service works with.
type Options struct {
	Runs       Runs
	Identities Store[identity.Record]
	Accounts   Store[identity.Account]
	Outbox     Outbox
	Worker     string
	Telemetry  *telemetry.Telemetry
}

// Service is the reconciler.
type Service struct {
	Options
	log      *slog.Logger
	mu       sync.Mutex
	targets  map[string]Target
	begun    time.Time
	ended    *telemetry.Counter
	findings *telemetry.Gauge
	duration *telemetry.Histogram
}

// stale is how long a running run may go without a sign of life before another
// worker starts it again.
const stale = time.Minute

// tick is how often schedules and stale runs are looked at.
const tick = 15 * time.Second

// firstRun is the longest that a target waits for its first scheduled run.
const firstRun = time.Hour

// New makes a reconciler that has no targets yet.
func New(o Options) *Service {
	m := o.Telemetry.Metrics
	return &Service{
		Options: o, log: o.Telemetry.Log, begun: time.Now(),
		ended:    m.Counter("joinery_reconciler_runs_total", "Reconciliation runs ended, by target and state.", "target", "state"),
		findings: m.Gauge("joinery_reconciler_findings", "Accounts by situation in the newest run, by target.", "target", "situation"),
		duration: m.Histogram("joinery_reconciler_run_seconds", "Seconds a run took, by target.", nil, "target"),
	}
}

// Configure puts targets in force.
func (s *Service) Configure(targets map[string]Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets = targets
}

func (s *Service) target(name string) (Target, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.targets[name]
	return t, ok
}

// Run works requests and schedules until ctx ends. Each target has one run at a
// time; targets do not wait for each other.
func (s *Service) Run(ctx context.Context) error {
	requests := make(chan reconcile.Run, 64)
	var running sync.WaitGroup
	defer running.Wait()
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan error, 1)
	go func() {
		watched <- s.Runs.Watch(watching, "", func(_ string, run *reconcile.Run, _ uint64) {
			if run != nil && run.State == reconcile.Requested {
				select {
				case requests <- *run:
				case <-watching.Done():
				}
			}
		})
	}()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	busy := &busy{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-watched:
			return err
		case run := <-requests:
			s.start(ctx, &running, busy, run)
		case <-ticker.C:
			for _, run := range s.due(ctx) {
				s.start(ctx, &running, busy, run)
			}
		}
	}
}

// busy is the set of targets with a run at work in this process.
type busy struct {
	mu   sync.Mutex
	held map[string]bool
}

func (b *busy) take(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[name] {
		return false
	}
	if b.held == nil {
		b.held = map[string]bool{}
	}
	b.held[name] = true
	return true
}

func (b *busy) free(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.held, name)
}

func (s *Service) start(ctx context.Context, running *sync.WaitGroup, busy *busy, run reconcile.Run) {
	t, ok := s.target(run.Target)
	if !ok || !busy.take(run.Target) {
		return // the tick looks again
	}
	running.Go(func() {
		defer busy.free(run.Target)
		if err := s.work(ctx, t, run.Target+"."+run.ID); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "run not worked", "target", run.Target, "run", run.ID, "error", err)
		}
	})
}

// work claims a run and carries it out.
func (s *Service) work(ctx context.Context, t Target, key string) error {
	run, rev, err := s.Runs.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("read a run: %w", err)
	}
	if run.Ended() || (run.State == reconcile.Running && time.Since(run.UpdatedAt) < stale) {
		return nil
	}
	now := time.Now().UTC()
	run.State, run.Worker, run.StartedAt, run.UpdatedAt = reconcile.Running, s.Worker, now, now
	run.Findings, run.Truncated, run.Repairs = []reconcile.Finding{}, 0, 0
	if rev, err = s.Runs.Put(ctx, key, run, rev); err != nil {
		if errors.Is(err, stream.ErrConflict) {
			return nil // somebody else claimed it
		}
		return fmt.Errorf("claim a run: %w", err)
	}
	ctx, span := s.Telemetry.Tracer.Start(ctx, "reconcile", trace.WithAttributes(
		attribute.String("joinery.target", run.Target), attribute.String("joinery.run", run.ID)))
	defer span.End()
	a := &attempt{service: s, target: t, run: run, key: key, rev: rev, index: reconcile.NewIndex()}
	if err := a.compare(ctx); err != nil {
		if ctx.Err() != nil {
			return err // unfinished: it is started again when it is stale
		}
		a.run.State, a.run.Error = reconcile.Failed, err.Error()
	}
	return a.end(ctx)
}

// due gives the runs that should start now: requested ones that waited for
// their target, stale ones, and those that the schedule asks for.
func (s *Service) due(ctx context.Context) []reconcile.Run {
	keys, err := s.Runs.Keys(ctx, "")
	if err != nil {
		s.log.WarnContext(ctx, "runs not listed", "error", err)
		return nil
	}
	var out []reconcile.Run
	newest := map[string]time.Time{}
	for _, key := range keys {
		run, _, err := s.Runs.Get(ctx, key)
		if err != nil {
			continue
		}
		if run.RequestedAt.After(newest[run.Target]) {
			newest[run.Target] = run.RequestedAt
		}
		if run.State == reconcile.Requested || (run.State == reconcile.Running && time.Since(run.UpdatedAt) >= stale) {
			out = append(out, run)
		}
	}
	return append(out, s.scheduled(ctx, newest)...)
}

func (s *Service) scheduled(ctx context.Context, newest map[string]time.Time) []reconcile.Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []reconcile.Run
	for name, t := range s.targets {
		// The first run of all waits too, but no longer than an hour.
		last := newest[name]
		if last.IsZero() {
			last = s.begun.Add(-max(t.Every-firstRun, 0))
		}
		if t.Every <= 0 || time.Since(last) < t.Every {
			continue
		}
		// The id is that of the time slot, so that replicas agree on one run.
		id := "scheduled-" + time.Now().UTC().Truncate(t.Every).Format("20060102T150405Z")
		run := reconcile.Run{
			ID: id, Target: name, Mode: t.Mode, State: reconcile.Requested, RequestedBy: "schedule",
			RequestedAt: time.Now().UTC(), Findings: []reconcile.Finding{},
		}
		_, err := s.Runs.Put(ctx, name+"."+id, run, 0)
		if err == nil {
			out = append(out, run)
		} else if !errors.Is(err, stream.ErrConflict) {
			s.log.WarnContext(ctx, "scheduled run not stored", "target", name, "error", err)
		}
	}
	return out
}

// Request asks for a run, and gives its id.
func Request(ctx context.Context, runs Store[reconcile.Run], run reconcile.Run) (string, error) {
	now := time.Now().UTC()
	run.State, run.RequestedAt = reconcile.Requested, now
	run.ID = "run-" + now.Format("20060102T150405") + fmt.Sprintf("-%06d", now.Nanosecond()/1000)
	run.Findings = []reconcile.Finding{}
	if run.Mode == "" {
		run.Mode = reconcile.Report
	}
	if _, err := runs.Put(ctx, run.Target+"."+run.ID, run, 0); err != nil {
		return "", fmt.Errorf("request a run: %w", err)
	}
	return run.ID, nil
}
