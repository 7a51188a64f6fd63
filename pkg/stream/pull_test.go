package stream

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
)

// pulling is a puller whose broker we play ourselves: requests come to us, and
// we say what is answered.
type pulling struct {
	*puller
	broker   *nats.Conn
	requests chan *nats.Msg
	came     []string
}

// play runs a puller in a bubble.
func play(t *testing.T, fn func(t *testing.T, p *pulling)) {
	t.Helper()
	ats.Register()
	defer ats.Unregister()
	// The client pools its timers; those of one bubble are fatal to the next.
	defer runtime.GC()
	defer runtime.GC()
	synctest.Test(t, func(t *testing.T) {
		s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
		check(t, err)
		s.Start()
		defer s.WaitForShutdown()
		defer s.Shutdown()
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("not ready")
		}
		ours, err := nats.Connect("", nats.InProcessServer(s))
		check(t, err)
		defer ours.Close()
		p := &pulling{requests: make(chan *nats.Msg, 16)}
		p.broker, err = nats.Connect("", nats.InProcessServer(s))
		check(t, err)
		defer p.broker.Close()
		_, err = p.broker.ChanSubscribe(api+"CONSUMER.MSG.NEXT.S.d", p.requests)
		check(t, err)
		p.settle()
		p.puller, err = newPuller(ours, "S", "d", func(msg *nats.Msg, asked bool) {
			p.came = append(p.came, fmt.Sprintf("%s asked %v", msg.Subject, asked))
		})
		check(t, err)
		p.settle()
		fn(t, p)
		p.drain()
	})
}

func (p *pulling) settle() {
	time.Sleep(10 * time.Millisecond)
	synctest.Wait()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer says something about a request.
func (p *pulling) answer(t *testing.T, to *nats.Msg, status, description string) {
	t.Helper()
	check(t, p.broker.PublishMsg(&nats.Msg{Subject: to.Reply, Header: nats.Header{"Status": {status}, "Description": {description}}}))
}

type outcome struct {
	left int
	err  error
	took time.Duration
}

// ask sends a request for n messages.
func (p *pulling) ask(ctx context.Context, n int) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		start := time.Now()
		left, err := p.pull(ctx, n)
		done <- outcome{left, err, time.Since(start).Round(time.Second)}
	}()
	return done
}

func TestRequestEndsAsTheBrokerSays(t *testing.T) {
	for _, row := range []struct {
		status, description, want string
	}{
		{"404", "No Messages", ""},
		{"408", "Request Timeout", ""},
		{"409", "Batch Completed", ""},
		{"409", "Consumer Deleted", "the broker answered 409 Consumer Deleted"},
		{"409", "Leadership Change", "the broker answered 409 Leadership Change"},
		{"503", "", "nobody answers for the consumer"},
		{"418", "Teapot", "the broker answered 418 Teapot"},
	} {
		t.Run(row.status+" "+row.description, func(t *testing.T) {
			play(t, func(t *testing.T, p *pulling) {
				done := p.ask(t.Context(), 3)
				p.answer(t, <-p.requests, row.status, row.description)
				got := <-done
				if got.left != 3 || got.took != 0 || (got.err == nil) != (row.want == "") {
					t.Errorf("%+v", got)
				}
				if got.err != nil && !strings.Contains(got.err.Error(), row.want) {
					t.Errorf("says %v", got.err)
				}
			})
		})
	}
}

func TestHeartbeatsKeepARequestAliveAndSilenceEndsIt(t *testing.T) {
	play(t, func(t *testing.T, p *pulling) {
		done := p.ask(t.Context(), 1)
		request := <-p.requests
		if want := `{"batch":1,"expires":5000000000,"idle_heartbeat":1000000000}`; string(request.Data) != want {
			t.Errorf("asked %s", request.Data)
		}
		for range 10 {
			time.Sleep(2 * time.Second)
			p.answer(t, request, "100", "Idle Heartbeat")
		}
		got := <-done
		if !errors.Is(got.err, errSilent) || got.took != 23*time.Second || got.left != 1 {
			t.Errorf("%+v", got)
		}
	})
}

func TestRequestEndsWithItsLastMessageOrItsContext(t *testing.T) {
	play(t, func(t *testing.T, p *pulling) {
		done := p.ask(t.Context(), 2)
		<-p.requests
		for range 2 {
			p.send("a")
		}
		if got := <-done; got != (outcome{}) {
			t.Errorf("all came: %+v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done = p.ask(ctx, 2)
		<-p.requests
		p.send("b")
		p.settle()
		cancel()
		if got := <-done; got != (outcome{left: 1}) {
			t.Errorf("cut short: %+v", got)
		}
		p.send("late")
		p.settle()
		want := []string{"a asked true", "a asked true", "b asked true", "late asked false"}
		if diff := cmp.Diff(want, p.came); diff != "" {
			t.Error(diff)
		}
	})
}

// send delivers a message as a stream does: under the subject it was stored
// with, to the subscription that asked for it.
func (p *pulling) send(subject string) {
	p.receive(&nats.Msg{Subject: subject, Reply: "$JS.ACK.S.d.1.1.1.1.0"})
}

func TestAnswerToAnEarlierRequestIsNotTakenForThisOne(t *testing.T) {
	play(t, func(t *testing.T, p *pulling) {
		ctx, cancel := context.WithCancel(t.Context())
		done := p.ask(ctx, 1)
		first := <-p.requests
		cancel()
		<-done
		p.answer(t, first, "409", "Consumer Deleted") // nobody waits for it
		done = p.ask(t.Context(), 1)
		second := <-p.requests
		p.answer(t, first, "409", "Consumer Deleted")
		p.settle()
		p.answer(t, second, "408", "Request Timeout")
		p.answer(t, second, "409", "Consumer Deleted") // it is over
		if got := <-done; got != (outcome{left: 1}) {
			t.Errorf("%+v", got)
		}
	})
}

func TestNothingIsAskedOfABrokerThatIsAway(t *testing.T) {
	play(t, func(t *testing.T, p *pulling) {
		p.nc.Close()
		left, err := p.pull(t.Context(), 5)
		if left != 5 || !errors.Is(err, errDisconnected) {
			t.Errorf("%d, %v", left, err)
		}
	})
}

func TestPauseAfterFailuresGrowsToItsBound(t *testing.T) {
	var got []time.Duration
	for failures := 1; failures < 8; failures++ {
		got = append(got, pullPause(failures))
	}
	ms := time.Millisecond
	if diff := cmp.Diff([]time.Duration{200 * ms, 400 * ms, 800 * ms, 1600 * ms, 2000 * ms, 2000 * ms, 2000 * ms}, got); diff != "" {
		t.Error(diff)
	}
}
