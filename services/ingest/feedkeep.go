package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/services/ingest/feed"
)

// Keep is a bucket of records under compare-and-swap: rev 0 means not there yet,
// a lost race is stream.ErrConflict, an absent key stream.ErrNotFound.
type Keep[T any] interface {
	Get(ctx context.Context, key string) (T, uint64, error)
	Put(ctx context.Context, key string, value T, rev uint64) (uint64, error)
	Delete(ctx context.Context, key string, rev uint64) error
	Keys(ctx context.Context, prefix string) ([]string, error)
}

// FeedStore is where the last good snapshots are kept, shared by all replicas:
//
//	manifest.<source>           which snapshot is the last good one, and which is on its way
//	chunk.<source>.<id>.<n>     its entries, in the order of their keys
//	lease.<source>              who works on the source now
//
// A manifest names only chunks that are stored whole; it changes by
// compare-and-swap, so that a snapshot becomes the last good one at one instant.
type FeedStore struct {
	Manifests Keep[Manifest]
	Chunks    Keep[Chunk]
	Leases    Keep[Lease]
}

// OpenFeeds opens the store in bucket FEEDS.
func OpenFeeds(ctx context.Context, conn *stream.Conn) (*FeedStore, error) {
	manifests, err := stream.OpenBucket[Manifest](ctx, conn, stream.Feeds)
	if err != nil {
		return nil, err
	}
	chunks, err := stream.OpenBucket[Chunk](ctx, conn, stream.Feeds)
	if err != nil {
		return nil, err
	}
	leases, err := stream.OpenBucket[Lease](ctx, conn, stream.Feeds)
	if err != nil {
		return nil, err
	}
	return &FeedStore{Manifests: manifests, Chunks: chunks, Leases: leases}, nil
}

// Manifest says what is known of a source's snapshots.
type Manifest struct {
	// Base is the last good snapshot; nil before the first.
	Base *Snapshot `json:"base,omitempty"`
	// Open is a snapshot whose events are on their way to the broker.
	Open *Snapshot `json:"open,omitempty"`
}

// Snapshot is one snapshot that was found good.
type Snapshot struct {
	// ID depends on what the snapshot says and on the one before it.
	ID string `json:"id"`
	// Content is the same for all snapshots that say the same.
	Content string      `json:"content"`
	Taken   time.Time   `json:"taken"`
	Chunks  int         `json:"chunks"`
	Counts  feed.Counts `json:"counts"`
}

// Chunk is a part of a snapshot's entries.
type Chunk struct {
	Data []byte `json:"data"`
}

// chunkSize keeps a chunk, in base64, below what a bucket takes: 1 MiB.
const chunkSize = 700 << 10

func chunkKey(source, id string, n int) string { return fmt.Sprintf("chunk.%s.%s.%d", source, id, n) }

// manifest reads a source's manifest; before the first snapshot it is empty.
func (f *FeedStore) manifest(ctx context.Context, source string) (Manifest, uint64, error) {
	m, rev, err := f.Manifests.Get(ctx, "manifest."+source)
	if err != nil && !errors.Is(err, stream.ErrNotFound) {
		return m, 0, fmt.Errorf("read the last snapshot: %w", err)
	}
	return m, rev, nil
}

func (f *FeedStore) swap(ctx context.Context, source string, m Manifest, rev uint64) (uint64, error) {
	rev, err := f.Manifests.Put(ctx, "manifest."+source, m, rev)
	if err != nil {
		return 0, fmt.Errorf("take over a snapshot: %w", err)
	}
	return rev, nil
}

// entries are the entries of a snapshot, in order; nil where there is none.
func (f *FeedStore) entries(ctx context.Context, source string, s *Snapshot) iter.Seq2[feed.Entry, error] {
	if s == nil {
		return nil
	}
	return func(yield func(feed.Entry, error) bool) {
		for n := range s.Chunks {
			chunk, _, err := f.Chunks.Get(ctx, chunkKey(source, s.ID, n))
			if err != nil {
				yield(feed.Entry{}, fmt.Errorf("read a chunk of the last snapshot: %w", err))
				return
			}
			for e, err := range feed.Entries(chunk.Data) {
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

// writeChunk stores a chunk, whatever an earlier attempt left there.
func (f *FeedStore) writeChunk(ctx context.Context, source, id string, n int, data []byte) error {
	key := chunkKey(source, id, n)
	_, err := f.Chunks.Put(ctx, key, Chunk{Data: data}, 0)
	if errors.Is(err, stream.ErrConflict) {
		var rev uint64
		if _, rev, err = f.Chunks.Get(ctx, key); err == nil {
			_, err = f.Chunks.Put(ctx, key, Chunk{Data: data}, rev)
		}
	}
	if err != nil {
		return fmt.Errorf("store a chunk of a snapshot: %w", err)
	}
	return nil
}

// sweep removes the chunks that no manifest names any more.
func (f *FeedStore) sweep(ctx context.Context, source string, m Manifest) error {
	keys, err := f.Chunks.Keys(ctx, "chunk."+source)
	if err != nil {
		return fmt.Errorf("sweep old snapshots: %w", err)
	}
	for _, key := range keys {
		id := stream.Token(key, 2)
		if (m.Base != nil && id == m.Base.ID) || (m.Open != nil && id == m.Open.ID) {
			continue
		}
		_, rev, err := f.Chunks.Get(ctx, key)
		if err == nil {
			err = f.Chunks.Delete(ctx, key, rev)
		}
		if err != nil {
			return fmt.Errorf("sweep old snapshots: %w", err)
		}
	}
	return nil
}

// Lease keeps two snapshots of one source apart, and says how far one is.
type Lease struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
	Phase  string    `json:"phase"`
	Done   int64     `json:"done"`
	Total  int64     `json:"total"`
}

const (
	// leaseFor is how long the work of a process that was killed keeps others away.
	leaseFor = 30 * time.Second
	// leaseEvery is how often a lease is renewed: five may be lost.
	leaseEvery = 5 * time.Second
)

// errBusy: somebody works on the source; errLost: they took it from us.
var (
	errBusy = errors.New("another snapshot of the source is being taken in")
	errLost = errors.New("the lease on the source was lost")
)

// held is a lease that is ours until release.
type held struct {
	store   *FeedStore
	key     string
	stop    context.CancelFunc
	stopped chan struct{}

	mu    sync.Mutex
	lease Lease
	rev   uint64
}

// busy is the lease that somebody holds on the source now, if any.
func (f *FeedStore) busy(ctx context.Context, source string) (Lease, uint64, bool, error) {
	l, rev, err := f.Leases.Get(ctx, "lease."+source)
	if err != nil && !errors.Is(err, stream.ErrNotFound) {
		return l, 0, false, fmt.Errorf("read a lease: %w", err)
	}
	return l, rev, err == nil && time.Now().Before(l.Until), nil
}

// acquire takes the lease on a source. The context that it gives ends when the
// lease is lost.
func (f *FeedStore) acquire(ctx context.Context, source string) (context.Context, *held, error) {
	_, rev, taken, err := f.busy(ctx, source)
	if err != nil {
		return nil, nil, err
	}
	if taken {
		return nil, nil, errBusy
	}
	h := &held{store: f, key: "lease." + source, lease: Lease{Holder: rand.Text(), Phase: "reading"}, stopped: make(chan struct{})}
	h.lease.Until = time.Now().Add(leaseFor)
	if h.rev, err = f.Leases.Put(ctx, h.key, h.lease, rev); err != nil {
		if errors.Is(err, stream.ErrConflict) {
			return nil, nil, errBusy
		}
		return nil, nil, fmt.Errorf("take a lease: %w", err)
	}
	ctx, lose := context.WithCancelCause(ctx)
	renewing, stop := context.WithCancel(ctx)
	h.stop = stop
	go func() {
		defer close(h.stopped)
		h.renew(renewing, lose)
	}()
	return ctx, h, nil
}

func (h *held) renew(ctx context.Context, lose context.CancelCauseFunc) {
	tick := time.NewTicker(leaseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			lose(ctx.Err())
			return
		case <-tick.C:
		}
		if err := h.write(ctx); errors.Is(err, stream.ErrConflict) || time.Now().After(h.until()) {
			lose(errLost)
			return
		}
	}
}

// write renews the lease. Where the broker's answer is lost, the next attempt
// meets its own writing.
func (h *held) write(ctx context.Context) error {
	h.mu.Lock()
	next, rev := h.lease, h.rev
	h.mu.Unlock()
	next.Until = time.Now().Add(leaseFor)
	newRev, err := h.store.Leases.Put(ctx, h.key, next, rev)
	if errors.Is(err, stream.ErrConflict) {
		if found, foundRev, again := h.store.Leases.Get(ctx, h.key); again == nil && found.Holder == next.Holder {
			newRev, err = h.store.Leases.Put(ctx, h.key, next, foundRev)
		}
	}
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lease.Until, h.rev = next.Until, newRev
	return nil
}

func (h *held) until() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lease.Until
}

// phase says what is being done, of how many.
func (h *held) phase(name string, total int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lease.Phase, h.lease.Done, h.lease.Total = name, 0, int64(total)
}

func (h *held) did(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lease.Done += int64(n)
}

// release gives the lease back. What cannot be given back runs out.
func (h *held) release(ctx context.Context) {
	h.stop()
	<-h.stopped
	_ = h.store.Leases.Delete(context.WithoutCancel(ctx), h.key, h.rev)
}
