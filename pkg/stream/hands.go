package stream

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// hands holds the messages that a subscription was given and has not settled.
//
//	in hand   at most Concurrency, or twice that with keys, so that a busy key
//	          does not keep the others from being worked
//	out       at most Concurrency, and one of each key
//
// Everything in hand is kept alive at the broker by heartbeats. A message leaves
// exactly once: acknowledged, terminated or given back.
type hands struct {
	options SubscriberOptions
	log     *slog.Logger
	nc      *nats.Conn
	out     chan *message.Message
	// fetching ends when nothing new is wanted; handling ends when even what is
	// out is given back.
	fetching context.Context
	handling context.Context
	giveUp   context.CancelFunc
	places   chan struct{} // one for each message in hand
	turns    chan struct{} // one for each message that is out
	busy     sync.WaitGroup
	beating  chan struct{}

	mu     sync.Mutex
	held   map[*nats.Msg]struct{}
	queues map[string][]*nats.Msg // by key; present while the key is worked
}

func newHands(fetching context.Context, nc *nats.Conn, o SubscriberOptions, ackWait time.Duration) *hands {
	// Handlers outlive fetching: what is out is finished.
	handling, giveUp := context.WithCancel(context.WithoutCancel(fetching))
	places := o.Concurrency
	if o.Key != nil {
		places *= 2
	}
	h := &hands{
		options: o, log: o.Log, nc: nc, out: make(chan *message.Message), fetching: fetching, handling: handling, giveUp: giveUp,
		places: make(chan struct{}, places), turns: make(chan struct{}, o.Concurrency), beating: make(chan struct{}),
		held: map[*nats.Msg]struct{}{}, queues: map[string][]*nats.Msg{},
	}
	go h.keepAlive(ackWait / 3)
	return h
}

// reserve waits for one place, and tells whether it got it before fetching ended.
func (h *hands) reserve() bool {
	select {
	case h.places <- struct{}{}:
		return true
	case <-h.fetching.Done():
		return false
	}
}

// reserveMore takes the places that are free, up to n.
func (h *hands) reserveMore(n int) int {
	for got := range n {
		select {
		case h.places <- struct{}{}:
		default:
			return got
		}
	}
	return n
}

func (h *hands) release(n int) {
	for range n {
		<-h.places
	}
}

// take accepts a message into a place that was reserved for it, or into a free
// one if it came unasked. It never blocks.
func (h *hands) take(msg *nats.Msg, asked bool) {
	if _, err := msg.Metadata(); err != nil {
		h.log.Warn("message ignored that no stream delivered", "consumer", h.options.Durable, "error", err)
		if asked {
			h.release(1)
		}
		return
	}
	if !asked && h.reserveMore(1) == 0 {
		h.refuse(msg, h.options.Pause)
		return
	}
	if h.fetching.Err() != nil {
		h.refuse(msg, 0)
		h.release(1)
		return
	}
	h.busy.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[msg] = struct{}{}
	if h.options.Key == nil {
		go h.serve(msg)
		return
	}
	key := h.options.Key(msg.Subject)
	queue, worked := h.queues[key]
	h.queues[key] = append(queue, msg)
	if !worked {
		go h.work(key)
	}
}

// followPause bounds the pause of messages that waited behind a refused one:
// long enough not to overtake an ordinary retry, and no longer, because the
// newer message may be what mends the older.
const followPause = 2 * time.Second

// work serves one key's queue until it is empty. What waits behind a message
// that was refused goes back too.
func (h *hands) work(key string) {
	refused, pause := false, time.Duration(0)
	for {
		msg := h.next(key)
		switch {
		case msg == nil:
			return
		case refused:
			h.giveBack(msg, min(pause+pause/2, followPause))
		default:
			pause, refused = h.serve(msg)
		}
	}
}

func (h *hands) next(key string) *nats.Msg {
	h.mu.Lock()
	defer h.mu.Unlock()
	queue := h.queues[key]
	if len(queue) == 0 {
		delete(h.queues, key)
		return nil
	}
	h.queues[key] = queue[1:]
	return queue[0]
}

// serve gives one message out when its turn comes, and settles it. It tells
// whether the message comes again, and after what pause.
func (h *hands) serve(raw *nats.Msg) (pause time.Duration, again bool) {
	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	case <-h.fetching.Done(): // nobody has begun with it: somebody else may
		return h.giveBack(raw, 0)
	}
	stored, s, err := h.open(raw)
	if err != nil && h.options.Undecodable != nil {
		return h.report(raw, stored, err)
	}
	msg := stored.Message
	defer s.attach(h.handling, msg)()
	select {
	case h.out <- msg:
	case <-h.fetching.Done():
		return h.giveBack(raw, 0)
	}
	select {
	case <-msg.Acked():
		return h.settle(raw, "+ACK")
	case <-msg.Nacked():
		return h.giveBack(raw, s.pause(h.options.Pause))
	case <-h.handling.Done():
		h.log.Warn("message given back unsettled at close", "consumer", h.options.Durable)
		return h.giveBack(raw, 0)
	}
}

func (h *hands) open(raw *nats.Msg) (Stored, *settlement, error) {
	meta, err := raw.Metadata()
	if err != nil { // checked when it was taken
		return Stored{}, nil, fmt.Errorf("read where a message comes from: %w", err)
	}
	msg, err := decode(raw, idAt(meta.Stream, meta.Sequence.Stream))
	s := &settlement{delivery: Delivery{
		Stream: meta.Stream, Subject: raw.Subject, Sequence: meta.Sequence.Stream,
		Deliveries: meta.NumDelivered, Stored: meta.Timestamp,
	}}
	return Stored{
		Stream: meta.Stream, Subject: raw.Subject, Sequence: meta.Sequence.Stream, Time: meta.Timestamp, Message: msg,
	}, s, err
}

// report hands a message that cannot be decoded to whoever decides about it.
func (h *hands) report(raw *nats.Msg, stored Stored, why error) (pause time.Duration, again bool) {
	if err := h.undecodable(stored, why); err != nil {
		h.log.Warn("undecodable message not reported; it will come again", "consumer", h.options.Durable,
			"sequence", stored.Sequence, "error", err)
		return h.giveBack(raw, (&settlement{}).pause(h.options.Pause))
	}
	return h.settle(raw, "+TERM undecodable")
}

func (h *hands) undecodable(stored Stored, why error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return h.options.Undecodable(h.handling, stored, why)
}

// settle ends a message and waits for the broker to confirm. If it cannot, the
// message comes again, which handlers must bear anyway.
func (h *hands) settle(raw *nats.Msg, verdict string) (pause time.Duration, again bool) {
	h.drop(raw)
	defer h.free()
	ctx, cancel := bounded(context.WithoutCancel(h.handling)) // an answer that is ready is not lost to a shutdown
	defer cancel()
	if _, err := h.nc.RequestWithContext(ctx, raw.Reply, []byte(verdict)); err != nil {
		h.log.Warn("message not settled; it will come again", "consumer", h.options.Durable, "error", err)
	}
	return 0, false
}

// giveBack makes a message come again after a pause.
func (h *hands) giveBack(raw *nats.Msg, after time.Duration) (pause time.Duration, again bool) {
	h.drop(raw)
	h.refuse(raw, after)
	h.free()
	return after, true
}

func (h *hands) refuse(raw *nats.Msg, after time.Duration) {
	verdict := "-NAK"
	if after > 0 {
		verdict = fmt.Sprintf(`-NAK {"delay": %d}`, after.Nanoseconds())
	}
	if err := h.nc.Publish(raw.Reply, []byte(verdict)); err != nil {
		h.log.Warn("message not given back; it comes again when its time is up", "consumer", h.options.Durable, "error", err)
	}
}

// drop ends the heartbeats of a message. A heartbeat after a refusal would undo
// its pause.
func (h *hands) drop(raw *nats.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, raw)
}

func (h *hands) free() {
	h.release(1)
	h.busy.Done()
}

// keepAlive tells the broker that everything in hand is being worked on.
func (h *hands) keepAlive(every time.Duration) {
	defer close(h.beating)
	beat := time.NewTicker(every)
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
			h.beat()
		case <-h.handling.Done():
			return
		}
	}
}

func (h *hands) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for msg := range h.held {
		if err := h.nc.Publish(msg.Reply, []byte("+WPI")); err != nil {
			h.log.Warn("heartbeat not sent", "consumer", h.options.Durable, "error", err)
			return
		}
	}
}

// finish waits for what is out, gives back what is not settled in time, and
// closes the channel. Nothing may be taken after it.
func (h *hands) finish() {
	done := make(chan struct{})
	go func() {
		h.busy.Wait()
		close(done)
	}()
	timeout := time.NewTimer(h.options.CloseTimeout)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	}
	h.giveUp()
	<-done
	<-h.beating
	close(h.out)
}
