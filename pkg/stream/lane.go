package stream

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Lane is the queue of one lane of one target: at most concurrency messages are
// out, one per identity, and none is fetched before admit allows it.
func (c *Conn) Lane(target, lane string, concurrency int, admit func(context.Context) error) message.Subscriber {
	return c.Subscriber(SubscriberOptions{
		Stream: Commands, Durable: LaneDurable(target, lane), Concurrency: concurrency,
		Key: func(subject string) string { return Token(subject, 4) }, Admit: admit,
	})
}
