package wire_test

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
)

// spool is a publisher in memory.
type spool struct {
	plain, once []string
	last        *message.Message
	held        *message.Message // what PublishOver finds
}

func (s *spool) PublishOver(topic string, msg *message.Message, _ bool, over func(*message.Message) bool) (bool, error) {
	if !over(s.held) {
		return false, nil
	}
	s.held = msg
	return true, s.Publish(topic, msg)
}

func (s *spool) Publish(topic string, messages ...*message.Message) error {
	s.plain, s.last = append(s.plain, topic+" "+messages[0].UUID), messages[0]
	return nil
}

func (s *spool) PublishAt(subject, target string, at time.Time, msg *message.Message) error {
	return s.Publish(subject+" "+target+" "+at.UTC().Format(time.RFC3339), msg)
}

func (s *spool) PublishNew(topic string, msg *message.Message) (bool, error) {
	s.once, s.last = append(s.once, topic+" "+msg.UUID), msg
	return false, nil
}

const ann = "7ztv7z5k52bqw37nbg3e4a2pqq"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryMessageHasItsSubjectAndItsID(t *testing.T) {
	s := &spool{}
	o := wire.NewOutbox(s)
	event := &joineryv1.LifecycleEvent{Id: "e1", Source: "hr", IdentityKey: "1001"}
	_, err := o.Lifecycle(t.Context(), event)
	must(t, err)
	must(t, o.Command(t.Context(), &joineryv1.ProvisioningCommand{Id: "c1", Target: "acme", Identity: ann, Lane: joineryv1.Lane_LANE_URGENT}))
	must(t, o.Outcome(t.Context(), &joineryv1.Outcome{Id: "o1", Target: "acme", Identity: ann, EventId: "e1"}))
	must(t, o.Outcome(t.Context(), &joineryv1.Outcome{Id: "o2", Identity: ann, EventId: "e1"}))
	must(t, o.DeadLetter(t.Context(), &joineryv1.DeadLetter{Id: "d1", Attempts: 2, Command: &joineryv1.ProvisioningCommand{Id: "c1", Target: "acme", Identity: ann}}))
	must(t, o.DeadLetter(t.Context(), &joineryv1.DeadLetter{Id: "d2", Event: event}))
	must(t, o.Replay(t.Context(), event, 3))
	want := []string{
		"joinery.command.acme.urgent." + ann + " c1", "joinery.deadletter.acme." + ann + " d1:c1:2",
		"joinery.deadletter.mapper." + ann + " d2::0", "joinery.lifecycle.hr." + ann + ".e1 e1:replay:3",
	}
	if diff := cmp.Diff(want, s.plain); diff != "" {
		t.Error(diff)
	}
	// What must be there once only is published so.
	want = []string{"joinery.lifecycle.hr." + ann + ".e1 e1", "joinery.outcome.acme." + ann + ".e1 o1", "joinery.outcome.mapper." + ann + ".e1 o2"}
	if diff := cmp.Diff(want, s.once); diff != "" {
		t.Error(diff)
	}
}

func TestATraceTravelsWithItsMessage(t *testing.T) {
	id := trace.TraceID{1, 2, 3}
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{4}, TraceFlags: trace.FlagsSampled}))
	in := &joineryv1.Outcome{Id: "o1", Attributes: []string{"title"}}
	msg, err := wire.Encode(ctx, "o1", in)
	must(t, err)
	arrived := message.NewMessage(msg.UUID, msg.Payload)
	arrived.Metadata = msg.Metadata
	out := &joineryv1.Outcome{}
	got, err := wire.Decode(arrived, out)
	must(t, err)
	if !proto.Equal(in, out) || trace.SpanContextFromContext(got).TraceID() != id {
		t.Error(out, trace.SpanContextFromContext(got).TraceID())
	}
	if _, err := wire.Decode(message.NewMessage("x", []byte{0xff}), out); err == nil {
		t.Error("nonsense was decoded")
	}
}

type reader struct{ subject string }

func (r *reader) Last(_ context.Context, _, subject string) (stream.Stored, error) {
	r.subject = subject
	msg, err := wire.Encode(context.Background(), "c", &joineryv1.ProvisioningCommand{Id: "c"})
	return stream.Stored{Message: msg}, err
}

func TestTheNewestCommandIsFoundInAnyLane(t *testing.T) {
	r := &reader{}
	c, err := wire.NewestCommand(r)(t.Context(), "acme", ann)
	if err != nil || c.GetId() != "c" || r.subject != "joinery.command.acme.*."+ann {
		t.Error(c, r.subject, err)
	}
}

func TestAnOlderWishNeverTakesThePlaceOfANewerOne(t *testing.T) {
	s := &spool{}
	o := wire.NewOutbox(s)
	command := func(id string, revision uint64) *joineryv1.ProvisioningCommand {
		return &joineryv1.ProvisioningCommand{Id: id, Target: "acme", Identity: ann, Lane: joineryv1.Lane_LANE_NORMAL, Revision: revision}
	}
	must(t, o.Command(t.Context(), command("first", 4)))
	must(t, o.Command(t.Context(), command("same", 4)))
	must(t, o.Command(t.Context(), command("older", 3)))
	must(t, o.Command(t.Context(), command("newer", 5)))
	subject := "joinery.command.acme.normal." + ann
	if diff := cmp.Diff([]string{subject + " first", subject + " same", subject + " newer"}, s.plain); diff != "" {
		t.Error(diff)
	}
}
