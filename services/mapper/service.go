package mapper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// closeTimeout is how long events in hand may take to end at a shutdown.
const closeTimeout = 30 * time.Second

// Concurrency is how many persons are worked on at a time; events of one
// person are handled one by one, in the order they were accepted.
const Concurrency = 512

// Run handles the events that the subscriber brings until ctx ends, then
// finishes those in hand.
func (s *Service) Run(ctx context.Context, lifecycle message.Subscriber) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, telemetry.Watermill(s.log))
	if err != nil {
		return fmt.Errorf("make a router: %w", err)
	}
	router.AddMiddleware(middleware.Recoverer)
	router.AddConsumerHandler("mapper", "lifecycle", lifecycle, s.receive)
	return router.Run(ctx)
}

// receive settles one message: nil acknowledges it.
func (s *Service) receive(msg *message.Message) error {
	var e joineryv1.LifecycleEvent
	ctx, err := wire.Decode(msg, &e)
	if err != nil {
		return s.poison(ctx, msg, &e, err)
	}
	err = s.Handle(ctx, &e)
	if fault.Is(err, fault.Permanent) {
		return s.poison(ctx, msg, &e, err)
	}
	if err != nil {
		s.log.WarnContext(ctx, "event comes again", "event", e.GetId(), "error", err)
		stream.RetryAfter(msg, backoff(stream.DeliveryOf(msg).Deliveries))
	}
	return err
}

// backoff is the pause before an event comes again: what fails here is the
// broker, so it is short and capped.
func backoff(deliveries uint64) time.Duration {
	return min(time.Second<<min(deliveries, 6), time.Minute)
}

// poison puts an event that can never be handled before a person, and records
// its end.
func (s *Service) poison(ctx context.Context, msg *message.Message, e *joineryv1.LifecycleEvent, why error) error {
	d := &joineryv1.DeadLetter{
		Id: "poison-" + msg.UUID, Cause: joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_POISON, Event: e,
		Payload: msg.Payload, Reason: why.Error(), Attempts: 1, At: timestamppb.Now(), TraceId: traceID(ctx),
	}
	if err := s.outbox.DeadLetter(ctx, d); err != nil {
		return fmt.Errorf("dead-letter an event: %w", err)
	}
	err := s.outbox.Outcome(ctx, &joineryv1.Outcome{
		Id: "mapper:" + msg.UUID, Stage: joineryv1.Stage_STAGE_MAPPER, Result: joineryv1.Result_RESULT_DEAD_LETTERED,
		EventId: msg.UUID, Identity: poisonIdentity(msg), Reason: why.Error(), CaseId: d.GetId(),
		TraceId: traceID(ctx), ReceivedAt: e.GetReceivedAt(), At: timestamppb.Now(), Attempts: 1,
	})
	if err != nil {
		return fmt.Errorf("record the outcome of a poison event: %w", err)
	}
	s.log.ErrorContext(ctx, "event dead-lettered", "event", msg.UUID, "error", why)
	return nil
}

// poisonIdentity is the identity token of the subject, where the payload
// cannot be trusted.
func poisonIdentity(msg *message.Message) string {
	return stream.Token(stream.DeliveryOf(msg).Subject, 3)
}

// Recompute puts targets in force and brings every stored wish in line with
// them. What changes is issued in the bulk lane under the event id; it returns
// how many people were affected. It can be run again after a failure.
func (s *Service) Recompute(ctx context.Context, targets Targets, event string) (affected int, err error) {
	s.targets.Store(&targets)
	if err := s.recomputeGroups(ctx, event); err != nil {
		return 0, err
	}
	keys, err := s.identities.Keys(ctx, "")
	if err != nil {
		return 0, fmt.Errorf("list identities: %w", err)
	}
	for _, key := range keys {
		changed, err := s.recomputeOne(ctx, key, event)
		if err != nil {
			return affected, err
		}
		if changed {
			affected++
		}
	}
	s.log.InfoContext(ctx, "wishes recomputed", "event", event, "identities", len(keys), "affected", affected)
	return affected, nil
}

func (s *Service) recomputeOne(ctx context.Context, key, event string) (bool, error) {
	for range maxConflicts {
		rec, rev, err := s.identities.Get(ctx, key)
		if errors.Is(err, stream.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read an identity: %w", err)
		}
		if rec.Is != "" {
			return false, nil
		}
		s.heed(&rec)
		rec.Revision++
		now := time.Now().UTC()
		lookAt(&rec, now)
		done, changed, err := s.compute(ctx, rec, reason{
			event: event, cause: joineryv1.Cause_CAUSE_CONFIGURATION, bulk: true, now: now,
		})
		if err != nil {
			return false, err
		}
		if changed {
			done.record.UpdatedAt = now
			_, err = s.identities.Put(ctx, key, done.record, rev)
			if errors.Is(err, stream.ErrConflict) {
				continue
			}
			if err != nil {
				return false, fmt.Errorf("store an identity: %w", err)
			}
		}
		if err := s.issue(ctx, &done, event); err != nil {
			return false, err
		}
		if err := s.arm(ctx, &done.record); err != nil {
			return false, err
		}
		return changed, s.account(ctx, done, event)
	}
	return false, fmt.Errorf("store an identity: %w", stream.ErrConflict)
}
