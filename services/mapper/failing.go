package mapper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// compute brings the wishes of a record in line with the targets, and notes which
// of them cannot be computed. changed tells whether there is something to store.
func (s *Service) compute(ctx context.Context, rec identity.Record, why reason) (done handled, changed bool, err error) {
	targets := s.Targets()
	moved, problems := targets.plan(ctx, &rec, why)
	if err := storeFailed(problems); err != nil {
		return handled{}, false, err
	}
	failing := map[string]identity.Failing{}
	for _, p := range problems {
		now := identity.Failing{Mapping: targets[p.target].Version, Reason: p.err.Error()}
		now.Filed = rec.Failing[p.target] == identity.Failing{Mapping: now.Mapping, Reason: now.Reason, Filed: true}
		failing[p.target] = now
	}
	done.problems = problems
	for _, target := range slices.Sorted(maps.Keys(rec.Failing)) {
		if _, still := failing[target]; !still {
			done.mended = append(done.mended, target)
		}
	}
	changed = len(moved) > 0 || !maps.Equal(rec.Failing, failing)
	if rec.Failing = failing; len(failing) == 0 {
		rec.Failing = nil
	}
	done.record = rec
	return done, changed, nil
}

// complain puts failed mappings before a person: all, or those that nobody was
// told of. What a person has decided is not asked again by a restart.
func (s *Service) complain(ctx context.Context, done handled, event string, all bool) error {
	var filed []string
	for _, p := range done.problems {
		if !all && done.record.Failing[p.target].Filed {
			continue
		}
		err := s.outbox.DeadLetter(ctx, &joineryv1.DeadLetter{
			Id:    "mapping-" + p.target + "-" + done.record.ID,
			Cause: joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_MAPPING,
			Command: &joineryv1.ProvisioningCommand{
				Id: identity.CommandID(p.target, done.record.ID, done.record.Revision), Target: p.target,
				Identity: done.record.ID, Revision: done.record.Revision, EventId: event,
			},
			Reason: p.err.Error(), At: timestamppb.Now(), TraceId: traceID(ctx), Attempts: 1,
		})
		if err != nil {
			return fmt.Errorf("dead-letter a failed mapping: %w", err)
		}
		filed = append(filed, p.target)
	}
	return s.noteFiled(ctx, done.record, filed)
}

// noteFiled notes that people were told. Where the person changed meanwhile,
// whoever changed it tells them again.
func (s *Service) noteFiled(ctx context.Context, told identity.Record, targets []string) error {
	if len(targets) == 0 {
		return nil
	}
	rec, rev, err := s.identities.Get(ctx, told.ID)
	if err != nil {
		return fmt.Errorf("read an identity: %w", err)
	}
	rec.Failing = maps.Clone(rec.Failing)
	for _, target := range targets {
		f := told.Failing[target]
		if f.Filed = false; rec.Failing[target] == f {
			f.Filed = true
			rec.Failing[target] = f
		}
	}
	if _, err := s.identities.Put(ctx, told.ID, rec, rev); err != nil && !errors.Is(err, stream.ErrConflict) {
		return fmt.Errorf("store an identity: %w", err)
	}
	return nil
}

// account tells of what no event asked for: which mappings fail newly, and which
// do so no more.
func (s *Service) account(ctx context.Context, done handled, event string) error {
	if err := s.complain(ctx, done, event, false); err != nil || len(done.mended) == 0 {
		return err
	}
	o := s.outcome(ctx, &joineryv1.LifecycleEvent{Id: event}, done)
	o.Id += ":" + done.record.ID // one event is about many people
	if err := s.outbox.Outcome(ctx, o); err != nil {
		return fmt.Errorf("record what came right: %w", err)
	}
	return nil
}
