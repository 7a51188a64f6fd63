package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Bucket is a key-value bucket of JSON values. A read may be stale; only a Put
// decides, because it succeeds only on the revision that was read.
type Bucket[T any] struct {
	kv   jetstream.KeyValue
	name string
}

// OpenBucket opens a bucket of the topology.
func OpenBucket[T any](ctx context.Context, c *Conn, name string) (*Bucket[T], error) {
	kv, err := c.js.KeyValue(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", name, err)
	}
	return &Bucket[T]{kv: kv, name: name}, nil
}

// Get reads a value and its revision, or fails with ErrNotFound.
func (b *Bucket[T]) Get(ctx context.Context, key string) (T, uint64, error) {
	var value T
	entry, err := b.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return value, 0, fmt.Errorf("%s: %w", b.name, ErrNotFound)
	}
	if err != nil {
		return value, 0, fmt.Errorf("read %s: %w", b.name, err)
	}
	if err := json.Unmarshal(entry.Value(), &value); err != nil {
		return value, 0, fmt.Errorf("decode an entry of %s: %w", b.name, err)
	}
	return value, entry.Revision(), nil
}

// Put stores a value where rev is still the stored revision (0: not there yet)
// and gives the new one; otherwise it fails with ErrConflict. After any other
// error it is unknown whether the value was stored: read again.
func (b *Bucket[T]) Put(ctx context.Context, key string, value T, rev uint64) (uint64, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return 0, fmt.Errorf("encode an entry of %s: %w", b.name, err)
	}
	var next uint64
	if rev == 0 {
		next, err = b.kv.Create(ctx, key, data)
	} else {
		next, err = b.kv.Update(ctx, key, data, rev)
	}
	return next, b.writeError(err)
}

// Delete removes a key where rev is still the stored revision.
func (b *Bucket[T]) Delete(ctx context.Context, key string, rev uint64) error {
	return b.writeError(b.kv.Delete(ctx, key, jetstream.LastRevision(rev)))
}

func (b *Bucket[T]) writeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch), isWrongSequence(err):
		return fmt.Errorf("%s: %w", b.name, ErrConflict)
	default:
		return fmt.Errorf("write %s: %w", b.name, errors.Join(ErrUnavailable, err))
	}
}

// Keys lists the keys that are prefix, or start with prefix and a dot; an empty
// prefix lists all.
func (b *Bucket[T]) Keys(ctx context.Context, prefix string) ([]string, error) {
	lister, err := b.kv.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the keys of %s: %w", b.name, err)
	}
	keys := []string{}
	for key := range lister.Keys() {
		if prefix == "" || key == prefix || strings.HasPrefix(key, prefix+".") {
			keys = append(keys, key)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list the keys of %s: %w", b.name, err)
	}
	return keys, nil
}

// Watch calls fn for every entry whose key is prefix or starts with prefix and
// a dot (all, where it is empty), and then for every change, until ctx ends. A
// deleted entry has a nil value. A value that cannot be decoded ends the watch.
func (b *Bucket[T]) Watch(ctx context.Context, prefix string, fn func(key string, value *T, rev uint64)) error {
	watcher, err := b.kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch %s: %w", b.name, err)
	}
	defer func() { _ = watcher.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case entry, ok := <-watcher.Updates():
			if !ok {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("watch %s: %w", b.name, ErrUnavailable)
			}
			if entry == nil || (prefix != "" && entry.Key() != prefix && !strings.HasPrefix(entry.Key(), prefix+".")) {
				continue
			}
			value, err := b.decode(entry)
			if err != nil {
				return err
			}
			fn(entry.Key(), value, entry.Revision())
		}
	}
}

func (b *Bucket[T]) decode(entry jetstream.KeyValueEntry) (*T, error) {
	if entry.Operation() != jetstream.KeyValuePut {
		return nil, nil //nolint:nilnil // a deleted entry has no value, which is not an error
	}
	var value T
	if err := json.Unmarshal(entry.Value(), &value); err != nil {
		return nil, fmt.Errorf("decode an entry of %s: %w", b.name, err)
	}
	return &value, nil
}
