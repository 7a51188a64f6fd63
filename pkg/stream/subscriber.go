package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// SubscriberOptions say which consumer to work, and how.
type SubscriberOptions struct {
	Stream  string
	Durable string
	// Concurrency bounds the messages that are out at a time.
	Concurrency int
	// Key groups subjects: messages of one key are given out one by one, in
	// order. nil means no order.
	Key func(subject string) string
	// Admit is asked before each fetch and waits until messages are wanted.
	Admit func(ctx context.Context) error
	// CloseTimeout is how long messages that are out may take to be settled once
	// the subscription ends; then they are given back. Default 30 s.
	CloseTimeout time.Duration
	Log          *slog.Logger
}

// Subscriber implements message.Subscriber over one durable pull consumer. The
// topic of Subscribe is a label only: the consumer decides what comes.
type Subscriber struct {
	conn    *Conn
	options SubscriberOptions
	mu      sync.Mutex
	closed  bool
	closing chan struct{}
	active  sync.WaitGroup
}

// Subscriber makes a subscriber; the consumer must be in the topology.
func (c *Conn) Subscriber(o SubscriberOptions) *Subscriber {
	o.Concurrency = max(o.Concurrency, 1)
	if o.CloseTimeout == 0 {
		o.CloseTimeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = c.log
	}
	return &Subscriber{conn: c, options: o, closing: make(chan struct{})}
}

// ErrClosed: the subscriber was closed.
var ErrClosed = errors.New("subscriber is closed")

// Subscribe gives messages until ctx ends or the subscriber is closed. Every
// message must be acknowledged or refused. The channel is closed when the last
// one is settled.
func (s *Subscriber) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	consumer, err := s.conn.js.Consumer(ctx, s.options.Stream, s.options.Durable)
	if err != nil {
		return nil, fmt.Errorf("open consumer %s: %w", s.options.Durable, err)
	}
	run := &subscription{
		options: s.options, consumer: consumer, out: make(chan *message.Message),
		slots: make(chan struct{}, s.options.Concurrency), queues: map[string][]jetstream.Msg{},
	}
	fetching, stop := context.WithCancel(ctx)
	s.active.Add(1)
	go func() {
		defer s.active.Done()
		defer stop()
		run.work(fetching)
	}()
	go func() {
		select {
		case <-s.closing:
			stop()
		case <-fetching.Done():
		}
	}()
	return run.out, nil
}

// Close stops fetching, waits for the messages that are out, and gives back
// what is not settled in time.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	s.active.Wait()
	return nil
}

// subscription is one call of Subscribe at work.
type subscription struct {
	options  SubscriberOptions
	consumer jetstream.Consumer
	out      chan *message.Message
	slots    chan struct{}
	inFlight sync.WaitGroup

	mu     sync.Mutex
	queues map[string][]jetstream.Msg // by key; present while the key is busy
}

// Pull settings: a lost pull request otherwise silences a consumer for half a
// minute (nats.go issue 1621).
const (
	pullExpiry    = 5 * time.Second
	pullHeartbeat = time.Second
	maxPull       = 100
	fetchPause    = time.Second
)

// work fetches and gives out until fetching ends, then drains.
func (r *subscription) work(fetching context.Context) {
	// Handlers outlive fetching: what is in hand is finished.
	handling, cancel := context.WithCancel(context.WithoutCancel(fetching))
	for fetching.Err() == nil {
		if r.options.Admit != nil && r.options.Admit(fetching) != nil {
			break
		}
		free := r.acquire(fetching)
		if free == 0 {
			break
		}
		r.fetch(fetching, handling, free)
	}
	done := make(chan struct{})
	go func() {
		r.inFlight.Wait()
		close(done)
	}()
	timeout := time.NewTimer(r.options.CloseTimeout)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		r.options.Log.Warn("messages given back unsettled at close", "consumer", r.options.Durable)
	}
	cancel()
	<-done
	close(r.out)
}

// acquire waits for one free slot, and takes all that are free up to maxPull.
func (r *subscription) acquire(ctx context.Context) int {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for n := 1; ; n++ {
		if n == maxPull {
			return n
		}
		select {
		case r.slots <- struct{}{}:
		default:
			return n
		}
	}
}

func (r *subscription) release(n int) {
	for range n {
		<-r.slots
	}
}

// fetch asks for as many messages as there are slots, and starts each as it
// comes. Slots that brought nothing are freed.
func (r *subscription) fetch(fetching, handling context.Context, slots int) {
	pull, cancel := context.WithTimeout(fetching, pullExpiry)
	defer cancel()
	batch, err := r.consumer.Fetch(slots, jetstream.FetchContext(pull), jetstream.FetchHeartbeat(pullHeartbeat))
	started := 0
	if err == nil {
		for msg := range batch.Messages() {
			r.start(handling, fetching, msg)
			started++
		}
		err = batch.Error()
	}
	r.release(slots - started)
	if err == nil || expected(err) || fetching.Err() != nil {
		return
	}
	r.options.Log.Warn("fetch failed", "consumer", r.options.Durable, "error", err)
	pause := time.NewTimer(fetchPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-fetching.Done():
	}
}

func expected(err error) bool {
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled) || errors.Is(err, jetstream.ErrNoHeartbeat)
}

// start hands a message to its key's queue, and works the queue if nobody does.
func (r *subscription) start(handling, fetching context.Context, msg jetstream.Msg) {
	r.inFlight.Add(1)
	if r.options.Key == nil {
		go r.handle(handling, fetching, msg)
		return
	}
	key := r.options.Key(msg.Subject())
	r.mu.Lock()
	queue, busy := r.queues[key]
	r.queues[key] = append(queue, msg)
	r.mu.Unlock()
	if !busy {
		go r.drain(handling, fetching, key)
	}
}

// drain works one key's queue until it is empty. What waits behind a message
// that was refused goes back too, so that nothing overtakes.
func (r *subscription) drain(handling, fetching context.Context, key string) {
	refused := false
	for {
		r.mu.Lock()
		queue := r.queues[key]
		if len(queue) == 0 {
			delete(r.queues, key)
			r.mu.Unlock()
			return
		}
		msg := queue[0]
		r.queues[key] = queue[1:]
		r.mu.Unlock()
		if refused {
			r.giveBack(msg, followPause)
			continue
		}
		refused = !r.handle(handling, fetching, msg)
	}
}

// followPause is when messages come again that waited behind a refused one.
const followPause = 2 * time.Second

func (r *subscription) giveBack(msg jetstream.Msg, pause time.Duration) {
	if err := msg.NakWithDelay(pause); err != nil {
		r.options.Log.Warn("message not given back", "consumer", r.options.Durable, "error", err)
	}
	r.inFlight.Done()
	r.release(1)
}

// handle gives one message out and settles it. It tells whether the message
// was acknowledged.
func (r *subscription) handle(handling, fetching context.Context, raw jetstream.Msg) bool {
	msg, settlement := r.message(handling, raw)
	defer settlement.cancel()
	beat := time.NewTicker(ackWait / 3)
	defer beat.Stop()
	given, stopped := r.out, fetching.Done()
	for {
		select {
		case given <- msg:
			given, stopped = nil, nil
		case <-stopped: // nobody took it: somebody else may
			r.giveBack(raw, 0)
			return false
		case <-beat.C:
			_ = raw.InProgress()
		case <-msg.Acked():
			r.acknowledge(raw)
			return true
		case <-msg.Nacked():
			r.giveBack(raw, settlement.pause())
			return false
		case <-handling.Done():
			r.giveBack(raw, 0)
			return false
		}
	}
}

// acknowledge waits for the broker to confirm. If it cannot, the message comes
// again, which handlers must bear anyway.
func (r *subscription) acknowledge(raw jetstream.Msg) {
	ctx, cancel := context.WithTimeout(context.Background(), publishWait) //nolint:contextcheck // an acknowledgement must outlive the handler's context
	defer cancel()
	if err := raw.DoubleAck(ctx); err != nil {
		r.options.Log.Warn("message not acknowledged; it will come again", "consumer", r.options.Durable, "error", err)
	}
	r.inFlight.Done()
	r.release(1)
}
