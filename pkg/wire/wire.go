// Package wire owns how the messages of the contract travel: the subject each
// one has, the id it is published under, its encoding, and the trace it
// carries. It is the one place where protobuf and the streams meet.
package wire

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/proto"
)

// mapperToken stands where a target's name would, for what the mapper decides.
const mapperToken = "mapper"

// LifecycleSubject is unique for each event, which is what makes a repeated
// event recognisable for as long as the stream keeps it.
func LifecycleSubject(e *joineryv1.LifecycleEvent) string {
	return subject("joinery.lifecycle", e.GetSource(), identity.SubjectOf(e), e.GetId())
}

// CommandSubject is one for each (target, lane, identity): the stream keeps the
// newest command on it.
func CommandSubject(c *joineryv1.ProvisioningCommand) string {
	return subject("joinery.command", c.GetTarget(), identity.LaneName(c.GetLane()), c.GetIdentity())
}

// OutcomeSubject is unique for each (target, identity, event).
func OutcomeSubject(o *joineryv1.Outcome) string {
	return subject("joinery.outcome", orMapper(o.GetTarget()), o.GetIdentity(), o.GetEventId())
}

// DeadLetterSubject is one for each (target, identity).
func DeadLetterSubject(d *joineryv1.DeadLetter) string {
	id := d.GetCommand().GetIdentity()
	if id == "" {
		id = identity.SubjectOf(d.GetEvent())
	}
	return subject("joinery.deadletter", orMapper(d.GetCommand().GetTarget()), id)
}

func subject(tokens ...string) string { return strings.Join(tokens, ".") }

func orMapper(target string) string {
	if target == "" {
		return mapperToken
	}
	return target
}

// Publisher is what an Outbox publishes through. Both calls return when the
// broker has stored the message; PublishNew stores only the first on a subject,
// PublishOver only in the place of what over allows.
type Publisher interface {
	Publish(topic string, messages ...*message.Message) error
	PublishOver(topic string, msg *message.Message, fresh bool, over func(held *message.Message) bool) (stored bool, err error)
	PublishNew(topic string, msg *message.Message) (duplicate bool, err error)
	PublishAt(subject, target string, at time.Time, msg *message.Message) error
}

// Outbox publishes the contract's messages.
type Outbox struct{ publisher Publisher }

// NewOutbox makes an outbox over a publisher.
func NewOutbox(p Publisher) Outbox { return Outbox{publisher: p} }

// Lifecycle publishes an event, once; duplicate means that it was there already.
func (o Outbox) Lifecycle(ctx context.Context, e *joineryv1.LifecycleEvent) (duplicate bool, err error) {
	msg, err := Encode(ctx, e.GetId(), e)
	if err != nil {
		return false, err
	}
	return o.publisher.PublishNew(LifecycleSubject(e), msg)
}

// Again publishes a command for a wish that was published before: a repair, a
// replay, a reference that can be resolved now. Where the lane holds a newer wish
// of the account meanwhile, that one stays, and does what this one would.
func (o Outbox) Command(ctx context.Context, c *joineryv1.ProvisioningCommand) error {
	msg, err := Encode(ctx, c.GetId(), c)
	if err != nil {
		return err
	}
	fresh := c.GetCause() == joineryv1.Cause_CAUSE_EVENT && len(c.GetEarlier()) == 0
	_, err = o.publisher.PublishOver(CommandSubject(c), msg, fresh, func(held *message.Message) bool {
		if held == nil {
			return true
		}
		var other joineryv1.ProvisioningCommand
		return proto.Unmarshal(held.Payload, &other) != nil || other.GetRevision() <= c.GetRevision()
	})
	return err
}

// Replay puts an event on its subject again, for the n-th time.
func (o Outbox) Replay(ctx context.Context, e *joineryv1.LifecycleEvent, n uint32) error {
	return o.publish(ctx, LifecycleSubject(e), fmt.Sprintf("%s:replay:%d", e.GetId(), n), e)
}

// CaseHeader names, on a message that a person sent again, the case that it was.
const CaseHeader = "Joinery-Case"

// Intake publishes what a source had published and was refused, as the source
// did, for the n-th time.
func (o Outbox) Intake(ctx context.Context, d *joineryv1.DeadLetter, n uint32) error {
	msg := message.NewMessage(fmt.Sprintf("%s:replay:%d", d.GetId(), n), d.GetPayload())
	msg.SetContext(ctx)
	for name, value := range d.GetHeaders() {
		msg.Metadata.Set(name, value)
	}
	msg.Metadata.Set(CaseHeader, d.GetId())
	return o.publisher.Publish(d.GetSubject(), msg)
}

// Outcome publishes an outcome, once for each (target, identity, event).
func (o Outbox) Outcome(ctx context.Context, out *joineryv1.Outcome) error {
	msg, err := Encode(ctx, out.GetId(), out)
	if err != nil {
		return err
	}
	_, err = o.publisher.PublishNew(OutcomeSubject(out), msg)
	return err
}

// DeadLetter publishes a dead letter.
func (o Outbox) DeadLetter(ctx context.Context, d *joineryv1.DeadLetter) error {
	return o.publish(ctx, DeadLetterSubject(d), fmt.Sprintf("%s:%s:%d", d.GetId(), d.GetCommand().GetId(), d.GetAttempts()), d)
}

func (o Outbox) publish(ctx context.Context, subject, id string, m proto.Message) error {
	msg, err := Encode(ctx, id, m)
	if err != nil {
		return err
	}
	return o.publisher.Publish(subject, msg)
}

// Reader reads streams.
type Reader interface {
	Last(ctx context.Context, streamName, subject string) (stream.Stored, error)
}

// NewestCommand gives the function that reads the newest command of a (target,
// identity) pair, whatever its lane.
func NewestCommand(r Reader) func(ctx context.Context, target, id string) (*joineryv1.ProvisioningCommand, error) {
	return func(ctx context.Context, target, id string) (*joineryv1.ProvisioningCommand, error) {
		stored, err := r.Last(ctx, stream.Commands, subject("joinery.command", target, "*", id))
		if err != nil {
			return nil, err
		}
		c := &joineryv1.ProvisioningCommand{}
		_, err = Decode(stored.Message, c)
		return c, err
	}
}

// Encode makes a message of m under a deterministic id, carrying the trace of ctx.
func Encode(ctx context.Context, id string, m proto.Message) (*message.Message, error) {
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	msg := message.NewMessage(id, payload)
	msg.SetContext(ctx)
	telemetry.Inject(ctx, msg.Metadata)
	return msg, nil
}

// Decode reads the message's payload into m, and gives a context that carries
// the trace of the message.
func Decode(msg *message.Message, m proto.Message) (context.Context, error) {
	ctx := telemetry.Extract(msg.Context(), msg.Metadata)
	if err := proto.Unmarshal(msg.Payload, m); err != nil {
		return ctx, fmt.Errorf("decode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return ctx, nil
}

var _ Publisher = (*stream.Publisher)(nil)
