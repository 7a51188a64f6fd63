package mapper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/joinery/joinery/pkg/crash"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// What is due later needs no timer of ours: the broker wakes the mapper for a
// person at the next moment at which something changes, and the mapper looks at
// the person as of now. A wake-up that comes late, twice, early or in vain
// changes nothing that is right.
//
//	when                            what is scheduled
//	an event was folded             the next moment of the person, if there is one
//	a wake-up was handled           the next moment after it
//	a configuration was put in force  the next moment of everybody
//
// The moment is stored with the broker before the message in hand is acknowledged,
// so that a crash in between brings the message again.

// latenessOf counts how late scheduled changes are acted on.
func latenessOf(m *telemetry.Metrics) *telemetry.Histogram {
	return m.Histogram("joinery_mapper_scheduled_late_seconds",
		"Seconds from the moment at which something scheduled was due to its commands being stored.",
		[]float64{0.1, 0.25, 0.5, 1, 1.5, 2, 5, 10, 60, 600})
}

// lookAt makes the moment as of which the person is looked at the one given.
// It never goes back: clocks of replicas differ.
func lookAt(rec *identity.Record, now time.Time) {
	if now.After(rec.AsOf) {
		rec.AsOf = now
	}
}

// arm has the broker wake us at the person's next moment.
func (s *Service) arm(ctx context.Context, rec *identity.Record) error {
	next := rec.ScheduledAfter(rec.AsOf)
	if len(next) == 0 {
		return nil
	}
	if err := s.outbox.Wake(ctx, rec.ID, next[0].At); err != nil {
		return fmt.Errorf("schedule a wake-up: %w", err)
	}
	return nil
}

// Diary tells who is due when a wake-up comes; done forgets them.
type Diary interface {
	Due(ctx context.Context, w wire.WakeUp) (ids []string, done func(context.Context) error, err error)
}

const (
	// WakeConcurrency is how many wake-ups are worked on at a time, and atOnce how
	// many people of each: thousands can be due in one second.
	WakeConcurrency = 16
	atOnce          = 64
)

// RunWakes handles the wake-ups that the subscriber brings until ctx ends, then
// finishes those in hand.
func (s *Service) RunWakes(ctx context.Context, wakes message.Subscriber, diary Diary) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, telemetry.Watermill(s.log))
	if err != nil {
		return fmt.Errorf("make a router: %w", err)
	}
	router.AddMiddleware(middleware.Recoverer)
	router.AddConsumerHandler("mapper-wakes", "wakes", wakes, func(msg *message.Message) error {
		return s.receiveWake(msg, diary)
	})
	return router.Run(ctx)
}

// receiveWake settles one wake-up: nil acknowledges it.
func (s *Service) receiveWake(msg *message.Message, diary Diary) error {
	ctx, w, err := wire.DecodeWake(msg)
	if err != nil {
		// Keeping it helps nobody: whoever is due is planned anew at the next start.
		s.log.ErrorContext(ctx, "wake-up cannot be read", "message", msg.UUID, "error", err)
		return nil
	}
	if early := time.Until(w.Due); early > 0 {
		stream.RetryAfter(msg, early)
		return fmt.Errorf("the broker's clock is %s ahead", early)
	}
	if err := s.wakeAll(ctx, w, diary); err != nil {
		s.log.WarnContext(ctx, "wake-up comes again", "due", w.Due, "error", err)
		stream.RetryAfter(msg, backoff(stream.DeliveryOf(msg).Deliveries))
		return err
	}
	return nil
}

// wakeAll wakes everybody who is due. One who fails does not keep the others.
func (s *Service) wakeAll(ctx context.Context, w wire.WakeUp, diary Diary) error {
	ids, done, err := diary.Due(ctx, w)
	if err != nil {
		return err
	}
	failures := make([]error, len(ids))
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, id := range ids {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			failures[i] = s.Wake(ctx, id, w.Due)
		})
	}
	all.Wait()
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("wake %d people: %w", len(ids), err)
	}
	return done(ctx)
}

// Wake looks at a person again because something was due at the moment given, and
// issues what changed. It may be called at any time, any number of times.
func (s *Service) Wake(ctx context.Context, id string, due time.Time) error {
	ctx, span := s.tracer.Start(ctx, "wake person")
	defer span.End()
	done, event, err := s.wake(ctx, id, due)
	if err != nil {
		span.RecordError(err)
		return err
	}
	if done.record.ID == "" {
		return nil // nobody of that id
	}
	late := time.Since(due)
	s.lateness.Observe(late.Seconds())
	s.log.InfoContext(ctx, "person woken", "identity", id, "event", event, "due", due, "late", late,
		"revision", done.record.Revision, "commands", done.commands, "problems", len(done.problems))
	return nil
}

func (s *Service) wake(ctx context.Context, id string, due time.Time) (handled, string, error) {
	done, event, err := s.storeWoken(ctx, id, due)
	if err != nil || done.record.ID == "" {
		return done, event, err
	}
	crash.At(ctx, crash.MapperStored)
	if err := s.issue(ctx, &done, event); err != nil {
		return done, event, err
	}
	if err := s.account(ctx, done, event); err != nil {
		return done, event, err
	}
	return done, event, s.arm(ctx, &done.record)
}

// storeWoken looks at the stored person as of now, by compare-and-swap.
func (s *Service) storeWoken(ctx context.Context, id string, due time.Time) (handled, string, error) {
	for range maxConflicts {
		rec, rev, err := s.identities.Get(ctx, id)
		if errors.Is(err, stream.ErrNotFound) {
			return handled{}, "", nil
		}
		if err != nil {
			return handled{}, "", fmt.Errorf("read an identity: %w", err)
		}
		if rec.Is != "" {
			return handled{}, "", nil
		}
		now := time.Now().UTC()
		why := because(&rec, due, now)
		news := len(rec.ScheduledAfter(rec.AsOf)) > 0 && !rec.ScheduledAfter(rec.AsOf)[0].At.After(now)
		lookAt(&rec, now)
		s.heed(&rec)
		rec.Revision++
		done, changed, err := s.compute(ctx, rec, why)
		if err != nil {
			return handled{}, "", err
		}
		if !news && !changed {
			done.record.Revision--
			return done, why.event, nil
		}
		done.record.UpdatedAt = now
		_, err = s.identities.Put(ctx, id, done.record, rev)
		if err == nil {
			return done, why.event, nil
		}
		if !errors.Is(err, stream.ErrConflict) {
			return handled{}, "", fmt.Errorf("store an identity: %w", err)
		}
	}
	return handled{}, "", fmt.Errorf("store an identity: %w", stream.ErrConflict)
}

// because is why a wake-up acts: the last fact that was due at its moment.
func because(rec *identity.Record, due, now time.Time) reason {
	why := reason{
		event: fmt.Sprintf("%s%d", identity.DuePrefix, due.Unix()), cause: joineryv1.Cause_CAUSE_EVENT, now: now,
	}
	for _, fact := range rec.ScheduledAfter(due.Add(-time.Second)) {
		if !fact.At.After(due) {
			why.event, why.source, why.trigger = identity.DuePrefix+fact.Event, fact.Source, fact.Mandate.Trigger()
		}
	}
	return why
}
