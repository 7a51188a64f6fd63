package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// NewJournal keeps events in stream LIFECYCLE.
func NewJournal(conn *stream.Conn) Journal {
	return &journal{conn: conn, publisher: conn.Publisher()}
}

type journal struct {
	conn      *stream.Conn
	publisher *stream.Publisher
}

func (j *journal) Add(ctx context.Context, e *joineryv1.LifecycleEvent) (bool, error) {
	duplicate, err := wire.NewOutbox(j.publisher).Lifecycle(ctx, e)
	return err == nil && !duplicate, err
}

func (j *journal) AddAll(ctx context.Context, entries []Entry) error {
	items := make([]stream.Item, len(entries))
	for i, e := range entries {
		msg, err := wire.Encode(e.Context, e.Event.GetId(), e.Event)
		if err != nil {
			return err
		}
		items[i] = stream.Item{Topic: wire.LifecycleSubject(e.Event), Message: msg}
	}
	err := j.publisher.PublishBatch(ctx, items)
	if errors.Is(err, stream.ErrConflict) {
		return ErrStored
	}
	return err
}

// Find looks at the event's own subject, and then at those of other people: a
// source that uses an id twice may mean two persons.
func (j *journal) Find(ctx context.Context, e *joineryv1.LifecycleEvent) (Stored, error) {
	found, err := j.conn.Last(ctx, stream.Lifecycle, wire.LifecycleSubject(e))
	if errors.Is(err, stream.ErrNotFound) {
		found, err = j.conn.Last(ctx, stream.Lifecycle, "joinery.lifecycle."+e.GetSource()+".*."+e.GetId())
	}
	if errors.Is(err, stream.ErrNotFound) {
		return Stored{}, ErrNotStored
	}
	if err != nil {
		return Stored{}, err
	}
	var event joineryv1.LifecycleEvent
	traced, err := wire.Decode(found.Message, &event)
	if err != nil {
		return Stored{}, fmt.Errorf("read a stored event: %w", err)
	}
	return Stored{Event: &event, Trace: traceOf(traced)}, nil
}
