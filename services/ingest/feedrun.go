package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/services/ingest/feed"
	"golang.org/x/sync/errgroup"
)

// feedRun takes one snapshot in.
type feedRun struct {
	service *Service
	source  *Source
	spool   *spool
	request feedRequest
	lease   *held // nil in a dry run

	reader   *feed.Reader
	index    feed.Index
	manifest Manifest
	rev      uint64
	next     Snapshot
	resumed  bool
	outcome  feed.Outcome
	chunks   *spool
	sizes    []int

	accepted, duplicates atomic.Int64
}

// feedRequest is what the sender asks for.
type feedRequest struct {
	format feed.Format
	// allow is the hash of a plan that a person lets through.
	allow  string
	dryRun bool
	// taken is when the snapshot was taken; zero is now.
	taken   time.Time
	arrived time.Time
}

// plan reads the snapshot and works out what it would do. It fails with a
// *feed.Refusal where the snapshot is refused.
func (r *feedRun) plan(ctx context.Context) error {
	if err := r.readAll(ctx); err != nil {
		return err
	}
	content := r.index.Sort().String()
	var err error
	if r.manifest, r.rev, err = r.service.feeds.manifest(ctx, r.source.Name); err != nil {
		return err
	}
	if err := r.name(content); err != nil {
		return err
	}
	return r.compare(ctx)
}

// readAll remembers every row. A row that no event can be made of is unreadable.
func (r *feedRun) readAll(ctx context.Context) error {
	settings := r.source.Feed
	settings.Required = r.source.required()
	var err error
	r.reader, err = feed.NewReader(r.request.format, r.spool.reader(), r.spool.size, settings)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		if n%1000 == 999 {
			r.did(1000)
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
		}
		row, err := r.reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, feed.ErrUnreadable):
			r.index.Unreadable++
			continue
		case err != nil:
			return err
		}
		e, err := r.source.read(row.Data)
		if err != nil {
			r.index.Unreadable++
			continue
		}
		if err := r.index.Add(e.GetIdentityKey(), feed.Says(e.GetAttributes(), e.GetCleared()), row); err != nil {
			return err
		}
	}
}

// name gives the snapshot its identity: the run that was interrupted goes on
// where it is the same snapshot, and everything else is new.
func (r *feedRun) name(content string) error {
	base, open := r.manifest.Base, r.manifest.Open
	if open != nil && open.Content == content {
		r.resumed, r.next = true, Snapshot{ID: open.ID, Content: content, Taken: open.Taken}
		return nil
	}
	r.next = Snapshot{Content: content, Taken: r.request.arrived.UTC()}
	if !r.request.taken.IsZero() {
		r.next.Taken = r.request.taken.UTC()
	}
	var before []string
	for _, s := range []*Snapshot{base, open} {
		if s == nil {
			before = append(before, "")
			continue
		}
		before = append(before, s.ID)
		switch {
		case r.next.Taken.After(s.Taken):
		case r.request.taken.IsZero(), r.next.Taken.Equal(s.Taken) && s.Content == content: // clocks differ between replicas
			r.next.Taken = s.Taken.Add(time.Microsecond)
		default:
			return &feed.Refusal{Reason: feed.Stale, Detail: "A newer snapshot of the source was taken in already."}
		}
	}
	if r.next.Taken.Sub(r.request.arrived) > maxAhead {
		return &feed.Refusal{Reason: feed.Stale, Detail: "The snapshot was taken more than a day ahead of our clock."}
	}
	r.next.ID = feed.HashOf(append(before, content, r.next.Taken.Format(time.RFC3339Nano))...).String()
	return nil
}

// compare works out the difference, and writes what must be kept into a file.
func (r *feedRun) compare(ctx context.Context) (err error) {
	past := feed.Past{
		Base: r.service.feeds.entries(ctx, r.source.Name, r.manifest.Base),
		Open: r.service.feeds.entries(ctx, r.source.Name, r.manifest.Open),
		Same: r.resumed,
	}
	if r.chunks, err = newSpool(r.service.spoolDir); err != nil {
		return err
	}
	var chunk []byte
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		r.sizes = append(r.sizes, len(chunk))
		err := r.chunks.write(chunk)
		chunk = chunk[:0]
		return err
	}
	r.outcome, err = feed.Compare(&r.index, past, r.source.Feed, r.next.Taken, func(e feed.Entry) error {
		if chunk = e.Append(chunk); len(chunk) < chunkSize {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	r.next.Counts, r.next.Chunks = r.outcome.Counts, len(r.sizes)
	if err := flush(); err != nil {
		return err
	}
	r.next.Chunks = len(r.sizes)
	return nil
}

// allowance is the hash that lets this very plan through: of what the snapshot
// says, of what it is compared with, and of what would happen.
func (r *feedRun) allowance() string {
	base, open := "", ""
	if r.manifest.Base != nil {
		base = r.manifest.Base.ID
	}
	if r.manifest.Open != nil {
		open = r.manifest.Open.ID
	}
	return feed.HashOf("allow", r.source.Name, base, open, r.next.Content, fmt.Sprintf("%+v", r.outcome.Counts)).String()
}

// judge refuses what must not become events, unless a person let it through.
func (r *feedRun) judge() error {
	refusal := r.source.Feed.Judge(r.outcome.Counts)
	if refusal == nil || (refusal.Overrulable() && r.request.allow == r.allowance()) {
		return nil
	}
	return refusal
}

// commit makes the plan true: it stores what the next snapshot is compared with,
// says that a run has begun, stores the events, and says that it has ended. It
// may be broken off anywhere, and done again with the same snapshot.
func (r *feedRun) commit(ctx context.Context) error {
	f, name := r.service.feeds, r.source.Name
	if !r.outcome.Moved && r.manifest.Open == nil && r.manifest.Base != nil {
		return nil
	}
	if err := r.writeChunks(ctx); err != nil {
		return err
	}
	r.manifest.Open = &r.next
	var err error
	if r.rev, err = f.swap(ctx, name, r.manifest, r.rev); err != nil {
		return err
	}
	if err := r.publish(ctx); err != nil {
		return err
	}
	r.manifest = Manifest{Base: &r.next}
	if r.rev, err = f.swap(ctx, name, r.manifest, r.rev); err != nil {
		return err
	}
	if err := f.sweep(ctx, name, r.manifest); err != nil { // the next run sweeps again
		r.service.tel.Log.WarnContext(ctx, "old snapshots stay for now", "source", name, "error", err)
	}
	return nil
}

func (r *feedRun) writeChunks(ctx context.Context) error {
	r.phase("keeping", len(r.sizes))
	var at int64
	for n, size := range r.sizes {
		data, err := r.chunks.at(at, size)
		if err != nil {
			return err
		}
		if err := r.service.feeds.writeChunk(ctx, r.source.Name, r.next.ID, n, data); err != nil {
			return err
		}
		at += int64(size)
		r.did(1)
	}
	return nil
}

const (
	// feedBatch is how many events are stored at once, feedBytes how many bytes of
	// rows, and feedWorkers how many batches at a time: the broker takes 50 from
	// all replicas and doors together.
	feedBatch   = 100
	feedBytes   = 2 << 20
	feedWorkers = 4
)

// publish stores an event for every change. One that is stored already is
// recognised by its id.
func (r *feedRun) publish(ctx context.Context) error {
	r.phase("storing events", len(r.outcome.Changes))
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(feedWorkers)
	for batch := range r.batches() {
		if working.Err() != nil {
			break
		}
		group.Go(func() error { return r.send(working, batch) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// batches cuts the changes into batches.
func (r *feedRun) batches() func(func([]feed.Change) bool) {
	return func(yield func([]feed.Change) bool) {
		from, bytes := 0, 0
		for i, c := range r.outcome.Changes {
			if c.Row >= 0 {
				_, length := r.index.Place(int(c.Row))
				bytes += length
			}
			if i+1-from == feedBatch || bytes >= feedBytes || i+1 == len(r.outcome.Changes) {
				if !yield(r.outcome.Changes[from : i+1]) {
					return
				}
				from, bytes = i+1, 0
			}
		}
	}
}

func (r *feedRun) send(ctx context.Context, batch []feed.Change) error {
	events := make([]event.Event, len(batch))
	for i, c := range batch {
		var err error
		if events[i], err = r.event(c); err != nil {
			return err
		}
	}
	results, err := r.patiently(ctx, events)
	if err != nil {
		return err
	}
	for _, result := range results {
		if result.Status == Duplicate {
			r.duplicates.Add(1)
		} else {
			r.accepted.Add(1)
		}
	}
	r.did(len(batch))
	return nil
}

// event is the event of a change, from the row as it stands in the spool.
func (r *feedRun) event(c feed.Change) (event.Event, error) {
	if c.Row < 0 {
		id := feed.HashOf(r.next.ID, c.Kind.String(), c.Key).String()
		return r.source.rowEvent("feed-"+id, c.Kind, c.Key, r.next.Taken, nil), nil
	}
	offset, length := r.index.Place(int(c.Row))
	raw, err := r.spool.at(offset, length)
	if err != nil {
		return event.Event{}, err
	}
	data, err := r.reader.Parse(r.request.format, raw)
	if err != nil {
		return event.Event{}, err
	}
	id := feed.HashOf(r.next.ID, c.Kind.String(), string(r.index.Key(int(c.Row))), r.index.Hash(int(c.Row)).String()).String()
	return r.source.rowEvent("feed-"+id, c.Kind, "", r.next.Taken, data), nil
}

// feedPatience is how long a run waits for a broker that takes nothing.
const feedPatience = 2 * time.Minute

func (r *feedRun) patiently(ctx context.Context, events []event.Event) ([]Result, error) {
	deadline := time.Now().Add(feedPatience)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		results, err := r.service.accept(ctx, r.source, events, r.request.arrived)
		if err == nil || event.ProblemsOf(err) != nil || time.Now().Add(pause).After(deadline) {
			return results, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("store events: %w", context.Cause(ctx))
		}
	}
}

func (r *feedRun) phase(name string, total int) {
	if r.lease != nil {
		r.lease.phase(name, total)
	}
}

func (r *feedRun) did(n int) {
	if r.lease != nil {
		r.lease.did(n)
	}
}

func (r *feedRun) close() { r.chunks.close() }

// spool is a file that has no name any more: it goes with the process.
type spool struct {
	file *os.File
	size int64
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "joinery-feed-*")
	if err != nil {
		return nil, fmt.Errorf("make a spool file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("make a spool file: %w", errors.Join(err, f.Close()))
	}
	return &spool{file: f}, nil
}

func (s *spool) write(data []byte) error {
	n, err := s.file.Write(data)
	s.size += int64(n)
	if err != nil {
		return fmt.Errorf("write to a spool file: %w", err)
	}
	return nil
}

func (s *spool) reader() io.Reader { return io.NewSectionReader(s.file, 0, s.size) }

func (s *spool) at(offset int64, length int) ([]byte, error) {
	data := make([]byte, length)
	if _, err := s.file.ReadAt(data, offset); err != nil {
		return nil, fmt.Errorf("read a spool file: %w", err)
	}
	return data, nil
}

// close gives the file up. What was not written to disk need not be.
func (s *spool) close() {
	if s != nil {
		_ = s.file.Close()
	}
}
