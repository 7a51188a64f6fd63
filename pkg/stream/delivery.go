package stream

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Delivery says where a message came from, and for the how-manyeth time.
type Delivery struct {
	Stream     string
	Subject    string
	Sequence   uint64
	Deliveries uint64
	Stored     time.Time
}

// settlement travels in a message's context, so that a handler can say when a
// refused message should come again.
type settlement struct {
	delivery Delivery
	delay    atomic.Int64
	cancel   context.CancelFunc
}

// defaultPause is when a refused message comes again whose handler did not say.
const defaultPause = time.Second

func (s *settlement) pause() time.Duration {
	if d := time.Duration(s.delay.Load()); d > 0 {
		return d
	}
	return defaultPause
}

type settlementKey struct{}

// RetryAfter says when the message should come again; call it before Nack.
func RetryAfter(msg *message.Message, d time.Duration) {
	if s, ok := msg.Context().Value(settlementKey{}).(*settlement); ok {
		s.delay.Store(int64(d))
	}
}

// DeliveryOf is the delivery of a message that a Subscriber gave out; the zero
// Delivery for any other.
func DeliveryOf(msg *message.Message) Delivery {
	if s, ok := msg.Context().Value(settlementKey{}).(*settlement); ok {
		return s.delivery
	}
	return Delivery{}
}

// message decodes a message and gives it a context of its own.
func (r *subscription) message(handling context.Context, raw jetstream.Msg) (*message.Message, *settlement) {
	msg := decode(&nats.Msg{Subject: raw.Subject(), Header: raw.Headers(), Data: raw.Data()})
	s := &settlement{delivery: Delivery{Stream: r.options.Stream, Subject: raw.Subject()}}
	if meta, err := raw.Metadata(); err == nil {
		s.delivery.Sequence, s.delivery.Deliveries, s.delivery.Stored = meta.Sequence.Stream, meta.NumDelivered, meta.Timestamp
	}
	ctx, cancel := context.WithCancel(context.WithValue(handling, settlementKey{}, s))
	s.cancel = cancel
	msg.SetContext(ctx)
	return msg, s
}
