package stream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/stream"
)

// lane subscribes to the commands of acme's normal lane, one at a time for each
// identity.
func (w *world) lane(t *testing.T, change func(*stream.SubscriberOptions)) (*stream.Subscriber, <-chan *message.Message) {
	t.Helper()
	o := stream.SubscriberOptions{
		Stream: stream.Commands, Durable: stream.LaneDurable("acme", "normal"), Concurrency: 4,
		Key: func(subject string) string { return stream.Token(subject, 4) },
	}
	if change != nil {
		change(&o)
	}
	sub := w.conn.Subscriber(o)
	messages, err := sub.Subscribe(t.Context(), "")
	must(t, err)
	return sub, messages
}

// letters subscribes to dead letters, of which a subject keeps many.
func (w *world) letters(t *testing.T, change func(*stream.SubscriberOptions)) (*stream.Subscriber, <-chan *message.Message) {
	t.Helper()
	return w.lane(t, func(o *stream.SubscriberOptions) {
		o.Stream, o.Durable, o.Key = stream.DeadLetters, "desk", func(subject string) string { return subject }
		if change != nil {
			change(o)
		}
	})
}

func wish(who string) string   { return "joinery.command.acme.normal." + who }
func letter(who string) string { return "joinery.deadletter.acme." + who }

// pending is what a consumer has not settled.
func (w *world) pending(t *testing.T, name, durable string) uint64 {
	t.Helper()
	waiting, inFlight, err := w.conn.Backlog(t.Context(), name, durable)
	must(t, err)
	return waiting + inFlight
}

// none fails if a message is there to be had now.
func none(t *testing.T, messages <-chan *message.Message) {
	t.Helper()
	synctest.Wait()
	select {
	case msg, ok := <-messages:
		if ok {
			t.Errorf("got %s", msg.UUID)
		}
	default:
	}
}

func TestMessageArrivesWithWhereItCameFrom(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		sub, messages := w.lane(t, nil)
		stored := time.Now()
		w.say(t, wish("x"), "m")
		msg := <-messages
		got := stream.DeliveryOf(msg)
		if age := got.Stored.Sub(stored).Abs(); age > time.Second {
			t.Errorf("stored %v from now", age)
		}
		got.Stored = time.Time{}
		want := stream.Delivery{Stream: stream.Commands, Subject: wish("x"), Sequence: 1, Deliveries: 1}
		if diff := cmp.Diff(want, got); diff != "" || msg.UUID != "m" {
			t.Errorf("%s: %s", msg.UUID, diff)
		}
		msg.Nack()
		if again := stream.DeliveryOf(<-messages); again.Deliveries != 2 {
			t.Errorf("delivery %d", again.Deliveries)
		}
		if other := stream.DeliveryOf(message.NewMessage("x", nil)); other != (stream.Delivery{}) {
			t.Errorf("of a message that came from nowhere: %v", other)
		}
		stream.RetryAfter(message.NewMessage("x", nil), time.Second) // nothing to remember it by
		must(t, sub.Close())
	})
}

func TestNoMoreThanConcurrencyAreOut(t *testing.T) {
	for _, keyed := range []bool{true, false} {
		t.Run(fmt.Sprint("keyed ", keyed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				for i := range 20 {
					w.say(t, wish(fmt.Sprint(i)), fmt.Sprint(i))
				}
				sub, messages := w.lane(t, func(o *stream.SubscriberOptions) {
					if !keyed {
						o.Key = nil
					}
				})
				var out []*message.Message
				for range 4 {
					out = append(out, <-messages)
				}
				time.Sleep(time.Minute)
				none(t, messages)
				out[2].Ack()
				<-messages
				none(t, messages)
				for _, msg := range out {
					msg.Ack()
				}
				for range 15 {
					(<-messages).Ack()
				}
				must(t, sub.Close())
			})
		})
	}
}

func TestOneKeyIsWorkedInOrderWhileOthersGoOn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range 3 {
			w.say(t, letter("slow"), fmt.Sprint("slow-", i))
		}
		w.say(t, letter("a"), "a")
		w.say(t, letter("b"), "b")
		sub, messages := w.letters(t, nil)
		first := map[string]*message.Message{}
		for range 3 {
			msg := <-messages
			first[msg.UUID] = msg
		}
		if diff := cmp.Diff([]string{"a", "b", "slow-0"}, slices.Sorted(maps.Keys(first))); diff != "" {
			t.Error(diff)
		}
		time.Sleep(time.Minute)
		none(t, messages)
		first["slow-0"].Ack()
		for _, want := range []string{"slow-1", "slow-2"} {
			msg := <-messages
			if msg.UUID != want {
				t.Errorf("got %s, want %s", msg.UUID, want)
			}
			none(t, messages)
			msg.Ack()
		}
		first["a"].Ack()
		first["b"].Ack()
		must(t, sub.Close())
		if n := w.pending(t, stream.DeadLetters, "desk"); n != 0 {
			t.Errorf("%d left", n)
		}
	})
}

// Far longer than the broker waits for a sign of life, in the handler and
// behind it.
func TestSlowHandlerKeepsItsMessageAndThoseBehindIt(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range 3 {
			w.say(t, letter("x"), fmt.Sprint(i))
		}
		sub, messages := w.letters(t, nil)
		for i := range 3 {
			msg := <-messages
			time.Sleep(5 * time.Minute)
			if d := stream.DeliveryOf(msg); d.Deliveries != 1 || msg.UUID != fmt.Sprint(i) {
				t.Errorf("%s for the %dth time", msg.UUID, d.Deliveries)
			}
			none(t, messages)
			msg.Ack()
		}
		time.Sleep(5 * time.Minute)
		none(t, messages)
		must(t, sub.Close())
	})
}

func TestRefusedMessageComesAgainWhenItsHandlerSaid(t *testing.T) {
	for _, row := range []struct {
		name        string
		say         time.Duration
		least, most time.Duration
	}{
		{"an hour", time.Hour, time.Hour, time.Hour + time.Second},
		{"soon", 50 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond},
		{"nothing", 0, time.Second, 1600 * time.Millisecond},
		{"nonsense", -time.Hour, time.Second, 1600 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.say(t, wish("x"), "m")
				sub, messages := w.lane(t, nil)
				for range 3 {
					msg := <-messages
					start := time.Now()
					if row.say != 0 {
						stream.RetryAfter(msg, row.say)
					}
					msg.Nack()
					(<-messages).Nack()
					if took := time.Since(start); took < row.least || took > row.most {
						t.Errorf("after %v", took)
					}
				}
				must(t, sub.Close())
			})
		})
	}
}

// A handler that always fails is not asked again in a loop.
func TestPoisonMessageIsNoHotLoop(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.say(t, wish("poison"), "poison")
		w.say(t, wish("fine"), "fine")
		sub, messages := w.lane(t, nil)
		tries, fine := 0, 0
		for end := time.After(time.Minute); tries >= 0; {
			select {
			case msg := <-messages:
				if msg.UUID == "fine" {
					fine++
					msg.Ack()
					continue
				}
				tries++
				msg.Nack()
				continue
			case <-end:
			}
			break
		}
		if tries < 30 || tries > 60 || fine != 1 {
			t.Errorf("tried %d times in a minute; the other came %d times", tries, fine)
		}
		must(t, sub.Close())
	})
}

// What waits behind a refused message comes back after it, but not after a long
// pause: it may be what mends it.
func TestRefusedMessageTakesThoseBehindItAlong(t *testing.T) {
	for pause, want := range map[time.Duration][]string{
		time.Second: {"0 after 1s", "1 after 1.5s", "2 after 1.5s"},
		time.Hour:   {"1 after 2s", "2 after 2s", "0 after 1h0m0s"},
	} {
		t.Run(pause.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				for i := range 3 {
					w.say(t, letter("x"), fmt.Sprint(i))
				}
				sub, messages := w.letters(t, nil)
				msg := <-messages
				w.settle()
				start := time.Now()
				stream.RetryAfter(msg, pause)
				msg.Nack()
				var got []string
				for range 3 {
					msg := <-messages
					got = append(got, fmt.Sprintf("%s after %v", msg.UUID, time.Since(start).Round(100*time.Millisecond)))
					msg.Ack()
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				must(t, sub.Close())
			})
		})
	}
}

func TestNothingIsFetchedBeforeItIsAdmitted(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range 3 {
			w.say(t, wish(fmt.Sprint(i)), fmt.Sprint(i))
		}
		var mu sync.Mutex
		open := make(chan struct{})
		gate := func(ctx context.Context) error {
			mu.Lock()
			opened := open
			mu.Unlock()
			select {
			case <-opened:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		sub, messages := w.lane(t, func(o *stream.SubscriberOptions) { o.Admit = gate })
		time.Sleep(time.Hour)
		none(t, messages)
		consumer, err := w.js.Consumer(t.Context(), stream.Commands, stream.LaneDurable("acme", "normal"))
		must(t, err)
		if info := consumer.CachedInfo(); info.NumAckPending != 0 || info.NumWaiting != 0 {
			t.Errorf("%d delivered, %d asked for", info.NumAckPending, info.NumWaiting)
		}
		close(open)
		for range 3 {
			(<-messages).Ack()
		}
		mu.Lock()
		open = make(chan struct{})
		mu.Unlock()
		time.Sleep(10 * time.Second) // what was asked for before is over
		w.say(t, wish("late"), "late")
		time.Sleep(time.Hour)
		none(t, messages)
		must(t, sub.Close())
	})
}

func TestGateThatFailsIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.say(t, wish("x"), "m")
		asked := 0
		sub, messages := w.lane(t, func(o *stream.SubscriberOptions) {
			o.Admit = func(context.Context) error {
				if asked++; asked < 4 {
					return errors.New("limiter is down")
				}
				return nil
			}
		})
		(<-messages).Ack()
		must(t, sub.Close())
	})
}

// Every message is settled exactly once whatever its handlers do, and messages
// of one key never overlap.
func TestManyKeysManyRefusalsNothingLost(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		const keys, each = 20, 10
		for i := range each {
			for k := range keys {
				w.say(t, letter(fmt.Sprint("k", k)), fmt.Sprintf("k%d-%d", k, i))
			}
		}
		sub, messages := w.letters(t, func(o *stream.SubscriberOptions) { o.Concurrency = 8 })
		var mu sync.Mutex
		busy, done := map[string]bool{}, map[string]bool{}
		var handlers sync.WaitGroup
		finished := make(chan struct{})
		for range 8 {
			handlers.Go(func() {
				for msg := range messages {
					key := stream.DeliveryOf(msg).Subject
					mu.Lock()
					if busy[key] {
						t.Errorf("two of %s at once", key)
					}
					busy[key] = true
					mu.Unlock()
					time.Sleep(time.Duration(stream.DeliveryOf(msg).Sequence%7) * 100 * time.Millisecond)
					mu.Lock()
					busy[key] = false
					refuse := (stream.DeliveryOf(msg).Sequence+stream.DeliveryOf(msg).Deliveries)%4 == 0
					if !refuse {
						if done[msg.UUID] = true; len(done) == keys*each {
							close(finished)
						}
					}
					mu.Unlock()
					if refuse {
						msg.Nack()
					} else {
						msg.Ack()
					}
				}
			})
		}
		<-finished
		must(t, sub.Close())
		handlers.Wait()
		if n := w.pending(t, stream.DeadLetters, "desk"); n != 0 {
			t.Errorf("%d left", n)
		}
	})
}

func TestLaneIsAQueueOfItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		admitted := 0
		urgent := w.conn.Lane("acme", "urgent", 2, func(context.Context) error { admitted++; return nil })
		messages, err := urgent.Subscribe(t.Context(), "")
		must(t, err)
		w.say(t, wish("x"), "normal")
		w.say(t, "joinery.command.acme.urgent.x", "leaver")
		if msg := <-messages; msg.UUID != "leaver" || !msg.Ack() {
			t.Errorf("got %s", msg.UUID)
		}
		none(t, messages)
		must(t, urgent.Close())
		if admitted == 0 {
			t.Error("nobody was asked")
		}
	})
}
