package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/joinery/joinery/pkg/crash"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
)

const (
	// maxEncoded bounds an event as the broker stores it: its limit is 1 MiB
	// with headers and subject.
	maxEncoded = 1<<20 - 16<<10
	// storeTimeout bounds the wait for the broker; what takes longer is
	// answered 503, and the sender asks again.
	storeTimeout = 5 * time.Second
	// maxRounds bounds how often a batch is sent to the journal because
	// another request stored some of its events in between.
	maxRounds = 4
)

// Codes of refusals that need the journal or the store's bounds; the others are
// those of package event.
const (
	tooLarge event.Code = "too_large"
	reused   event.Code = "id_reused"
	early    event.Code = "early"
)

// parcel is one event on its way through the door.
type parcel struct {
	Entry
	span   trace.Span
	result Result
	// first is the index of the earlier event of the batch with the same id, or
	// its own.
	first int
}

func (s *Service) accept(ctx context.Context, src *Source, events []event.Event, arrived time.Time) ([]Result, error) {
	parcels := make([]*parcel, len(events))
	for i, e := range events {
		parcels[i] = s.begin(ctx, src, e, arrived)
	}
	err := interpret(src, events, parcels, arrived)
	crash.At(ctx, crash.IngestVerified)
	if err == nil {
		err = s.store(ctx, parcels)
		crash.At(ctx, crash.IngestStored)
	}
	results := make([]Result, len(parcels))
	for i, p := range parcels {
		p.end(err)
		results[i] = p.result
	}
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		s.metrics.events.Add(1, src.Name, string(r.Status))
	}
	return results, nil
}

// interpret gives every parcel its canonical event, or fails with everything
// that is wrong with them.
func interpret(src *Source, events []event.Event, parcels []*parcel, received time.Time) error {
	var problems event.Problems
	for i, e := range events {
		c, err := src.Events.Interpret(e, received)
		if err == nil {
			err = unstorable(c, received)
		}
		for _, p := range event.ProblemsOf(err) {
			problems = append(problems, p.At(root(i)))
		}
		parcels[i].Event = c
	}
	return anyOf(problems)
}

const (
	// maxAhead is how far the time of a fact may be ahead of ours: clocks differ.
	// Beyond it, one wrong clock at a source would outrank everything that is said
	// for years.
	maxAhead = 24 * time.Hour
	// maxEffect is how far ahead something may take effect: nobody plans a hire or
	// a leaving further, and a date beyond it is a mistake that nobody would see.
	maxEffect = 5 * 366 * 24 * time.Hour
)

// unstorable says why an event cannot be kept though its source may say it: it
// is too large, or speaks of a time too far ahead.
func unstorable(c *joineryv1.LifecycleEvent, now time.Time) error {
	switch {
	case proto.Size(c) > maxEncoded:
		return &event.Problem{Code: tooLarge, Field: "data", Detail: "The event is too large to be stored. Send less data, and no documents or pictures."}
	case c.GetEffectiveAt() != nil && c.GetEffectiveAt().AsTime().Sub(now) > maxEffect:
		return &event.Problem{Code: early, Field: "effectivetime", Detail: "The event takes effect more than five years from now. Correct the date, or send the event later."}
	case c.GetOccurredAt().AsTime().Sub(now) > maxAhead:
		return &event.Problem{Code: early, Field: "time", Detail: "The event happened more than a day ahead of our clock, and would outrank everything that is said until then. Correct the source's clock."}
	}
	return nil
}

// anyOf is the problems as an error, or nil where there are none.
func anyOf(problems event.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	return problems[:min(len(problems), event.MaxProblems)]
}

func root(i int) string { return fmt.Sprintf("events[%d]", i) }

// begin opens the one span of an event at the door. The event's own trace
// context goes before the request's: the request may only be a relay.
func (s *Service) begin(ctx context.Context, src *Source, e event.Event, arrived time.Time) *parcel {
	id := event.IDOf(src.Name, e.ID)
	parent := telemetry.Extract(ctx, map[string]string{
		"traceparent": e.Extensions["traceparent"], "tracestate": e.Extensions["tracestate"],
	})
	ctx, span := s.tel.Tracer.Start(parent, "accept event",
		trace.WithTimestamp(arrived), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("joinery.event", id),
			attribute.String("joinery.source", src.Name),
		))
	return &parcel{Entry: Entry{Context: ctx}, span: span, result: Result{ID: id, Trace: traceOf(ctx), Status: Accepted}}
}

func (p *parcel) end(err error) {
	if err != nil {
		p.span.SetStatus(codes.Error, reasonOf(err))
	} else {
		p.span.SetAttributes(
			attribute.String("joinery.kind", identity.KindName(p.Event.GetKind())),
			attribute.String("joinery.status", string(p.result.Status)),
		)
	}
	p.span.End()
}

// store brings all parcels into the journal, or none.
func (s *Service) store(ctx context.Context, parcels []*parcel) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	fresh, err := distinct(parcels)
	if err != nil {
		return err
	}
	if err := s.addNew(ctx, fresh); err != nil {
		return err
	}
	for _, p := range parcels {
		if first := parcels[p.first]; first != p {
			p.result = Result{ID: first.result.ID, Trace: first.result.Trace, Status: Duplicate}
		}
	}
	return nil
}

// addNew adds the parcels that the journal does not hold yet.
func (s *Service) addNew(ctx context.Context, fresh []*parcel) error {
	for range maxRounds {
		err := s.add(ctx, fresh)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrStored) {
			return fmt.Errorf("store events: %w", err)
		}
		if fresh, err = s.unstored(ctx, fresh); err != nil {
			return err
		}
	}
	return fmt.Errorf("store events: %w", ErrStored)
}

func (s *Service) add(ctx context.Context, fresh []*parcel) error {
	switch len(fresh) {
	case 0:
		return nil
	case 1:
		stored, err := s.journal.Add(trace.ContextWithSpan(ctx, fresh[0].span), fresh[0].Event)
		if err == nil && !stored {
			return ErrStored
		}
		return err
	}
	select {
	case s.batches <- struct{}{}:
		defer func() { <-s.batches }()
	case <-ctx.Done():
		return fmt.Errorf("wait for a place: %w", ctx.Err())
	}
	entries := make([]Entry, len(fresh))
	for i, p := range fresh {
		entries[i] = p.Entry
	}
	return s.journal.AddAll(ctx, entries)
}

// distinct is the parcels without those that repeat an earlier one.
func distinct(parcels []*parcel) ([]*parcel, error) {
	seen := make(map[string]int, len(parcels))
	var out []*parcel
	var problems event.Problems
	for i, p := range parcels {
		first, again := seen[p.Event.GetId()]
		switch {
		case !again:
			seen[p.Event.GetId()], p.first = i, i
			out = append(out, p)
		case !same(parcels[first].Event, p.Event):
			problems = append(problems, idReused(i))
		default:
			p.first = first
		}
	}
	return out, anyOf(problems)
}

// unstored is the parcels that the journal does not hold. Those it holds become
// duplicates, where they say the same; a source that uses one id for two
// different events would lose the second without a word.
func (s *Service) unstored(ctx context.Context, fresh []*parcel) ([]*parcel, error) {
	var out []*parcel
	var problems event.Problems
	for _, p := range fresh {
		found, err := s.journal.Find(ctx, p.Event)
		switch {
		case errors.Is(err, ErrNotStored):
			out = append(out, p)
		case err != nil:
			return nil, fmt.Errorf("look up an event: %w", err)
		case !same(found.Event, p.Event):
			problems = append(problems, idReused(p.first))
		default:
			p.result.Status, p.result.Trace = Duplicate, found.Trace
		}
	}
	return out, anyOf(problems)
}

func idReused(i int) *event.Problem {
	return &event.Problem{
		Code: reused, Field: root(i) + ".id",
		Detail: "The source has used this id for another event before. Give every event an id of its own; repeat an id only with the event unchanged.",
	}
}

// same tells whether two events of one id say the same. Times are not compared:
// senders that make an event anew to repeat it stamp it anew. The key is not
// either, since the rule that gives it may have changed in between.
func same(a, b *joineryv1.LifecycleEvent) bool {
	statement := func(e *joineryv1.LifecycleEvent) *joineryv1.LifecycleEvent {
		return &joineryv1.LifecycleEvent{
			SourceUri: e.GetSourceUri(), Kind: e.GetKind(), Subject: e.GetSubject(), Full: e.GetFull(),
			Attributes: e.GetAttributes(), Cleared: e.GetCleared(), Grant: e.GetGrant(), Group: e.GetGroup(),
			Rescinds: e.GetRescinds(), Employment: e.GetEmployment(),
		}
	}
	return proto.Equal(statement(a), statement(b))
}

// traceOf is the hex trace id of ctx, or "".
func traceOf(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}
