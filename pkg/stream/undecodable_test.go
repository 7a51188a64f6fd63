package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats.go"
)

// poison is a message that the common encoding does not allow.
func (w *world) poison(t *testing.T, subject string) {
	t.Helper()
	_, err := w.js.PublishMsg(t.Context(), &nats.Msg{
		Subject: subject, Data: []byte("payload"), Header: nats.Header{"Reason": {"one", "two"}, "_watermill_message_uuid": {"id"}},
	})
	must(t, err)
}

func TestUndecodableMessageReachesItsHandlerAsWellAsPossible(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.poison(t, wish("x"))
		sub, messages := w.lane(t, nil)
		msg := <-messages
		want := message.NewMessage("id", []byte("payload"))
		want.Metadata.Set("Reason", "one")
		if !msg.Equals(want) {
			t.Errorf("%s %v %q", msg.UUID, msg.Metadata, msg.Payload)
		}
		msg.Ack()
		must(t, sub.Close())
	})
}

func TestUndecodableMessageIsDoneWithOnlyWhenItIsReported(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ended, err := w.nc.SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
		must(t, err)
		w.poison(t, wish("x"))
		w.say(t, wish("fine"), "fine")
		var reported []string
		sub, messages := w.lane(t, func(o *stream.SubscriberOptions) {
			o.Undecodable = func(_ context.Context, raw stream.Stored, why error) error {
				reported = append(reported, fmt.Sprint(raw.Stream, " ", raw.Sequence, " ", raw.Subject, " ", raw.Message.UUID))
				if why == nil {
					t.Error("no reason given")
				}
				switch len(reported) {
				case 1:
					return errors.New("the desk is closed")
				case 2:
					panic("the desk fell over")
				}
				return nil
			}
		})
		msg := <-messages
		if msg.UUID != "fine" {
			t.Errorf("handler got %s", msg.UUID)
		}
		msg.Ack()
		time.Sleep(time.Minute)
		none(t, messages)
		if diff := cmp.Diff(slices.Repeat([]string{"COMMANDS 1 " + wish("x") + " id"}, 3), reported); diff != "" {
			t.Error(diff)
		}
		advisory, err := ended.NextMsgWithContext(t.Context())
		must(t, err)
		if !strings.Contains(string(advisory.Data), "undecodable") {
			t.Errorf("the broker says %s", advisory.Data)
		}
		must(t, sub.Close())
		if n := w.pending(t, stream.Commands, stream.LaneDurable("acme", "normal")); n != 0 {
			t.Errorf("%d left", n)
		}
		if n := w.count(t, stream.Commands); n != 2 {
			t.Errorf("the stream holds %d: the payload is gone", n)
		}
	})
}

// Whoever may publish to an inbox can send anything there.
func TestWhatNoStreamDeliveredIsIgnored(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		inbox := make(chan string, 1)
		spy, err := w.nc.Subscribe("$JS.API.CONSUMER.MSG.NEXT.>", func(msg *nats.Msg) {
			select {
			case inbox <- msg.Reply:
			default:
			}
		})
		must(t, err)
		sub, messages := w.lane(t, nil)
		must(t, w.nc.PublishMsg(&nats.Msg{Subject: <-inbox, Header: nats.Header{"Status": {"100"}}}))
		for range 10 {
			must(t, w.nc.Publish("_INBOX.forged", nil))
		}
		w.say(t, wish("x"), "m")
		(<-messages).Ack()
		none(t, messages)
		must(t, spy.Unsubscribe())
		must(t, sub.Close())
	})
}
