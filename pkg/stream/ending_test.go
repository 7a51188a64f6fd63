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
)

func TestCloseFinishesWhatIsOutAndGivesBackTheRest(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range 20 {
			w.say(t, wish(fmt.Sprint(i)), fmt.Sprint(i))
		}
		sub, messages := w.lane(t, nil)
		var out []*message.Message
		for range 3 { // one more is offered, and as many wait
			out = append(out, <-messages)
		}
		closed := make(chan time.Time)
		start := time.Now()
		go func() {
			must(t, sub.Close())
			closed <- time.Now()
		}()
		time.Sleep(10 * time.Second)
		for _, msg := range out {
			if msg.Context().Err() != nil {
				t.Error("a message that is being handled was cancelled")
			}
			msg.Ack()
		}
		if took := (<-closed).Sub(start); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("closed after %v", took)
		}
		if msg, ok := <-messages; ok {
			t.Errorf("got %s after the close", msg.UUID)
		}
		start = time.Now()
		next, messages := w.lane(t, func(o *stream.SubscriberOptions) { o.Concurrency = 32 })
		for range 17 {
			(<-messages).Ack()
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("the rest came after %v", took)
		}
		must(t, next.Close())
	})
}

func TestMessageThatIsNeverSettledIsGivenBackAtClose(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.say(t, wish("x"), "m")
		sub, messages := w.lane(t, func(o *stream.SubscriberOptions) { o.CloseTimeout = 5 * time.Second })
		msg := <-messages
		start := time.Now()
		must(t, sub.Close())
		if took := time.Since(start); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("closed after %v", took)
		}
		if msg.Context().Err() == nil {
			t.Error("its context did not end")
		}
		msg.Ack() // too late
		next, messages := w.lane(t, nil)
		again := <-messages
		if d := stream.DeliveryOf(again); d.Deliveries != 2 {
			t.Errorf("delivery %d", d.Deliveries)
		}
		again.Ack()
		must(t, next.Close())
	})
}

func TestSubscriptionEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.say(t, wish("x"), "m")
		sub := w.conn.Subscriber(stream.SubscriberOptions{Stream: stream.Commands, Durable: stream.LaneDurable("acme", "normal")})
		ctx, cancel := context.WithCancel(t.Context())
		messages, err := sub.Subscribe(ctx, "")
		must(t, err)
		msg := <-messages
		cancel()
		time.Sleep(time.Second)
		if msg.Context().Err() != nil {
			t.Error("a message that is being handled was cancelled")
		}
		msg.Ack()
		if _, ok := <-messages; ok {
			t.Error("another message")
		}
		again, err := sub.Subscribe(t.Context(), "")
		must(t, err)
		w.say(t, wish("y"), "n")
		(<-again).Ack()
		must(t, sub.Close())
		must(t, sub.Close())
		if _, err := sub.Subscribe(t.Context(), ""); !errors.Is(err, stream.ErrClosed) {
			t.Errorf("subscribed to a closed subscriber: %v", err)
		}
	})
}

func TestConsumerThatTheTopologyDoesNotHaveIsAnError(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		sub := w.conn.Subscriber(stream.SubscriberOptions{Stream: stream.Commands, Durable: "nobody"})
		if _, err := sub.Subscribe(t.Context(), ""); err == nil {
			t.Error("subscribed")
		}
		must(t, sub.Close())
	})
}

func TestSubscriptionGoesOnAfterTheBrokerWasAway(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.say(t, wish("out"), "out")
		sub, messages := w.lane(t, nil)
		out := <-messages
		w.settle()
		must(t, sub.Ready(t.Context()))
		w.broker.Stop()
		time.Sleep(time.Minute)
		if err := sub.Ready(t.Context()); err == nil {
			t.Error("ready without a broker")
		}
		must(t, w.broker.Start())
		time.Sleep(10 * time.Second)
		must(t, sub.Ready(t.Context()))
		w.say(t, wish("new"), "new")
		got := []string{}
		for len(got) < 2 {
			msg := <-messages
			got = append(got, msg.UUID)
			msg.Ack()
			out.Ack()
		}
		slices.Sort(got)
		// What was out is delivered again: the broker could not know of it.
		if diff := cmp.Diff([]string{"new", "out"}, got); diff != "" {
			t.Error(diff)
		}
		must(t, sub.Close())
		if n := w.pending(t, stream.Commands, stream.LaneDurable("acme", "normal")); n != 0 {
			t.Errorf("%d left", n)
		}
	})
}

func TestDeletedConsumerIsReportedUntilItIsThereAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		sub, messages := w.lane(t, nil)
		w.settle()
		must(t, w.js.DeleteConsumer(t.Context(), stream.Commands, stream.LaneDurable("acme", "normal")))
		time.Sleep(time.Minute)
		if err := sub.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("ready says %v", err)
		}
		must(t, w.conn.ApplyLanes(t.Context(), "acme"))
		w.say(t, wish("x"), "m")
		(<-messages).Ack()
		time.Sleep(10 * time.Second)
		must(t, sub.Ready(t.Context()))
		must(t, sub.Close())
	})
}

func TestTwoReplicasShareTheWork(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		one, first := w.lane(t, nil)
		two, second := w.lane(t, nil)
		seen := map[string]int{}
		for i := range 40 {
			w.say(t, wish(fmt.Sprint(i)), fmt.Sprint(i))
		}
		for len(seen) < 40 {
			select {
			case msg := <-first:
				seen[msg.UUID]++
				msg.Ack()
			case msg := <-second:
				seen[msg.UUID]++
				msg.Ack()
			}
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s came %d times", id, n)
			}
		}
		must(t, one.Close())
		must(t, two.Close())
	})
}
