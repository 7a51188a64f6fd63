// Package deadletter owns the review desk: the cases that a person must decide,
// with what is needed to decide them, and the API through which people see
// people, events, targets and cases, and act on them.
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/joinery/joinery/pkg/crash"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Store is a bucket of records under compare-and-swap: rev 0 means not there
// yet, and a lost race is stream.ErrConflict.
type Store[T any] interface {
	Get(ctx context.Context, key string) (T, uint64, error)
	Put(ctx context.Context, key string, value T, rev uint64) (uint64, error)
	Keys(ctx context.Context, prefix string) ([]string, error)
}

// Outbox publishes what a person's decision causes.
type Outbox interface {
	Command(ctx context.Context, c *joineryv1.ProvisioningCommand) error
	Replay(ctx context.Context, e *joineryv1.LifecycleEvent, n uint32) error
	Intake(ctx context.Context, d *joineryv1.DeadLetter, n uint32) error
}

// Desk files, resolves and replays cases.
type Desk struct {
	cases      Store[Case]
	identities Store[identity.Record]
	outbox     Outbox
	log        *slog.Logger
	filed      *telemetry.Counter
	decided    *telemetry.Counter
}

// NewDesk makes a desk.
func NewDesk(cases Store[Case], identities Store[identity.Record], outbox Outbox, tel *telemetry.Telemetry) *Desk {
	return &Desk{
		cases: cases, identities: identities, outbox: outbox, log: tel.Log,
		filed: tel.Metrics.Counter("joinery_cases_filed_total",
			"Dead letters filed, by target and cause.", "target", "cause"),
		decided: tel.Metrics.Counter("joinery_cases_decided_total",
			"Cases that left the open state, by target and action.", "target", "action"),
	}
}

// Run files dead letters and resolves cases until ctx ends.
func (d *Desk) Run(ctx context.Context, letters, outcomes message.Subscriber) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 10 * time.Second}, telemetry.Watermill(d.log))
	if err != nil {
		return fmt.Errorf("make a router: %w", err)
	}
	router.AddMiddleware(middleware.Recoverer)
	router.AddConsumerHandler("desk", "deadletter", letters, d.receiveLetter)
	router.AddConsumerHandler("desk-outcomes", "outcomes", outcomes, d.receiveOutcome)
	return router.Run(ctx)
}

func (d *Desk) receiveLetter(msg *message.Message) error {
	letter := &joineryv1.DeadLetter{}
	ctx, err := wire.Decode(msg, letter)
	if err != nil {
		// Only a publisher of another make can cause this: keep it visible.
		letter = &joineryv1.DeadLetter{
			Id: "unreadable-" + msg.UUID, Cause: joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_POISON,
			Payload: msg.Payload, Reason: err.Error(),
		}
	}
	_, err = d.edit(ctx, letter.GetId(), true, func(c Case) (Case, error) {
		return c.filed(letter)
	})
	if err != nil {
		return err
	}
	cause := causeName(letter.GetCause())
	d.filed.Add(1, letter.GetCommand().GetTarget(), cause)
	d.log.WarnContext(ctx, "case filed", "case", letter.GetId(), "cause", cause,
		"target", letter.GetCommand().GetTarget(), "identity", letter.GetCommand().GetIdentity(),
		"status", letter.GetStatus(), "scim_type", letter.GetScimType())
	return nil
}

// receiveOutcome closes the case of an account that came right by itself or by
// a replay.
func (d *Desk) receiveOutcome(msg *message.Message) error {
	var o joineryv1.Outcome
	ctx, err := wire.Decode(msg, &o)
	if err != nil {
		return nil
	}
	if o.GetStage() == joineryv1.Stage_STAGE_MAPPER {
		return d.mended(ctx, &o)
	}
	if o.GetStage() != joineryv1.Stage_STAGE_DISPATCHER {
		return nil
	}
	if o.GetResult() != joineryv1.Result_RESULT_APPLIED && o.GetResult() != joineryv1.Result_RESULT_NO_CHANGE {
		return nil
	}
	for _, id := range []string{o.GetTarget() + "-" + o.GetIdentity(), "mapping-" + o.GetTarget() + "-" + o.GetIdentity()} {
		if err := d.resolve(ctx, id, &o, "dispatcher", identity.ResultName(o.GetResult())); err != nil {
			return err
		}
	}
	return nil
}

// mended closes the cases of mappings that work again, or are not needed any more.
func (d *Desk) mended(ctx context.Context, o *joineryv1.Outcome) error {
	for _, target := range o.GetMended() {
		if err := d.resolve(ctx, "mapping-"+target+"-"+o.GetIdentity(), o, "mapper", "the mapping can be computed, or is not needed any more"); err != nil {
			return err
		}
	}
	return nil
}

// resolve closes a case, where there is one that is not newer than the outcome.
func (d *Desk) resolve(ctx context.Context, id string, o *joineryv1.Outcome, by, why string) error {
	_, err := d.edit(ctx, id, false, func(c Case) (Case, error) {
		if o.GetRevision() < c.Revision {
			return c, errUnchanged
		}
		next, changed := c.resolved(o.GetAt().AsTime(), by, why)
		if !changed {
			return c, errUnchanged
		}
		return next, nil
	})
	if err != nil && !errors.Is(err, stream.ErrNotFound) && !errors.Is(err, errUnchanged) {
		return err
	}
	return nil
}

var errUnchanged = errors.New("nothing to change")

// edit changes a case by compare-and-swap.
func (d *Desk) edit(ctx context.Context, id string, create bool, change func(Case) (Case, error)) (Case, error) {
	for range 10 {
		c, rev, err := d.cases.Get(ctx, id)
		if err != nil && (!create || !errors.Is(err, stream.ErrNotFound)) {
			return c, fmt.Errorf("read case %s: %w", id, err)
		}
		next, err := change(c)
		if err != nil {
			return c, err
		}
		_, err = d.cases.Put(ctx, id, next, rev)
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, stream.ErrConflict) {
			return c, fmt.Errorf("store case %s: %w", id, err)
		}
	}
	return Case{}, fmt.Errorf("store case %s: %w", id, stream.ErrConflict)
}

// Replay sends a case again with what is wished for now, not with what was
// wished for then.
func (d *Desk) Replay(ctx context.Context, id, by, note string) (Case, error) {
	c, err := d.edit(ctx, id, false, func(c Case) (Case, error) {
		if c.Batch != "" {
			return c, ErrApprove
		}
		if err := d.wished(ctx, c); err != nil {
			return c, err
		}
		return c.replayed(time.Now(), by, note)
	})
	if err != nil {
		return c, err
	}
	crash.At(ctx, crash.DeskDecided)
	if err := d.resend(ctx, c, nil); err != nil {
		return c, err
	}
	d.decided.Add(1, c.Target, "replay")
	d.log.InfoContext(ctx, "case replayed", "case", id, "by", by, "replay", c.Replays)
	return c, nil
}

// wished fails where nothing is wished for that a replay could send.
func (d *Desk) wished(ctx context.Context, c Case) error {
	letter, err := c.letter()
	if c.Target == "" || err == nil && letter.GetCommand().GetGroup() != nil {
		return nil
	}
	rec, _, err := d.identities.Get(ctx, c.Identity)
	if err != nil && !errors.Is(err, stream.ErrNotFound) {
		return fmt.Errorf("read the identity of case %s: %w", c.ID, err)
	}
	if _, wished := rec.Wishes[c.Target]; !wished {
		return ErrNothingToReplay
	}
	return nil
}

// Adopt sends a case again with a person's consent that the account which was in
// the way is taken over: that one, and no other that is there by then. The consent
// counts for ConsentFor.
func (d *Desk) Adopt(ctx context.Context, id, by, note string) (Case, error) {
	c, err := d.edit(ctx, id, false, func(c Case) (Case, error) {
		if err := d.wished(ctx, c); err != nil {
			return c, err
		}
		return c.adopting(time.Now(), by, note)
	})
	if err != nil {
		return c, err
	}
	crash.At(ctx, crash.DeskDecided)
	consent := &joineryv1.Approval{By: by, Adopt: c.RemoteID, ExpiresAt: timestamppb.New(time.Now().Add(ConsentFor))}
	if err := d.resend(ctx, c, consent); err != nil {
		return c, err
	}
	d.decided.Add(1, c.Target, "adopt")
	d.log.InfoContext(ctx, "account adopted by a person", "case", id, "by", by, "target", c.Target, "replay", c.Replays)
	return c, nil
}

// Discard closes a case without doing anything. Drift that remains is found
// again by reconciliation.
func (d *Desk) Discard(ctx context.Context, id, by, note string) (Case, error) {
	c, err := d.edit(ctx, id, false, func(c Case) (Case, error) {
		return c.discarded(time.Now(), by, note)
	})
	if err == nil {
		d.decided.Add(1, c.Target, "discard")
		d.log.InfoContext(ctx, "case discarded", "case", id, "by", by)
	}
	return c, err
}

// resend publishes what is wished for now; with a person's consent only what
// they consented to.
func (d *Desk) resend(ctx context.Context, c Case, consent *joineryv1.Approval) error {
	if c.Target == "" {
		letter, err := c.letter()
		if err != nil {
			return err
		}
		if letter.GetSubject() != "" {
			return d.outbox.Intake(ctx, letter, c.Replays)
		}
		return d.outbox.Replay(ctx, letter.GetEvent(), c.Replays)
	}
	letter, err := c.letter()
	if err == nil && letter.GetCommand().GetGroup() != nil {
		return d.resendGroup(ctx, c, letter.GetCommand(), consent)
	}
	rec, _, err := d.identities.Get(ctx, c.Identity)
	if err != nil {
		return fmt.Errorf("read the identity of case %s: %w", c.ID, err)
	}
	cmd, err := rec.Command(c.Target, time.Now())
	if err != nil {
		return fmt.Errorf("replay case %s: %w; a change of the configuration computes one", c.ID, err)
	}
	if consent != nil && consent.GetAdopt() == "" && cmd.GetRevision() != c.Revision {
		return nil // something newer is wished for, which is decided by itself
	}
	d.again(c, cmd, consent)
	return d.outbox.Command(ctx, cmd)
}

// again makes a command that replays a case.
func (d *Desk) again(c Case, cmd *joineryv1.ProvisioningCommand, consent *joineryv1.Approval) {
	identity.Again(cmd, joineryv1.Cause_CAUSE_REPLAY,
		fmt.Sprintf("case-%s-%d", c.ID, c.Replays), fmt.Sprintf("%s:replay:%d:%d", cmd.GetId(), c.Replays, time.Now().UnixNano()))
	cmd.Approval, cmd.Repeat = consent, c.Replays
}

// resendGroup has a group looked at again: who should be in it is read then.
func (d *Desk) resendGroup(ctx context.Context, c Case, cmd *joineryv1.ProvisioningCommand, consent *joineryv1.Approval) error {
	d.again(c, cmd, consent)
	cmd.IssuedAt = timestamppb.Now()
	return d.outbox.Command(ctx, cmd)
}

func causeName(c joineryv1.DeadLetterCause) string {
	return strings.ToLower(strings.TrimPrefix(c.String(), "DEAD_LETTER_CAUSE_"))
}
