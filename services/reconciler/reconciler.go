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
	"maps"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/reconcile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/target"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
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
	Delete(ctx context.Context, key string, rev uint64) error
	Watch(ctx context.Context, prefix string, fn func(key string, value *reconcile.Run, rev uint64)) error
}

// States tells what stands against a target.
type States interface {
	Get(ctx context.Context, key string) (target.State, uint64, error)
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
	// States of targets: a run of one that is paused or quarantined is skipped.
	// nil means that none ever is.
	States States
	Outbox Outbox
	// Worker names this process; no two at a time have the same.
	Worker    string
	Telemetry *telemetry.Telemetry
}

// Service is the reconciler.
type Service struct {
	Options
	log      *slog.Logger
	mu       sync.Mutex
	targets  map[string]Target
	begun    time.Time
	board    board
	busy     busy
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
	requests := make(chan summary, 64) // a burst of requests; more wait in the bucket
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.watch(ctx, requests) })
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case run := <-requests:
			s.start(ctx, &running, run)
		case <-ticker.C:
			s.schedule(ctx)
			for _, run := range s.board.due(time.Now()) {
				s.start(ctx, &running, run)
			}
		}
	}
}

// watch keeps the board, and passes requests on, until ctx ends. Where the
// watch breaks it begins again.
func (s *Service) watch(ctx context.Context, requests chan<- summary) {
	for {
		err := s.Runs.Watch(ctx, "", func(key string, run *reconcile.Run, rev uint64) {
			if news, requested := s.board.show(key, run, rev); requested {
				select {
				case requests <- news:
				case <-ctx.Done():
				}
			}
		})
		if ctx.Err() != nil {
			return
		}
		s.log.WarnContext(ctx, "watch of runs broke", "error", err)
		select {
		case <-time.After(tick):
		case <-ctx.Done():
			return
		}
	}
}

// orphaned is how long a request waits for its target to be configured here:
// replicas take over a new configuration one after the other.
const orphaned = 10 * time.Minute

func (s *Service) start(ctx context.Context, running *sync.WaitGroup, run summary) {
	t, ok := s.target(run.target)
	if !ok && time.Since(run.requested) < orphaned || !s.busy.take(run.target) {
		return // the tick looks again
	}
	running.Go(func() {
		defer s.busy.free(run.target)
		if err := s.work(ctx, t, run.key); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "run not worked", "target", run.target, "run", run.key, "error", err)
		}
	})
}

// work claims a run and carries it out.
func (s *Service) work(ctx context.Context, t Target, key string) error {
	run, rev, err := s.claim(ctx, key)
	if err != nil || rev == 0 {
		return err
	}
	ctx, span := s.Telemetry.Tracer.Start(ctx, "reconcile", trace.WithAttributes(
		attribute.String("joinery.target", run.Target), attribute.String("joinery.run", run.ID)))
	defer span.End()
	a := &attempt{service: s, target: t, run: run, key: key, rev: rev, index: reconcile.NewIndex()}
	if err := a.carryOut(ctx); err != nil {
		span.SetStatus(codes.Error, "not finished")
		return err // whoever has it ends it, or it is started again when it is stale
	}
	span.SetAttributes(attribute.String("joinery.state", string(a.run.State)), attribute.Int("joinery.repairs", a.run.Repairs))
	if a.run.State == reconcile.Failed {
		span.SetStatus(codes.Error, a.run.Error)
	}
	if err := a.end(ctx); err != nil {
		return err
	}
	s.prune(ctx, run.Target)
	return nil
}

// claim takes a run for this worker. Revision 0 without an error means that
// there is nothing to take: it is over, or somebody else's.
func (s *Service) claim(ctx context.Context, key string) (reconcile.Run, uint64, error) {
	run, rev, err := s.Runs.Get(ctx, key)
	if err != nil {
		return run, 0, fmt.Errorf("read a run: %w", err)
	}
	now := time.Now().UTC()
	if run.Ended() || (run.State == reconcile.Running && now.Sub(run.UpdatedAt) < stale) {
		return run, 0, nil
	}
	run.State, run.Worker, run.StartedAt, run.UpdatedAt = reconcile.Running, s.Worker, now, now
	run.Counts, run.Findings, run.Truncated, run.Repairs = reconcile.Counts{}, []reconcile.Finding{}, 0, 0
	rev, err = s.Runs.Put(ctx, key, run, rev)
	if errors.Is(err, stream.ErrConflict) {
		return run, 0, nil
	}
	if err != nil {
		return run, 0, fmt.Errorf("claim a run: %w", err)
	}
	return run, rev, nil
}

// closed tells why a target is to be left alone; "" means that it is not.
func (s *Service) closed(ctx context.Context, name string) (string, error) {
	if _, ok := s.target(name); !ok {
		return "the target is not configured", nil
	}
	if s.States == nil {
		return "", nil
	}
	state, err := s.state(ctx, name)
	if err != nil {
		return "", err
	}
	all, err := s.state(ctx, target.Everything)
	if err != nil {
		return "", err
	}
	_, why := state.Under(all).Open()
	return why, nil
}

// state reads what stands against a target.
func (s *Service) state(ctx context.Context, name string) (target.State, error) {
	state, _, err := s.States.Get(ctx, name)
	if err != nil && !errors.Is(err, stream.ErrNotFound) {
		return state, fmt.Errorf("read the state of %s: %w", name, err)
	}
	return state, nil
}

// report is the one wide log line of a run, and its numbers. Only a run that
// saw everything says how many findings there are.
func (s *Service) report(ctx context.Context, run reconcile.Run) {
	took := run.EndedAt.Sub(run.StartedAt)
	s.ended.Add(1, run.Target, string(run.State))
	s.duration.Observe(took.Seconds(), run.Target)
	if run.State == reconcile.Done {
		for _, situation := range reconcile.Situations() {
			s.findings.Set(float64(run.Counts.Situations[situation]), run.Target, string(situation))
		}
	}
	s.log.InfoContext(ctx, "run ended", "target", run.Target, "run", run.ID, "state", string(run.State), "mode", run.Mode,
		"wanted", run.Counts.Wanted, "listed", run.Counts.Listed, "findings", len(run.Findings)+run.Truncated,
		"repairs", run.Repairs, "seconds", took.Seconds(), "error", run.Error)
}

// prune forgets the oldest runs of a target. What is not forgotten now is the
// next time.
func (s *Service) prune(ctx context.Context, name string) {
	for _, old := range s.board.surplus(name) {
		err := s.Runs.Delete(ctx, old.key, old.rev)
		if err != nil && !errors.Is(err, stream.ErrConflict) {
			s.log.WarnContext(ctx, "old run not forgotten", "target", name, "error", err)
			return
		}
	}
}

// schedule requests the runs that are due.
func (s *Service) schedule(ctx context.Context) {
	s.mu.Lock()
	targets := maps.Clone(s.targets)
	s.mu.Unlock()
	for name, t := range targets {
		// The first run of all waits too, but no longer than an hour.
		last := s.board.newest(name)
		if last.IsZero() {
			last = s.begun.Add(-max(t.Every-firstRun, 0))
		}
		if t.Every <= 0 || time.Since(last) < t.Every {
			continue
		}
		err := s.request(ctx, name, t)
		if err != nil && !errors.Is(err, stream.ErrConflict) {
			s.log.WarnContext(ctx, "scheduled run not stored", "target", name, "error", err)
		}
	}
}

// request asks for a scheduled run. Its id is that of the time slot, so that
// replicas agree on one run.
func (s *Service) request(ctx context.Context, name string, t Target) error {
	now := time.Now().UTC()
	run := reconcile.Run{
		ID: "scheduled-" + now.Truncate(t.Every).Format("20060102T150405Z"), Target: name, Mode: modeOr(t.Mode),
		State: reconcile.Requested, RequestedBy: "schedule", RequestedAt: now, Findings: []reconcile.Finding{},
	}
	_, err := s.Runs.Put(ctx, keyOf(run), run, 0)
	return err
}

func keyOf(run reconcile.Run) string { return run.Target + "." + run.ID }

// modeOr is the mode, or report where none is said.
func modeOr(mode string) string {
	if mode == "" {
		return reconcile.Report
	}
	return mode
}

// ErrRequest: a request names no target, or a mode that does not exist.
var ErrRequest = errors.New("want a target, and mode report or remediate")

// Request asks for a run of run.Target in run.Mode (report where none is said),
// and gives its id. Whoever works it finds it in the bucket.
func Request(ctx context.Context, runs Store[reconcile.Run], run reconcile.Run) (string, error) {
	run.Mode = modeOr(run.Mode)
	if run.Target == "" || (run.Mode != reconcile.Report && run.Mode != reconcile.Remediate) {
		return "", fmt.Errorf("request a run: %w", ErrRequest)
	}
	now := time.Now().UTC()
	run.State, run.RequestedAt = reconcile.Requested, now
	run.ID = "run-" + now.Format("20060102T150405") + fmt.Sprintf("-%06d", now.Nanosecond()/1000)
	run.Findings = []reconcile.Finding{}
	if _, err := runs.Put(ctx, keyOf(run), run, 0); err != nil {
		return "", fmt.Errorf("request a run: %w", err)
	}
	return run.ID, nil
}
