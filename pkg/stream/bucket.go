package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bucket is a key-value bucket of JSON values. A read may be stale; only a Put
// decides, because it succeeds only on the revision that was read.
type Bucket[T any] struct {
	conn *Conn
	kv   jetstream.KeyValue
	name string
}

// OpenBucket opens a bucket of the topology.
func OpenBucket[T any](ctx context.Context, c *Conn, name string) (*Bucket[T], error) {
	kv, err := c.js.KeyValue(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", name, err)
	}
	return &Bucket[T]{conn: c, kv: kv, name: name}, nil
}

// Get reads a value and its revision, or fails with ErrNotFound.
func (b *Bucket[T]) Get(ctx context.Context, key string) (T, uint64, error) {
	var value T
	ctx, cancel := bounded(ctx)
	defer cancel()
	entry, err := b.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return value, 0, fmt.Errorf("%s: %w", b.name, ErrNotFound)
	}
	if err != nil {
		return value, 0, fmt.Errorf("read %s: %w", b.name, errors.Join(ErrUnavailable, err))
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
	ctx, cancel := bounded(ctx)
	defer cancel()
	if !keyPattern.MatchString(key) {
		return 0, fmt.Errorf("write %s: %w", b.name, errors.Join(ErrRefused, jetstream.ErrInvalidKey))
	}
	stream := bucketPrefix + b.name
	msg := expecting(&nats.Msg{Subject: "$KV." + b.name + "." + key, Data: data}, stream, rev)
	next, _, err := b.conn.commitsOf(stream).store(ctx, msg)
	if rev == 0 && isWrongSequence(err) {
		next, err = b.kv.Create(ctx, key, data) // in the place of one that was deleted
	}
	return next, b.writeError(err)
}

// keyPattern is what a key may be (NATS ADR-8).
var keyPattern = regexp.MustCompile(`^[-/_=a-zA-Z0-9]+(\.[-/_=a-zA-Z0-9]+)*$`)

// Delete removes a key where rev is still the stored revision, otherwise it
// fails with ErrConflict.
func (b *Bucket[T]) Delete(ctx context.Context, key string, rev uint64) error {
	if rev == 0 { // to the client that means: whatever is there
		return fmt.Errorf("%s: %w", b.name, ErrConflict)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	return b.writeError(b.kv.Delete(ctx, key, jetstream.LastRevision(rev)))
}

func (b *Bucket[T]) writeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch), isWrongSequence(err):
		return fmt.Errorf("%s: %w", b.name, ErrConflict)
	case errors.Is(err, jetstream.ErrInvalidKey):
		return fmt.Errorf("write %s: %w", b.name, errors.Join(ErrRefused, err))
	default:
		return fmt.Errorf("write %s: %w", b.name, errors.Join(ErrUnavailable, err))
	}
}

// Keys lists the keys that are prefix, or start with prefix and a dot, sorted;
// an empty prefix lists all. A prefix that ends with a dot lists only what it
// starts, which is much faster where there is much. Without an error none was left out.
func (b *Bucket[T]) Keys(ctx context.Context, prefix string) ([]string, error) {
	keys := map[string]bool{}
	err := b.each(ctx, prefix, true, func(e jetstream.KeyValueEntry) error {
		keys[e.Key()] = isPut(e)
		return nil
	}, jetstream.MetaOnly())
	if err != nil {
		return nil, fmt.Errorf("list the keys of %s: %w", b.name, err)
	}
	maps.DeleteFunc(keys, func(_ string, there bool) bool { return !there })
	return slices.Sorted(maps.Keys(keys)), nil
}

// All reads all entries under a prefix, as Keys lists them, in one go. Without
// an error none was left out.
func (b *Bucket[T]) All(ctx context.Context, prefix string) (map[string]T, error) {
	values := map[string]T{}
	err := b.each(ctx, prefix, true, func(e jetstream.KeyValueEntry) error {
		value, err := b.decode(e)
		if value != nil {
			values[e.Key()] = *value
		} else {
			delete(values, e.Key())
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read all of %s: %w", b.name, err)
	}
	return values, nil
}

// Watch calls fn for every entry whose key is prefix or starts with prefix and
// a dot (all, where it is empty), and then for every change, until ctx ends. A
// deleted entry has a nil value. An empty key with a nil value says that all
// entries that were there have come. When the broker was away, entries come
// again. A value that cannot be decoded ends the watch.
func (b *Bucket[T]) Watch(ctx context.Context, prefix string, fn func(key string, value *T, rev uint64)) error {
	for {
		err := b.each(ctx, prefix, false, func(e jetstream.KeyValueEntry) error {
			if e == nil {
				fn("", nil, 0)
				return nil
			}
			value, err := b.decode(e)
			if err == nil {
				fn(e.Key(), value, e.Revision())
			}
			return err
		})
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, ErrUnavailable) || b.conn.nc.IsClosed() {
			return fmt.Errorf("watch %s: %w", b.name, err)
		}
		b.conn.log.WarnContext(ctx, "watch begins again", "bucket", b.name, "error", err)
		rest(ctx, watchPause)
	}
}

// watchPause is between attempts to watch while the broker is away.
const watchPause = time.Second

// each calls fn for every entry under a prefix, and with nil where the entries
// that were there at the beginning end; once ends it there instead.
func (b *Bucket[T]) each(
	ctx context.Context, prefix string, once bool, fn func(jetstream.KeyValueEntry) error, opts ...jetstream.WatchOpt,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watcher, err := b.watch(ctx, cancel, prefix, opts)
	if err != nil {
		return errors.Join(ErrUnavailable, err)
	}
	defer leave(watcher)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				return ErrUnavailable
			case entry == nil && once:
				return nil
			default:
				if err := fn(entry); err != nil {
					return err
				}
			}
		}
	}
}

// watch begins a watch that lasts as long as ctx. The client waits as long for
// the broker's answer, which may have been lost: then cancel ends the attempt.
func (b *Bucket[T]) watch(
	ctx context.Context, cancel context.CancelFunc, prefix string, opts []jetstream.WatchOpt,
) (jetstream.KeyWatcher, error) {
	late := time.AfterFunc(answerWait, cancel)
	defer late.Stop()
	return b.kv.WatchFiltered(ctx, under(prefix), opts...)
}

// leave ends a watch. The client blocks on a full channel while it holds what it
// needs to end, so that the rest must be read.
func leave(w jetstream.KeyWatcher) {
	_ = w.Stop() // it was ended already, or the connection is gone
	for range w.Updates() {
	}
}

// under is the filter for a prefix. The broker looks for each next message of two
// filters from the start, for one from where it stands: with 1,000 keys 60 ms
// instead of 5, with more it is worse by the square.
func under(prefix string) []string {
	switch {
	case prefix == "":
		return nil
	case strings.HasSuffix(prefix, "."):
		return []string{prefix + ">"}
	}
	return []string{prefix, prefix + ".>"}
}

func isPut(e jetstream.KeyValueEntry) bool { return e.Operation() == jetstream.KeyValuePut }

func (b *Bucket[T]) decode(entry jetstream.KeyValueEntry) (*T, error) {
	if !isPut(entry) {
		return nil, nil //nolint:nilnil // a deleted entry has no value, which is not an error
	}
	var value T
	if err := json.Unmarshal(entry.Value(), &value); err != nil {
		return nil, fmt.Errorf("decode %s: %w", entry.Key(), err)
	}
	return &value, nil
}
