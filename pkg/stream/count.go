package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// countedFor is how long the broker keeps what it counted with, should we end
// before it is taken away.
const countedFor = 10 * time.Second

// Count is how many messages a stream holds on a subject, which may have wildcards.
func (c *Conn) Count(ctx context.Context, stream, subject string) (uint64, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	consumer, err := c.js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
		FilterSubject: subject, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: countedFor,
	})
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", subject, errors.Join(ErrUnavailable, err))
	}
	info := consumer.CachedInfo()
	_ = c.js.DeleteConsumer(ctx, stream, info.Name) // the broker does it otherwise
	return info.NumPending, nil
}
