package wire_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/embedded/bubble"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/wire"
)

// woken is a wake-up that came: for whom, due when, how late.
type woken struct {
	id   string
	due  time.Time
	late time.Duration
}

// sleeper runs a test whose wake-ups are collected.
func sleeper(t *testing.T, fn func(t *testing.T, b *bubble.Bubble, outbox wire.Outbox, got func() []woken)) {
	t.Helper()
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		conn, err := stream.Dial(t.Context(), b.Broker.Options("test"))
		must(t, err)
		defer conn.Close()
		must(t, conn.Apply(t.Context(), stream.Design(nil, 1)))
		subscriber := conn.Subscriber(stream.SubscriberOptions{Stream: stream.Schedules, Durable: "mapper-wakes", Concurrency: 8})
		messages, err := subscriber.Subscribe(t.Context(), "")
		must(t, err)
		var all []woken
		done := make(chan struct{})
		go func() {
			defer close(done)
			for msg := range messages {
				_, w, err := wire.DecodeWake(msg)
				if err != nil {
					t.Error(err)
				}
				ids, done, err := wire.NewDiary(conn).Due(msg.Context(), w)
				if err != nil {
					t.Error(err)
				}
				for _, id := range ids {
					all = append(all, woken{id, w.Due, time.Since(w.Due)})
				}
				if err := done(msg.Context()); err != nil {
					t.Error(err)
				}
				msg.Ack()
			}
		}()
		fn(t, b, wire.NewOutbox(conn.Publisher()), func() []woken {
			synctest.Wait()
			return all
		})
		must(t, subscriber.Close())
		<-done
		left, err := conn.Count(t.Context(), stream.Schedules, ">")
		must(t, err)
		if left != 0 {
			t.Errorf("%d messages are left", left)
		}
	})
}

func TestAWakeUpComesWithinASecondAndOnceHoweverOftenItWasAskedFor(t *testing.T) {
	sleeper(t, func(t *testing.T, _ *bubble.Bubble, outbox wire.Outbox, got func() []woken) {
		due := time.Now().Add(5 * time.Minute).Truncate(time.Second).UTC()
		for range 3 {
			must(t, outbox.Wake(t.Context(), "ann", due))
		}
		must(t, outbox.Wake(t.Context(), "ann", due.Add(time.Minute)))
		must(t, outbox.Wake(t.Context(), "bob", due.Add(-time.Hour))) // it should have come long ago
		<-time.After(10 * time.Minute)
		var whom []string
		for _, w := range got() {
			whom = append(whom, w.id+" "+w.due.Sub(due).String())
			if w.id == "ann" && (w.late < 0 || w.late > time.Second) {
				t.Errorf("%s late", w.late)
			}
		}
		if diff := cmp.Diff([]string{"bob -1h0m0s", "ann 0s", "ann 1m0s"}, whom); diff != "" {
			t.Error(diff)
		}
		must(t, outbox.Wake(t.Context(), "ann", due)) // again, now that it came
		<-time.After(time.Minute)
		if n := len(got()); n != 4 {
			t.Errorf("%d wake-ups", n)
		}
	})
}

func TestAWakeUpSurvivesTheBrokersRestartAndComesEvenWhenItWasDown(t *testing.T) {
	sleeper(t, func(t *testing.T, b *bubble.Bubble, outbox wire.Outbox, got func() []woken) {
		due := time.Now().Add(5 * time.Minute).Truncate(time.Second).UTC()
		must(t, outbox.Wake(t.Context(), "ann", due))
		must(t, outbox.Wake(t.Context(), "bob", due.Add(10*time.Minute)))
		b.Broker.Stop()
		<-time.After(6 * time.Minute)
		must(t, b.Broker.Start())
		<-time.After(15 * time.Minute)
		var whom []string
		for _, w := range got() {
			whom = append(whom, w.id)
		}
		if diff := cmp.Diff([]string{"ann", "bob"}, whom); diff != "" {
			t.Error(diff)
		}
	})
}
