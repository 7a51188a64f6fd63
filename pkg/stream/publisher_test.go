package stream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAnyWatermillApplicationReadsWhatWePublish(t *testing.T) {
	w := designed(t, "acme")
	sent := message.NewMessage("id-1", []byte{0, 1, 0xff})
	sent.Metadata = message.Metadata{"traceparent": "00-abc", "Mixed-Case": "Value", "empty": ""}
	sub, err := w.nc.SubscribeSync("joinery.command.acme.normal.x")
	must(t, err)
	must(t, w.nc.Flush())
	must(t, w.conn.Publisher().Publish("joinery.command.acme.normal.x", sent))
	raw, err := sub.NextMsgWithContext(t.Context())
	must(t, err)
	var theirs wmnats.NATSMarshaler
	got, err := theirs.Unmarshal(raw)
	must(t, err)
	if !got.Equals(sent) {
		t.Errorf("sent %v %v, they read %v %v", sent.UUID, sent.Metadata, got.UUID, got.Metadata)
	}
}

func TestWeReadWhatAnyWatermillApplicationPublishes(t *testing.T) {
	w := designed(t)
	sent := message.NewMessage("id-1", []byte("payload"))
	sent.Metadata = message.Metadata{"traceparent": "00-abc", "Nats-Msg-Id": "dedupe-1"}
	var theirs wmnats.NATSMarshaler
	raw, err := theirs.Marshal("joinery.lifecycle.hr.p.e", sent)
	must(t, err)
	_, err = w.js.PublishMsg(t.Context(), raw)
	must(t, err)
	got, err := w.conn.Last(t.Context(), stream.Lifecycle, "joinery.lifecycle.hr.p.e")
	must(t, err)
	want := message.NewMessage("id-1", []byte("payload"))
	want.Metadata = message.Metadata{"traceparent": "00-abc"}
	if !got.Message.Equals(want) {
		t.Errorf("read %v %v", got.Message.UUID, got.Message.Metadata)
	}
}

// A batch number that came with a message would make an order of its copy.
func TestHeadersForTheBrokerAreNotMetadata(t *testing.T) {
	w := designed(t)
	must(t, w.conn.Publisher().PublishBatch(t.Context(), []stream.Item{
		{Topic: "joinery.lifecycle.hr.p.e", Message: message.NewMessage("e", nil)},
	}))
	for stored, err := range w.conn.Scan(t.Context(), stream.Lifecycle, ">") {
		must(t, err)
		if len(stored.Message.Metadata) != 0 {
			t.Errorf("metadata %v", stored.Message.Metadata)
		}
	}
}

func TestRepeatedIDIsStoredOnce(t *testing.T) {
	w := designed(t)
	for range 3 {
		w.say(t, "joinery.deadletter.acme.x", "same")
	}
	w.say(t, "joinery.deadletter.acme.x", "other")
	renamed := message.NewMessage("renamed", nil)
	renamed.Metadata.Set("Nats-Msg-Id", "same")
	must(t, w.conn.Publisher().Publish("joinery.deadletter.acme.x", renamed))
	if n := w.count(t, stream.DeadLetters); n != 2 {
		t.Errorf("%d stored", n)
	}
}

func TestMessageWithoutIDIsNotSent(t *testing.T) {
	w := designed(t)
	if err := w.conn.Publisher().Publish("joinery.deadletter.acme.x", message.NewMessage("", nil)); err == nil {
		t.Error("published")
	}
	if n := w.count(t, stream.DeadLetters); n != 0 {
		t.Errorf("%d stored", n)
	}
}

// The window for repeated ids is two minutes; a subject of its own is for as
// long as the stream keeps the message, whatever id it comes under.
func TestRepeatIsFoundLongAfterTheWindowAndARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		const subject = "joinery.lifecycle.hr.p.e"
		for i, pause := range []time.Duration{0, time.Second, time.Hour, 24 * time.Hour} {
			time.Sleep(pause)
			if i == 3 {
				w.restart(t)
			}
			duplicate, err := w.conn.Publisher().PublishNew(subject, message.NewMessage(fmt.Sprint("id", i/2), nil))
			if err != nil || duplicate != (i > 0) {
				t.Errorf("after %v: duplicate %v, %v", pause, duplicate, err)
			}
		}
		if n := w.count(t, stream.Lifecycle); n != 1 {
			t.Errorf("%d stored", n)
		}
	})
}

func TestNewestCommandReplacesTheOneBefore(t *testing.T) {
	w := designed(t, "acme")
	for i := range 5 {
		w.say(t, "joinery.command.acme.normal.x", fmt.Sprint(i))
		w.say(t, "joinery.command.acme.urgent.x", fmt.Sprint("u", i))
	}
	got, err := w.conn.Last(t.Context(), stream.Commands, "joinery.command.acme.normal.x")
	must(t, err)
	if n := w.count(t, stream.Commands); n != 2 || got.Message.UUID != "4" {
		t.Errorf("%d stored, the newest is %s", n, got.Message.UUID)
	}
}

func items(prefix string, n int) []stream.Item {
	out := make([]stream.Item, n)
	for i := range out {
		id := fmt.Sprintf("e%04d", i)
		out[i] = stream.Item{Topic: prefix + id, Message: message.NewMessage(id, []byte("payload"))}
	}
	return out
}

func TestBatchIsStoredWholeOrNotAtAll(t *testing.T) {
	w := designed(t)
	p := w.conn.Publisher()
	for _, size := range []int{0, 1, 2, stream.MaxBatch} {
		before := w.count(t, stream.Lifecycle)
		must(t, p.PublishBatch(t.Context(), items(fmt.Sprintf("joinery.lifecycle.s%d.p.", size), size)))
		if n := w.count(t, stream.Lifecycle) - before; n != uint64(size) {
			t.Errorf("batch of %d: %d stored", size, n)
		}
	}
	before := w.count(t, stream.Lifecycle)
	again := append(items("joinery.lifecycle.fresh.p.", 5), items("joinery.lifecycle.s2.p.", 1)...)
	if err := p.PublishBatch(t.Context(), again); !errors.Is(err, stream.ErrConflict) {
		t.Errorf("one of six was there already: %v", err)
	}
	twice := append(items("joinery.lifecycle.twice.p.", 2), items("joinery.lifecycle.twice.p.", 1)...)
	if err := p.PublishBatch(t.Context(), twice); !errors.Is(err, stream.ErrConflict) {
		t.Errorf("one subject twice: %v", err)
	}
	if err := p.PublishBatch(t.Context(), items("joinery.lifecycle.big.p.", stream.MaxBatch+1)); !errors.Is(err, stream.ErrRefused) {
		t.Errorf("too many: %v", err)
	}
	mixed := append(items("joinery.lifecycle.mixed.p.", 1), items("joinery.outcome.acme.p.", 1)...)
	if err := p.PublishBatch(t.Context(), mixed); err == nil {
		t.Error("one batch for two streams was stored")
	}
	if n := w.count(t, stream.Lifecycle) - before; n != 0 {
		t.Errorf("%d stored of batches that failed", n)
	}
}

func TestBatchOfCommandsReplacesWhatWaits(t *testing.T) {
	w := designed(t, "acme")
	for round := range 3 {
		batch := items("joinery.command.acme.normal.", 10)
		for i := range batch {
			batch[i].Replace = true
			batch[i].Message.Payload = fmt.Appendf(nil, "round %d", round)
		}
		must(t, w.conn.Publisher().PublishBatch(t.Context(), batch))
	}
	got, err := w.conn.Last(t.Context(), stream.Commands, "joinery.command.acme.normal.e0007")
	must(t, err)
	if n := w.count(t, stream.Commands); n != 10 || string(got.Message.Payload) != "round 2" {
		t.Errorf("%d stored, one holds %q", n, got.Message.Payload)
	}
}

func TestWhatTheBrokerCannotTakeNowIsUnavailable(t *testing.T) {
	w := open(t)
	p := w.conn.Publisher()
	small := jetstream.StreamConfig{
		Name: stream.Outcomes, Subjects: []string{"joinery.outcome.>"}, MaxBytes: 2000, Discard: jetstream.DiscardNew, AllowAtomicPublish: true,
	}
	_, err := w.js.CreateStream(t.Context(), small)
	must(t, err)
	large := message.NewMessage("large", []byte(strings.Repeat("x", 1500)))
	must(t, p.Publish("joinery.outcome.acme.p.1", large))
	again := large.Copy()
	again.UUID = "large-2"
	batch := []stream.Item{{Topic: "joinery.outcome.acme.p.3", Message: again}, {Topic: "joinery.outcome.acme.p.4", Message: again}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := message.NewMessage("ended", nil)
	ended.SetContext(ctx)
	for name, err := range map[string]error{
		"the stream is full":            p.Publish("joinery.outcome.acme.p.2", again),
		"the stream is full for all":    p.PublishBatch(t.Context(), batch),
		"the stream does not exist":     p.Publish("joinery.lifecycle.hr.p.e", again),
		"the sender waits no longer":    p.Publish("joinery.outcome.acme.p.5", ended),
		"no stream takes the batch":     p.PublishBatch(t.Context(), items("joinery.lifecycle.hr.p.", 3)),
		"the batch has no time to wait": p.PublishBatch(ctx, items("joinery.outcome.acme.p.", 3)),
	} {
		if !errors.Is(err, stream.ErrUnavailable) || errors.Is(err, stream.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatTheBrokerNeverTakesIsRefused(t *testing.T) {
	w := designed(t)
	p := w.conn.Publisher()
	big := func(n int) *message.Message { return message.NewMessage("big", make([]byte, n)) }
	must(t, w.js.DeleteStream(t.Context(), stream.Outcomes))
	_, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SOMEBODY_ELSE", Subjects: []string{"joinery.outcome.>"}})
	must(t, err)
	for name, err := range map[string]error{
		"larger than the stream takes":       p.Publish("joinery.lifecycle.hr.p.e", big(1<<20)),
		"larger than the connection takes":   p.Publish("joinery.lifecycle.hr.p.e", big(4<<20)),
		"a subject with a space":             p.Publish("joinery.lifecycle.hr.p q.e", big(1)),
		"an empty subject":                   p.Publish("", big(1)),
		"the subject is in another's stream": p.Publish("joinery.outcome.acme.p.e", big(1)),
	} {
		if !errors.Is(err, stream.ErrRefused) || errors.Is(err, stream.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A caller may have an hour for its work; a broker that is gone shows sooner.
func TestPublisherNoticesABrokerThatIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.broker.Stop()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		msg := message.NewMessage("m", nil)
		msg.SetContext(ctx)
		err := w.conn.Publisher().Publish("joinery.lifecycle.hr.p.e", msg)
		if took := time.Since(start); !errors.Is(err, stream.ErrUnavailable) || took > 10*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		if err := w.conn.Ready(t.Context()); !errors.Is(err, stream.ErrUnavailable) {
			t.Errorf("ready: %v", err)
		}
		must(t, w.broker.Start())
		time.Sleep(5 * time.Second)
		duplicate, err := w.conn.Publisher().PublishNew("joinery.lifecycle.hr.p.e", message.NewMessage("m", nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("what could not be acknowledged was stored: %v", duplicate)
		if n := w.count(t, stream.Lifecycle); n != 1 {
			t.Errorf("%d stored", n)
		}
	})
}

func TestStreamsOfTheDesignAreExpected(t *testing.T) {
	for _, s := range stream.Design(nil, 1).Streams {
		if s.Name == stream.Advisories {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			w := designed(t)
			subject := strings.ReplaceAll(s.Subjects[0], "*", "x")
			heard, err := w.nc.SubscribeSync(subject)
			must(t, err)
			must(t, w.nc.Flush())
			w.say(t, subject, "m")
			msg, err := heard.NextMsgWithContext(t.Context())
			must(t, err)
			want := nats.Header{
				"Nats-Msg-Id": {"m"}, "_watermill_message_uuid": {"m"}, "Nats-Expected-Stream": {s.Name},
			}
			if diff := cmp.Diff(maps.Collect(maps.All(want)), maps.Collect(maps.All(msg.Header))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// count is how many messages a stream holds.
func (w *world) count(t *testing.T, name string) uint64 {
	t.Helper()
	s, err := w.js.Stream(t.Context(), name)
	must(t, err)
	return s.CachedInfo().State.Msgs
}

func TestPublishingOverSeesWhatItReplaces(t *testing.T) {
	w := designed(t, "acme")
	p := w.conn.Publisher()
	subject := "joinery.command.acme.normal.x"
	var seen []string
	over := func(held *message.Message) bool {
		id := "nothing"
		if held != nil {
			id = held.UUID
		}
		seen = append(seen, id)
		if id == "one" && len(seen) == 2 { // somebody else is quicker
			must(t, p.Publish(subject, message.NewMessage("between", nil)))
		}
		return id != "last"
	}
	for _, id := range []string{"one", "last", "late"} {
		stored, err := p.PublishOver(subject, message.NewMessage(id, nil), id == "late", over)
		must(t, err)
		if want := id != "late"; stored != want {
			t.Errorf("%s: stored %v", id, stored)
		}
	}
	if diff := cmp.Diff([]string{"nothing", "one", "between", "last"}, seen); diff != "" {
		t.Error(diff)
	}
}
