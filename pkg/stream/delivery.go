package stream

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
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

// attach puts the settlement into the message's context, which ends with the
// one given or when the message is settled.
func (s *settlement) attach(handling context.Context, msg *message.Message) context.CancelFunc {
	ctx, cancel := context.WithCancel(context.WithValue(handling, settlementKey{}, s))
	msg.SetContext(ctx)
	return cancel
}

// pause is when a refused message comes again: when its handler said, or else
// after some time that differs from message to message, so that what failed
// together does not come back together.
func (s *settlement) pause(usual time.Duration) time.Duration {
	if d := time.Duration(s.delay.Load()); d > 0 {
		return d
	}
	return usual + rand.N(usual/2+1)
}
