// Package mapper owns the person: it folds lifecycle events into identities,
// works out what every target should show for them, and issues one command for
// each (target, identity) whose wish changed. It knows nothing of SCIM servers,
// rates or retries against targets.
package mapper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/joinery/joinery/pkg/crash"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Identities is the bucket of persons. Put succeeds only where rev is still the
// stored revision (0: not there yet), else it fails with stream.ErrConflict.
type Identities interface {
	Get(ctx context.Context, key string) (identity.Record, uint64, error)
	Put(ctx context.Context, key string, rec identity.Record, rev uint64) (uint64, error)
	Keys(ctx context.Context, prefix string) ([]string, error)
}

// Outbox publishes what the mapper decides. A call returns when the broker has
// stored the message; repeats of one id are stored once.
type Outbox interface {
	Command(ctx context.Context, c *joineryv1.ProvisioningCommand) error
	Outcome(ctx context.Context, o *joineryv1.Outcome) error
	DeadLetter(ctx context.Context, d *joineryv1.DeadLetter) error
	// Wake has Wake called for the person at the moment given, or soon after.
	Wake(ctx context.Context, id string, at time.Time) error
}

// maxConflicts bounds how often one event is folded again because another
// replica wrote the same person in between.
const maxConflicts = 10

// Service is the mapper.
type Service struct {
	identities Identities
	groups     Groups
	members    Members
	outbox     Outbox
	targets    atomic.Pointer[Targets]
	sources    atomic.Pointer[Sources]
	log        *slog.Logger
	tracer     trace.Tracer
	events     *telemetry.Counter
	commands   *telemetry.Counter
	latency    *telemetry.Histogram
	lateness   *telemetry.Histogram
	scheduled  *telemetry.Gauge
}

// New makes a mapper for the targets in force.
func New(identities Identities, outbox Outbox, targets Targets, tel *telemetry.Telemetry) *Service {
	s := &Service{
		identities: identities, outbox: outbox, log: tel.Log, tracer: tel.Tracer,
		events: tel.Metrics.Counter("joinery_mapper_events_total",
			"Lifecycle events folded, by source, kind and effect.", "source", "kind", "effect"),
		commands: tel.Metrics.Counter("joinery_mapper_commands_total",
			"Commands issued, by target, lane and wish.", "target", "lane", "wish"),
		latency: tel.Metrics.Histogram("joinery_mapper_event_seconds",
			"Seconds from an event's acceptance to its commands being stored.", nil, "source"),
		lateness:  latenessOf(tel.Metrics),
		scheduled: tel.Metrics.Gauge("joinery_mapper_scheduled", "Wake-ups that are to come."),
	}
	s.targets.Store(&targets)
	s.sources.Store(&Sources{})
	return s
}

// Handle folds one event and issues its commands. It may be called any number
// of times with the same event. An error marked fault.Permanent means that the
// event can never be handled.
func (s *Service) Handle(ctx context.Context, e *joineryv1.LifecycleEvent) error {
	ctx, span := s.tracer.Start(ctx, "map event", trace.WithAttributes(
		attribute.String("joinery.event", e.GetId()),
		attribute.String("joinery.source", e.GetSource()),
		attribute.String("joinery.kind", identity.KindName(e.GetKind())),
	))
	defer span.End()
	done, err := s.handle(ctx, e)
	if err != nil {
		span.RecordError(err)
		return err
	}
	s.report(ctx, e, done)
	return nil
}

// handled is what became of an event.
type handled struct {
	record   identity.Record
	effect   identity.Effect
	commands []string // targets
	problems []problem
	mended   []string // targets
}

func (s *Service) handle(ctx context.Context, e *joineryv1.LifecycleEvent) (handled, error) {
	crash.At(ctx, crash.MapperFetched)
	if identity.AboutGroup(e.GetKind()) {
		done, err := s.handleGroup(ctx, e)
		if err != nil {
			return done, err
		}
		return done, s.conclude(ctx, e, done)
	}
	named := identity.IDOf(e.GetIdentityKey())
	e, err := s.correlate(ctx, e)
	if err != nil {
		return handled{}, err
	}
	e, done, err := s.storeRekeyed(ctx, e)
	if err != nil {
		return done, err
	}
	if err := s.index(ctx, e); err != nil {
		return done, err
	}
	crash.At(ctx, crash.MapperStored)
	if err := s.issue(ctx, &done, e.GetId()); err != nil {
		return done, err
	}
	if err := s.complain(ctx, done, e.GetId(), true); err != nil {
		return done, err
	}
	if err := s.arm(ctx, &done.record); err != nil {
		return done, err
	}
	if err := s.answer(ctx, named, s.outcome(ctx, e, done)); err != nil {
		return done, err
	}
	return done, s.conclude(ctx, e, done)
}

// conclude records the one outcome of an event.
func (s *Service) conclude(ctx context.Context, e *joineryv1.LifecycleEvent, done handled) error {
	if err := s.outbox.Outcome(ctx, s.outcome(ctx, e, done)); err != nil {
		return fmt.Errorf("record the outcome of an event: %w", err)
	}
	crash.At(ctx, crash.MapperCompleted)
	return nil
}

// store folds the event into the stored person by compare-and-swap.
func (s *Service) store(ctx context.Context, e *joineryv1.LifecycleEvent) (handled, error) {
	key := identity.IDOf(e.GetIdentityKey())
	for range maxConflicts {
		rec, rev, err := s.identities.Get(ctx, key)
		if err != nil && !errors.Is(err, stream.ErrNotFound) {
			return handled{}, fmt.Errorf("read an identity: %w", err)
		}
		if rec.Is != "" {
			return handled{}, errRekeyed
		}
		done, err := s.fold(ctx, rec, e)
		if err != nil {
			return handled{}, err
		}
		if done.record.Revision == rec.Revision {
			return done, nil
		}
		_, err = s.identities.Put(ctx, key, done.record, rev)
		if err == nil {
			return done, nil
		}
		if !errors.Is(err, stream.ErrConflict) {
			return handled{}, fmt.Errorf("store an identity: %w", err)
		}
	}
	return handled{}, fmt.Errorf("store an identity: %w", stream.ErrConflict)
}

// fold computes the person after the event. The revision grows only where
// there is something to store.
func (s *Service) fold(ctx context.Context, rec identity.Record, e *joineryv1.LifecycleEvent) (handled, error) {
	before := rec.Revision
	effect, err := rec.Fold(e)
	if err != nil {
		return handled{}, fault.Mark(fault.Permanent, fmt.Errorf("fold an event: %w", err))
	}
	s.heed(&rec)
	known := slices.ContainsFunc(rec.Events, func(f identity.Fact) bool { return f.Event == e.GetId() })
	rec.Revision = before + 1
	now := time.Now().UTC()
	lookAt(&rec, now)
	done, changed, err := s.compute(ctx, rec, reason{
		event: e.GetId(), source: e.GetSource(), cause: joineryv1.Cause_CAUSE_EVENT,
		trigger: e.GetTrigger(), urgent: e.GetUrgent(), now: now,
	})
	if err != nil {
		return handled{}, err
	}
	done.effect = effect
	if effect != identity.Applied && !changed && known {
		done.record.Revision = before
	} else {
		done.record.UpdatedAt = now
		done.record.Remember(e, effect)
	}
	return done, nil
}

// issue publishes the command of every wish that this event made: also when the
// event comes a second time, because the first time may have ended in between.
func (s *Service) issue(ctx context.Context, done *handled, event string) error {
	for _, target := range slices.Sorted(maps.Keys(done.record.Wishes)) {
		if done.record.Wishes[target].Event != event {
			continue
		}
		if err := s.send(ctx, &done.record, target); err != nil {
			return err
		}
		crash.At(ctx, crash.MapperIssued)
		done.commands = append(done.commands, target)
	}
	return s.gather(ctx, &done.record, event)
}

func (s *Service) send(ctx context.Context, rec *identity.Record, target string) error {
	c, err := rec.Command(target, time.Now())
	if err != nil {
		return fmt.Errorf("build a command: %w", err)
	}
	if err := s.outbox.Command(ctx, c); err != nil {
		return fmt.Errorf("issue a command for %s: %w", target, err)
	}
	s.commands.Add(1, target, identity.LaneName(c.GetLane()), rec.Wishes[target].Wish)
	return nil
}

func (s *Service) outcome(ctx context.Context, e *joineryv1.LifecycleEvent, done handled) *joineryv1.Outcome {
	result := joineryv1.Result_RESULT_NO_CHANGE
	switch {
	case len(done.problems) > 0:
		result = joineryv1.Result_RESULT_DEAD_LETTERED
	case done.effect == identity.Applied || len(done.commands) > 0:
		result = joineryv1.Result_RESULT_APPLIED
	case done.effect == identity.Superseded:
		result = joineryv1.Result_RESULT_SUPERSEDED
	}
	o := &joineryv1.Outcome{
		Id: "mapper:" + e.GetId(), Stage: joineryv1.Stage_STAGE_MAPPER, Result: result,
		EventId: e.GetId(), Identity: done.record.ID, Revision: done.record.Revision,
		TraceId: traceID(ctx), ReceivedAt: e.GetReceivedAt(), At: timestamppb.Now(), Attempts: 1, Mended: done.mended,
	}
	for _, target := range done.commands {
		o.Commands = append(o.Commands, target+":"+identity.LaneName(done.record.Wishes[target].Lane))
	}
	return o
}

// report is the one wide log line of an event.
func (s *Service) report(ctx context.Context, e *joineryv1.LifecycleEvent, done handled) {
	kind := identity.KindName(e.GetKind())
	s.events.Add(1, e.GetSource(), kind, done.effect.String())
	if e.GetReceivedAt() != nil {
		s.latency.Observe(time.Since(e.GetReceivedAt().AsTime()).Seconds(), e.GetSource())
	}
	s.log.InfoContext(ctx, "event mapped",
		"event", e.GetId(), "source", e.GetSource(), "kind", kind, "identity", done.record.ID,
		"revision", done.record.Revision, "effect", done.effect.String(),
		"commands", done.commands, "problems", len(done.problems))
}

// Targets is the configuration in force.
func (s *Service) Targets() Targets { return *s.targets.Load() }

// traceID is the hex trace id of the context, or "".
func traceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}
