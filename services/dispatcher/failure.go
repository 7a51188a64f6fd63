package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/joinery/joinery/pkg/crash"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// whileDown is the pause of a command whose target is not open; nothing is fetched
// meanwhile, so it costs nothing to look again soon.
const whileDown = 10 * time.Second

// failed decides, in one place, what a failure means for the command:
//
//	kind          attempts  what happens
//	throttled     kept      the whole target pauses; the command comes again
//	target down   kept      quarantine, once a control request says so too
//	waiting       kept      the command comes again
//	held          -         one of a batch before a person
//	permanent     -         a case at once
//	conflict      -         a case at once ("stranger", "ambiguous")
//	unsupported   -         a case at once
//	changed       kept      (already tried again from a fresh read)
//	transient,    counted,  backoff; a case after too many; not counted while
//	unknown       mostly    the target counts as down
//	(broker)      kept      the command comes again: it says nothing of the target
func (p *pursuit) failed(ctx context.Context, err error, before uint64) error {
	if ctx.Err() != nil {
		return err // shutting down: what is stored is enough to go on from
	}
	if errors.Is(err, stream.ErrUnavailable) {
		return p.withoutBroker(ctx, err)
	}
	kind := fault.KindOf(err)
	p.metrics.failures.Add(1, p.name, kind.String())
	if errors.Is(err, stream.ErrConflict) {
		return err // overtaken: the next delivery reads what the other did
	}
	if open := p.account.Intent; open != nil && open.Operation != opCreate && kind != fault.Unknown && kind != fault.Transient {
		p.account.Intent = nil // an answer came: nothing is unresolved
	}
	switch kind {
	case fault.Throttled:
		return p.throttled(ctx, err)
	case fault.TargetDown:
		return p.refused(ctx, err, before)
	case fault.Permanent, fault.Conflict, fault.Unsupported:
		return p.giveUp(ctx, err, causeOf(err), before)
	case fault.Held:
		return p.hold(ctx, err, before)
	case fault.Waiting, fault.Changed:
		return p.later(ctx, err, p.settings.Backoff)
	default:
		return p.backOff(ctx, err, before)
	}
}

// withoutBroker has the command come again: what is stored says what was begun, and
// nothing more can be stored now.
func (p *pursuit) withoutBroker(ctx context.Context, err error) error {
	p.metrics.failures.Add(1, p.name, "broker")
	p.log.WarnContext(ctx, "command comes again: the broker did not answer",
		"target", p.name, "identity", p.cmd.GetIdentity(), "event", p.cmd.GetEventId(), "error", err.Error())
	return fault.Retry(p.jitter(p.settings.Backoff), err)
}

func causeOf(err error) joineryv1.DeadLetterCause {
	switch {
	case errors.Is(err, ErrStranger):
		return joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_STRANGER
	case errors.Is(err, ErrProtected):
		return joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_PROTECTED
	case errors.Is(err, ErrAmbiguous):
		return joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_AMBIGUOUS
	default:
		return joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_REFUSED
	}
}

// throttled makes every replica pause.
func (p *pursuit) throttled(ctx context.Context, err error) error {
	pause := fault.Pause(err)
	if pause <= 0 {
		pause = p.settings.Throttle
	}
	if hold := p.pauser.Hold(ctx, p.name, pause); hold != nil {
		p.log.WarnContext(ctx, "pause not shared with the other replicas", "target", p.name, "error", hold)
	}
	return p.later(ctx, err, pause)
}

// refused tells a target that refuses everything from one that refuses this
// account, by a control request.
func (p *pursuit) refused(ctx context.Context, err error, before uint64) error {
	control := p.scim.Check(ctx)
	switch {
	case control == nil:
		return p.giveUp(ctx, err, joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_REFUSED, before)
	case fault.Is(control, fault.TargetDown):
		p.quarantine(ctx, control)
	}
	return p.later(ctx, err, whileDown)
}

// backOff counts the attempt, unless the target as a whole is down, and sends
// the command away for a while.
func (p *pursuit) backOff(ctx context.Context, err error, before uint64) error {
	if fault.Pause(err) > 0 {
		return p.later(ctx, err, fault.Pause(err))
	}
	if p.down() {
		return p.later(ctx, err, p.jitter(whileDown))
	}
	if p.account.FirstFailure.IsZero() {
		p.account.FirstFailure = time.Now().UTC()
	}
	p.account.Attempts++
	if p.account.Attempts >= p.settings.Attempts {
		return p.giveUp(ctx, err, joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_EXHAUSTED, before)
	}
	pause := min(p.settings.Backoff<<min(p.account.Attempts-1, 20), p.settings.BackoffCap)
	return p.later(ctx, err, p.jitter(pause))
}

// later stores what was learned and asks for the command again after the pause.
func (p *pursuit) later(ctx context.Context, err error, pause time.Duration) error {
	p.account.LastFailure = fault.KindOf(err).String()
	if p.account.Intent != nil {
		p.account.Intent.Worker = "" // nothing of ours is under way any more
	}
	if saved := p.save(ctx); saved != nil && !errors.Is(saved, stream.ErrConflict) {
		p.log.WarnContext(ctx, "failed attempt not stored", "target", p.name, "error", saved)
	}
	p.log.InfoContext(ctx, "command comes again",
		"target", p.name, "identity", p.cmd.GetIdentity(), "event", p.cmd.GetEventId(),
		"kind", fault.KindOf(err).String(), "attempts", p.account.Attempts, "pause", pause.String(), "error", err.Error())
	return fault.Retry(pause, err)
}

// giveUp puts the command before a person: the dead letter is stored before the
// command counts as ended.
func (p *pursuit) giveUp(ctx context.Context, err error, cause joineryv1.DeadLetterCause, before uint64) error {
	d := p.deadLetter(ctx, err, cause)
	if err := p.outbox.DeadLetter(ctx, d); err != nil {
		return fmt.Errorf("dead-letter a command: %w", err)
	}
	crash.At(ctx, crash.DispatcherLetter)
	o := p.outcome(ctx)
	o.Result, o.CaseId, o.Reason = joineryv1.Result_RESULT_DEAD_LETTERED, d.GetId(), d.GetReason()
	o.Status, o.ScimType = d.GetStatus(), d.GetScimType()
	p.account.Case = d.GetId()
	// What comes next begins with all its attempts.
	p.account.Attempts, p.account.FirstFailure, p.account.LastFailure = 0, time.Time{}, ""
	if err := p.finish(ctx, o); err != nil {
		return err
	}
	return p.record(ctx, o, before)
}

func (p *pursuit) deadLetter(ctx context.Context, err error, cause joineryv1.DeadLetterCause) *joineryv1.DeadLetter {
	d := &joineryv1.DeadLetter{
		Id: p.name + "-" + p.cmd.GetIdentity(), Cause: cause, Command: p.cmd, Reason: err.Error(),
		Attempts: int32(p.account.Attempts + 1), At: timestamppb.Now(), TraceId: traceID(ctx),
	}
	if !p.account.FirstFailure.IsZero() {
		d.FirstFailedAt = timestamppb.New(p.account.FirstFailure)
	}
	if cause == joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_STRANGER {
		d.RemoteId = p.account.Stranger
	}
	var said *scim.Error
	if errors.As(err, &said) {
		d.Status, d.ScimType, d.Detail = int32(said.Status), said.ScimType, said.Detail
		d.Attributes = said.Attributes
	}
	return d
}

// jitter spreads a pause over its upper half, so that what failed together does
// not come back together.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}
