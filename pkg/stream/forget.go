package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Forget removes what a stream holds on a subject up to a sequence; 0 removes
// nothing. Only a stream that does not deny it can forget.
func (c *Conn) Forget(ctx context.Context, stream, subject string, upTo uint64) error {
	if upTo == 0 {
		return nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	s, err := c.js.Stream(ctx, stream)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(upTo+1))
	}
	if err != nil {
		return fmt.Errorf("forget %s: %w", subject, errors.Join(ErrUnavailable, err))
	}
	return nil
}
