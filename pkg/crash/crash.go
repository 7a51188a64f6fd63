// Package crash owns the named points at which a test ends the process: between
// one durable step and the next, where a real crash would hurt most. Without a
// test, passing a point does nothing.
package crash

import "context"

// Point is a place in the code, named after what is done already and what is not.
type Point string

// The points, in the order in which an event passes them.
const (
	IngestVerified Point = "ingest: verified, not stored"
	IngestStored   Point = "ingest: stored, not answered"

	MapperFetched   Point = "mapper: fetched, nothing done"
	MapperStored    Point = "mapper: person stored, no command issued"
	MapperIssued    Point = "mapper: a command issued, others and the outcome not"
	MapperCompleted Point = "mapper: outcome recorded, not acknowledged"

	DispatcherFetched  Point = "dispatcher: fetched, nothing done"
	DispatcherRead     Point = "dispatcher: account read, nothing written"
	DispatcherCounted  Point = "dispatcher: the guard counted, nothing written"
	DispatcherIntended Point = "dispatcher: intent stored, nothing sent"
	DispatcherAnswered Point = "dispatcher: the target answered, nothing stored"
	DispatcherStored   Point = "dispatcher: account stored, no outcome"
	DispatcherRecorded Point = "dispatcher: outcome recorded, not acknowledged"
	DispatcherLetter   Point = "dispatcher: dead letter stored, account not"

	DeskDecided Point = "desk: decision stored, nothing sent"
	DeskSent    Point = "desk: sent, decision not stored"
)

// Points are all of them.
func Points() []Point {
	return []Point{
		IngestVerified, IngestStored,
		MapperFetched, MapperStored, MapperIssued, MapperCompleted,
		DispatcherFetched, DispatcherRead, DispatcherCounted, DispatcherIntended, DispatcherAnswered, DispatcherStored,
		DispatcherRecorded, DispatcherLetter,
		DeskDecided, DeskSent,
	}
}

type hook struct{}

// With is a context whose work calls fn at each point it passes.
func With(ctx context.Context, fn func(Point)) context.Context {
	return context.WithValue(ctx, hook{}, fn)
}

// At passes a point.
func At(ctx context.Context, p Point) {
	if fn, ok := ctx.Value(hook{}).(func(Point)); ok {
		fn(p)
	}
}
