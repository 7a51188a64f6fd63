package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrIncompatible: the broker holds a stream that cannot become the designed one
// without losing what is in it.
var ErrIncompatible = errors.New("incompatible with the design")

// Apply makes the broker hold the topology. It can be repeated, also by several
// at once: what is there is brought in line, nothing is ever deleted, and no
// limit is made stricter than it is. What cannot be brought in line so is
// ErrIncompatible, and the error says what to do.
func (c *Conn) Apply(ctx context.Context, t Topology) error {
	for _, wanted := range t.configs() {
		if err := c.applyStream(ctx, wanted); err != nil {
			return fmt.Errorf("apply stream %s: %w", wanted.Name, err)
		}
	}
	return c.ApplyConsumers(ctx, t.Consumers)
}

// ApplyConsumers makes the broker hold these consumers; their streams must exist.
func (c *Conn) ApplyConsumers(ctx context.Context, consumers []Consumer) error {
	for _, k := range consumers {
		if _, err := c.js.CreateOrUpdateConsumer(ctx, k.Stream, k.config()); err != nil {
			return fmt.Errorf("apply consumer %s: %w", k.Durable, err)
		}
	}
	return nil
}

// ApplyLanes makes the broker hold the consumers of one target's lanes.
func (c *Conn) ApplyLanes(ctx context.Context, target string) error {
	return c.ApplyConsumers(ctx, laneConsumers(target))
}

// applyTries is how often a stream is looked at again because somebody else
// made it in between.
const applyTries = 3

func (c *Conn) applyStream(ctx context.Context, wanted jetstream.StreamConfig) error {
	var err error
	for range applyTries {
		var s jetstream.Stream
		s, err = c.js.Stream(ctx, wanted.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			err = c.createStream(ctx, wanted)
		case err == nil:
			err = c.updateStream(ctx, s.CachedInfo().Config, wanted)
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return err
		}
	}
	return err
}

// smallestStream is where a broker has too little room to work with.
const smallestStream = 16 << 20

// createStream makes a stream as large as designed, or as the broker has room
// for: a full stream refuses events, which is no reason to refuse all of them.
func (c *Conn) createStream(ctx context.Context, wanted jetstream.StreamConfig) error {
	designed := wanted.MaxBytes
	for {
		_, err := c.js.CreateStream(ctx, wanted)
		if err == nil && wanted.MaxBytes != designed {
			c.log.WarnContext(ctx, "stream made smaller than designed: the broker has no more room",
				"stream", wanted.Name, "max_bytes", wanted.MaxBytes, "designed", designed)
		}
		if !isOutOfRoom(err) || wanted.MaxBytes/2 < smallestStream {
			return err
		}
		wanted.MaxBytes /= 2
	}
}

func (c *Conn) updateStream(ctx context.Context, actual, wanted jetstream.StreamConfig) error {
	merged, changes, err := merge(actual, wanted)
	if err != nil || !changes {
		return err
	}
	_, err = c.js.UpdateStream(ctx, merged)
	if isOutOfRoom(err) {
		merged.MaxBytes = actual.MaxBytes
		_, err = c.js.UpdateStream(ctx, merged)
	}
	return err
}

// The broker's codes for "no room for a stream of that size": alone, and in a
// cluster (nats-server server/errors.json).
const (
	outOfStorage = jetstream.ErrorCode(10047)
	noPeers      = jetstream.ErrorCode(10005)
)

func isOutOfRoom(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == outOfStorage || api.ErrorCode == noPeers)
}
