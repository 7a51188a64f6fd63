package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// SubscriberOptions say which consumer to work, and how.
type SubscriberOptions struct {
	Stream  string
	Durable string
	// Concurrency bounds the messages that are out at a time.
	Concurrency int
	// Key groups subjects: messages of one key are given out one by one, in
	// the order they came. nil means no order.
	Key func(subject string) string
	// Admit is asked before each fetch and waits until messages are wanted.
	Admit func(ctx context.Context) error
	// Pause is when a refused message comes again whose handler did not say
	// (RetryAfter). Default 1 s; up to half of it is added by chance.
	Pause time.Duration
	// Undecodable is given a message that is not in the common encoding, read as
	// well as possible, and why. When it returns nil the message is done with; an
	// error brings it again. nil gives such messages to the handler.
	Undecodable func(ctx context.Context, raw Stored, why error) error
	// CloseTimeout is how long messages that are out may take to be settled once
	// the subscription ends; then they are given back. Default 30 s.
	CloseTimeout time.Duration
	Log          *slog.Logger
}

// The defaults of SubscriberOptions.
const (
	defaultPause        = time.Second
	defaultCloseTimeout = 30 * time.Second
)

// Subscriber implements message.Subscriber over one durable pull consumer. The
// topic of Subscribe is a label only: the consumer decides what comes.
//
// A message that is out is kept alive at the broker until it is settled, however
// long that takes. Acknowledging waits for the broker to confirm; a message
// whose confirmation is lost comes again. A refused message comes again after a
// pause, behind what was stored later: order beyond that is for revisions.
type Subscriber struct {
	conn    *Conn
	options SubscriberOptions
	mu      sync.Mutex
	closed  bool
	closing chan struct{}
	active  sync.WaitGroup
	trouble error
}

// Subscriber makes a subscriber; the consumer must be in the topology.
func (c *Conn) Subscriber(o SubscriberOptions) *Subscriber {
	o.Concurrency = max(o.Concurrency, 1)
	if o.Pause <= 0 {
		o.Pause = defaultPause
	}
	if o.CloseTimeout <= 0 {
		o.CloseTimeout = defaultCloseTimeout
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
	fetching, stop := context.WithCancel(ctx)
	hands := newHands(fetching, s.conn.nc, s.options, consumer.CachedInfo().Config.AckWait)
	pull, err := newPuller(s.conn.nc, s.options.Stream, s.options.Durable, hands.take)
	if err != nil {
		stop()
		hands.finish()
		return nil, err
	}
	s.active.Go(func() {
		defer stop()
		s.fetch(fetching, pull, hands)
		pull.drain()
		hands.finish()
	})
	s.active.Go(func() {
		select {
		case <-s.closing:
			stop()
		case <-fetching.Done():
		}
	})
	return hands.out, nil
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

// Ready tells whether the broker answers for the consumer.
func (s *Subscriber) Ready(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble
}

// fetch asks for messages as long as there is a place for one, until ctx ends.
func (s *Subscriber) fetch(ctx context.Context, pull *puller, hands *hands) {
	for failures := 0; hands.reserve(); {
		left, err := s.fetchOnce(ctx, pull, hands)
		hands.release(left)
		s.report(ctx, err)
		if err == nil {
			failures = 0
			continue
		}
		failures++
		rest(ctx, pullPause(failures))
	}
}

// fetchOnce fills the place that is reserved, and all others that are free once
// messages are wanted. left is how many stayed empty.
func (s *Subscriber) fetchOnce(ctx context.Context, pull *puller, hands *hands) (left int, err error) {
	if s.options.Admit != nil {
		if err := s.options.Admit(ctx); err != nil {
			return 1, fmt.Errorf("wait until messages are wanted: %w", err)
		}
	}
	return pull.pull(ctx, 1+hands.reserveMore(maxPull-1))
}

// report keeps the state of the consumer for Ready, and logs what is new.
func (s *Subscriber) report(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	before := s.trouble
	s.trouble = nil
	if err != nil {
		s.trouble = fmt.Errorf("fetch from consumer %s: %w", s.options.Durable, err)
	}
	now := s.trouble
	s.mu.Unlock()
	switch {
	case now != nil && (before == nil || before.Error() != now.Error()):
		s.options.Log.WarnContext(ctx, "fetch failed", "consumer", s.options.Durable, "error", err)
	case now == nil && before != nil:
		s.options.Log.InfoContext(ctx, "fetch works again", "consumer", s.options.Durable)
	}
}

// pullPause is the pause after so many failed requests in a row: a consumer
// that moves to another server is back at once, a broken one is not hammered.
func pullPause(failures int) time.Duration {
	return min(100*time.Millisecond<<min(failures, 5), 2*time.Second)
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
