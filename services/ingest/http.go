package ingest

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/telemetry"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// visit is one request or message at the door, and what became of it.
type visit struct {
	arrived time.Time
	// source is nil until the request is authenticated.
	source  *Source
	format  format
	bytes   int
	events  int
	results []Result
	refusal *refusal
}

func (s *Service) serveEvents(w http.ResponseWriter, r *http.Request) {
	v := &visit{arrived: time.Now()}
	ctx := telemetry.ExtractHTTP(r.Context(), r.Header)
	v.refusal = s.receive(ctx, w, r, v)
	if v.refusal != nil {
		write(w, v.refusal)
	} else {
		v.answer(w)
	}
	s.report(ctx, v)
}

// receive takes one request in. What costs more comes later: who is unknown has
// no body read, who is unproved has nothing parsed.
func (s *Service) receive(ctx context.Context, w http.ResponseWriter, r *http.Request, v *visit) *refusal {
	if r.Method != http.MethodPost {
		return wrongMethod
	}
	candidates := s.sources.Load().candidates(r)
	if len(candidates) == 0 {
		return unauthorized
	}
	var no *refusal
	if v.format, no = formatOf(r.Header); no != nil {
		return no
	}
	body, no := s.read(w, r, v.format.limit)
	if no != nil {
		return no
	}
	defer body.release()
	v.bytes = len(body.data)
	switch proved := admitting(candidates, r.Header, body.data); len(proved) {
	case 0:
		return unproved(candidates, r.Header)
	case 1:
		v.source = proved[0]
	default:
		return ambiguous
	}
	return s.take(ctx, r.Header, v, body.data)
}

// take parses and accepts the body of an authenticated request, or message.
func (s *Service) take(ctx context.Context, h http.Header, v *visit, body []byte) *refusal {
	events, err := v.format.parse(h, body)
	if err != nil {
		_, span := s.tel.Tracer.Start(ctx, "refuse request", trace.WithTimestamp(v.arrived), trace.WithSpanKind(trace.SpanKindServer))
		span.SetStatus(codes.Error, reasonOf(err))
		span.End()
		return refusalOf(err, v.format)
	}
	v.events = len(events)
	if v.results, err = s.accept(ctx, v.source, events, v.arrived); err != nil {
		return refusalOf(err, v.format)
	}
	return nil
}

// answer is 202: everything is stored.
func (v *visit) answer(w http.ResponseWriter) {
	var document any = batchAnswer{Results: v.results, Accepted: v.count(Accepted), Duplicates: v.count(Duplicate)}
	if !v.format.batch {
		document = v.results[0]
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusAccepted)
	// The events are stored whether or not the sender still listens; one that
	// does not will repeat them.
	_ = json.NewEncoder(w).Encode(document)
}

// batchAnswer lists the results in the order of the events.
type batchAnswer struct {
	Results    []Result `json:"results"`
	Accepted   int      `json:"accepted"`
	Duplicates int      `json:"duplicates"`
}

func (v *visit) count(status Status) (n int) {
	for _, r := range v.results {
		if r.Status == status {
			n++
		}
	}
	return n
}

// format is one of the ways in which CloudEvents travel over HTTP.
type format struct {
	name  string
	batch bool
	// limit is the size of a body in bytes.
	limit int64
	parse func(http.Header, []byte) ([]event.Event, error)
}

const (
	// MaxBody is the size of one event's body in bytes.
	MaxBody = 1 << 20
	// MaxBatchBody is the size of a batch's body in bytes.
	MaxBatchBody = 8 << 20
)

// formatOf tells the format from the header.
func formatOf(h http.Header) (format, *refusal) {
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return format{}, compressed
	}
	switch kind, plain := mediaType(h); {
	case kind == "application/cloudevents+json" && plain:
		return format{name: "structured", limit: MaxBody, parse: func(_ http.Header, body []byte) ([]event.Event, error) {
			return one(event.Parse(body))
		}}, nil
	case kind == "application/cloudevents-batch+json" && plain:
		return format{name: "batch", batch: true, limit: MaxBatchBody, parse: func(_ http.Header, body []byte) ([]event.Event, error) {
			return event.ParseBatch(body)
		}}, nil
	case strings.HasPrefix(kind, "application/cloudevents"):
		return format{}, wrongMediaType
	case event.IsBinary(h) && (event.IsJSON(h.Get("Content-Type")) || h.Get("Content-Type") == ""):
		return format{name: "binary", limit: MaxBody, parse: func(h http.Header, body []byte) ([]event.Event, error) {
			return one(event.ParseBinary(h, body))
		}}, nil
	default:
		return format{}, wrongMediaType
	}
}

func one(e event.Event, err error) ([]event.Event, error) { return []event.Event{e}, err }

// report is the one wide log line of a request, and its metrics.
func (s *Service) report(ctx context.Context, v *visit) {
	took := time.Since(v.arrived)
	source := "unknown"
	if v.source != nil {
		source = v.source.Name
		s.metrics.bytes.Add(float64(v.bytes), source)
		s.metrics.seconds.Observe(took.Seconds(), source)
	}
	status, level := http.StatusAccepted, slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("source", source), slog.String("format", v.format.name), slog.Int("bytes", v.bytes),
		slog.Int("events", v.events), slog.Float64("seconds", took.Seconds()),
	}
	if v.refusal != nil {
		status, level = v.refusal.status, slog.LevelWarn
		s.metrics.refused.Add(1, source, v.refusal.reason)
		attrs = append(attrs, slog.String("reason", v.refusal.reason), slog.String("field", v.refusal.attribute()))
		if v.refusal.cause != nil {
			attrs = append(attrs, slog.Any("error", v.refusal.cause))
		}
	} else {
		attrs = append(attrs, slog.Int("accepted", v.count(Accepted)), slog.Int("duplicates", v.count(Duplicate)))
	}
	if len(v.results) == 1 {
		attrs = append(attrs, slog.String("event", v.results[0].ID), slog.String("trace", v.results[0].Trace))
	}
	if v.source == nil {
		// A flood of forgeries must not become a flood of lines.
		skipped, write := s.failures.write(v.arrived)
		if !write {
			return
		}
		attrs = append(attrs, slog.Int("skipped", skipped))
	}
	s.tel.Log.LogAttrs(ctx, level, "request received", append(attrs, slog.Int("status", status))...)
}
