package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Write is one key's part of a PutAll.
type Write[T any] struct {
	Key string
	// Value is nil to delete the key.
	Value *T
	// Rev is the revision that was read; 0 means that the key never was there.
	Rev uint64
}

// PutAll stores what is written to several keys, at most MaxBatch, each where its
// Rev is still the stored revision: all of it at one instant, or nothing; and gives
// the new revision of the last of them. It fails with ErrConflict where any revision is another, and also where a key with
// Rev 0 was deleted before: who uses PutAll empties such keys instead of deleting
// them, or never makes a key twice. After an error that is neither ErrConflict
// nor ErrRefused it is unknown whether it was stored: read again.
func (b *Bucket[T]) PutAll(ctx context.Context, writes []Write[T]) (uint64, error) {
	if len(writes) == 0 || len(writes) > MaxBatch {
		return 0, fmt.Errorf("write %d keys of %s: %w", len(writes), b.name, ErrRefused)
	}
	batch := make([]*nats.Msg, len(writes))
	for i, w := range writes {
		msg, err := b.message(w)
		if err != nil {
			return 0, err
		}
		batch[i] = msg
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if len(batch) == 1 {
		rev, _, err := b.conn.commitsOf(bucketPrefix+b.name).store(ctx, batch[0])
		return rev, b.writeError(err)
	}
	ack, err := jetstreamext.PublishMsgBatch(ctx, b.conn.js, batch)
	if err != nil {
		return 0, b.writeError(err)
	}
	return ack.Sequence, nil
}

func (b *Bucket[T]) message(w Write[T]) (*nats.Msg, error) {
	if !keyPattern.MatchString(w.Key) {
		return nil, fmt.Errorf("write %s: %w", b.name, errors.Join(ErrRefused, jetstream.ErrInvalidKey))
	}
	msg := &nats.Msg{Subject: "$KV." + b.name + "." + w.Key}
	if w.Value == nil { // as the client deletes (NATS ADR-8)
		msg.Header = nats.Header{"KV-Operation": {"DEL"}}
		return expecting(msg, bucketPrefix+b.name, w.Rev), nil
	}
	data, err := json.Marshal(w.Value)
	if err != nil {
		return nil, fmt.Errorf("encode an entry of %s: %w", b.name, err)
	}
	if len(data) > maxMessage-maxOverhead {
		return nil, fmt.Errorf("write %s: an entry of %d bytes: %w", b.name, len(data), ErrRefused)
	}
	msg.Data = data
	return expecting(msg, bucketPrefix+b.name, w.Rev), nil
}

// maxOverhead is what subject and headers of an entry may take.
const maxOverhead = 4 << 10

// Each calls fn for every entry under a prefix, as Keys lists them, in the order
// in which they were written, holding one at a time in memory. Where fn fails it
// ends there. Without an error none was left out; one that changes meanwhile may
// come as it was.
func (b *Bucket[T]) Each(ctx context.Context, prefix string, fn func(key string, value T, rev uint64) error) error {
	var failed error
	err := b.each(ctx, prefix, true, func(e jetstream.KeyValueEntry) error {
		value, err := b.decode(e)
		if err != nil || value == nil {
			return err
		}
		failed = fn(e.Key(), *value, e.Revision())
		return failed
	})
	if err != nil && failed == nil {
		return fmt.Errorf("read all of %s: %w", b.name, err)
	}
	return failed
}
