package bubble_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/embedded/bubble"
	"github.com/joinery/joinery/pkg/stream"
)

// The style of test this package exists for: half an hour of throttling, over
// the real broker, in a moment.
func TestFortyThrottledMessagesTakeHalfAnHourOfFakeTime(t *testing.T) {
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		conn, err := stream.Dial(t.Context(), b.Broker.Options("test"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.Apply(t.Context(), stream.Design([]string{"acme"}, 1)); err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			msg := message.NewMessage(fmt.Sprint("m", i), []byte("wish"))
			if err := conn.Publisher().Publish(fmt.Sprintf("joinery.command.acme.normal.%d", i), msg); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		sub := conn.Subscriber(stream.SubscriberOptions{
			Stream: stream.Commands, Durable: stream.LaneDurable("acme", "normal"), Concurrency: 8,
		})
		messages, err := sub.Subscribe(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
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
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAnAbortedHandlerLosesItsAnswerAfterItsWork(t *testing.T) {
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		worked := false
		b.Transport.Handle("acme.example", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			worked = true
			panic(http.ErrAbortHandler)
		}))
		client := http.Client{Transport: b.Transport}
		_, err := client.Post("https://acme.example/Users", "application/json", strings.NewReader("{}"))
		if err == nil || !worked {
			t.Errorf("err %v, worked %v", err, worked)
		}
	})
}

func TestStoredMessagesSurviveARestart(t *testing.T) {
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		for i := range 2 {
			conn, err := stream.Dial(t.Context(), b.Broker.Options("test"))
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Apply(t.Context(), stream.Design(nil, 1)); err != nil {
				t.Fatal(err)
			}
			duplicate, err := conn.Publisher().PublishNew("joinery.lifecycle.hr.p.e", message.NewMessage("e", nil))
			if err != nil || duplicate != (i == 1) {
				t.Errorf("start %d: duplicate %v, %v", i, duplicate, err)
			}
			conn.Close()
			if i == 0 {
				b.RestartBroker(t)
			}
		}
	})
}
