package bubble_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/embedded/bubble"
	"github.com/joinery/joinery/pkg/rate"
	"github.com/joinery/joinery/pkg/redisrate"
	"github.com/joinery/joinery/pkg/stream"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, b *bubble.Bubble) *stream.Conn {
	t.Helper()
	conn, err := stream.Dial(t.Context(), b.Broker.Options("test"))
	must(t, err)
	must(t, conn.Apply(t.Context(), stream.Design([]string{"acme"}, 1)))
	return conn
}

// The style of test this package exists for: half an hour of throttling, over
// the real broker, in a moment.
func TestFortyThrottledMessagesTakeHalfAnHourOfFakeTime(t *testing.T) {
	began := time.Now()
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		conn := dial(t, b)
		defer conn.Close()
		for i := range 40 {
			msg := message.NewMessage(fmt.Sprint("m", i), []byte("wish"))
			must(t, conn.Publisher().Publish(fmt.Sprintf("joinery.command.acme.normal.%d", i), msg))
		}
		start := time.Now()
		sub := conn.Lane("acme", "normal", 8, nil)
		messages, err := sub.Subscribe(t.Context(), "")
		must(t, err)
		for done := 0; done < 40; {
			msg := <-messages
			if wait := time.Duration(done) * 48 * time.Second; time.Since(start) < wait {
				stream.RetryAfter(msg, wait-time.Since(start))
				msg.Nack()
				continue
			}
			msg.Ack()
			done++
		}
		if took := time.Since(start); took < 30*time.Minute || took > 40*time.Minute {
			t.Errorf("took %v of fake time", took)
		}
		must(t, sub.Close())
	})
	// About a tenth of a second, but for a machine that does much else.
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %v of real time", took)
	}
}

func TestLimiterSharesTheFakeTime(t *testing.T) {
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		limiter, err := redisrate.New(b.Redis.Options())
		must(t, err)
		must(t, limiter.Configure("acme", rate.Limits{{Requests: 10, Per: time.Hour}}))
		start := time.Now()
		for range 30 {
			must(t, limiter.Wait(t.Context(), "acme", rate.Normal, 1))
		}
		if took := time.Since(start); took < 2*time.Hour || took > 6*time.Hour {
			t.Errorf("30 requests at 10 an hour took %v", took)
		}
		must(t, limiter.Close())
	})
}

func TestClientsGoOnAfterARestart(t *testing.T) {
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		conn := dial(t, b)
		defer conn.Close()
		for i := range 3 {
			duplicate, err := conn.Publisher().PublishNew("joinery.lifecycle.hr.p.e", message.NewMessage("e", nil))
			if err != nil || duplicate != (i > 0) {
				t.Errorf("start %d: there already: %v, %v", i, duplicate, err)
			}
			b.RestartBroker(t)
		}
	})
}

// Fake time runs ahead of the clock by which the broker judges ages, never
// behind it: nothing that was just stored is too old.
func TestFakeTimeBeginsNow(t *testing.T) {
	before := time.Now()
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		if now := time.Now(); now.Before(before) || now.After(before.Add(time.Hour)) {
			t.Errorf("fake time begins %v from now", now.Sub(before))
		}
		conn := dial(t, b)
		defer conn.Close()
		must(t, conn.Publisher().Publish("joinery.lifecycle.hr.p.e", message.NewMessage("e", nil)))
		time.Sleep(24 * time.Hour)
		_, err := conn.Last(t.Context(), stream.Lifecycle, "joinery.lifecycle.hr.p.e")
		must(t, err)
	})
}
