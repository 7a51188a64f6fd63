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
//
// A broker with less room than the streams may take gets smaller ones, all in
// the same proportion: a full stream refuses events later, which is no reason to
// refuse all of them now.
func (c *Conn) Apply(ctx context.Context, t Topology) error {
	var made []config // by this call, as designed
	halvings := 0
	for _, designed := range t.configs() {
		created, err := c.applyStream(ctx, halved(designed, halvings))
		for isOutOfRoom(err) && halvings < maxHalvings {
			halvings++
			if err := c.shrink(ctx, made, halvings); err != nil {
				return err
			}
			created, err = c.applyStream(ctx, halved(designed, halvings))
		}
		if err != nil {
			return fmt.Errorf("apply stream %s: %w", designed.Name, err)
		}
		if created {
			made = append(made, designed)
		}
	}
	if halvings > 0 {
		c.log.WarnContext(ctx, "streams made smaller than designed: the broker has no more room", "share", 1/float64(int(1)<<halvings))
	}
	return c.ApplyConsumers(ctx, t.Consumers)
}

const (
	// smallestStream is where a broker has too little room to work with.
	smallestStream = 16 << 20
	// maxHalvings makes the largest stream of the design the smallest possible.
	maxHalvings = 10
)

// halved is a stream of a design that was made smaller so many times.
func halved(designed config, times int) config {
	if designed.MaxBytes > 0 {
		designed.MaxBytes = max(designed.MaxBytes>>times, smallestStream)
	}
	return designed
}

// shrink makes room by making streams smaller that were just made.
func (c *Conn) shrink(ctx context.Context, made []config, halvings int) error {
	for _, designed := range made {
		if _, err := c.js.UpdateStream(ctx, halved(designed, halvings)); err != nil {
			return fmt.Errorf("make stream %s smaller: %w", designed.Name, err)
		}
	}
	return nil
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

func (c *Conn) applyStream(ctx context.Context, wanted config) (created bool, err error) {
	for range applyTries {
		var s jetstream.Stream
		s, err = c.js.Stream(ctx, wanted.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			_, err = c.js.CreateStream(ctx, wanted)
			created = err == nil
		case err == nil:
			err = c.updateStream(ctx, s.CachedInfo().Config, wanted)
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return created, err
		}
	}
	return false, err
}

func (c *Conn) updateStream(ctx context.Context, actual, wanted config) error {
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
