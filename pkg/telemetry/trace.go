package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// spanQueue bounds the spans that wait for the collector, some 20 MiB; the
	// SDK's default of 2048 overflows within a second of a backlog.
	spanQueue = 16384
	spanBatch = 1024
	// exportTimeout bounds one request to the collector, with its retries.
	exportTimeout = 10 * time.Second
)

func newProvider(ctx context.Context, o Options, m *Metrics, log *slog.Logger) (*sdktrace.TracerProvider, error) {
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "joinery-"+o.Service),
			attribute.String("service.instance.id", o.Instance),
		)),
		sdktrace.WithSampler(sampler(o)),
	}
	if o.Exporter != nil {
		options = append(options, sdktrace.WithSyncer(&guarded{next: o.Exporter, log: log}))
	}
	if o.OTLP != "" {
		exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(tracesURL(o.OTLP)), otlptracehttp.WithTimeout(exportTimeout))
		if err != nil {
			return nil, fmt.Errorf("make the span exporter: %w", err)
		}
		spans := m.Counter("joinery_telemetry_spans_total",
			"Spans by what became of them. What ended and was neither exported nor failed was dropped from a full queue.", "result")
		options = append(options,
			sdktrace.WithSpanProcessor(ended{spans}),
			sdktrace.WithBatcher(&guarded{next: exporter, log: log, spans: spans},
				sdktrace.WithMaxQueueSize(spanQueue), sdktrace.WithMaxExportBatchSize(spanBatch),
				sdktrace.WithBatchTimeout(time.Second), sdktrace.WithExportTimeout(exportTimeout)))
	}
	return sdktrace.NewTracerProvider(options...), nil
}

// tracesURL adds the path that the OTLP specification gives to traces, where the
// endpoint names none.
func tracesURL(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || strings.Trim(u.Path, "/") != "" {
		return endpoint
	}
	return u.JoinPath("v1", "traces").String()
}

// sampler decides by the trace id alone. The caller's sampled flag is not asked:
// an outsider could switch our traces off, or all of them on. Without an exporter
// spans record nothing and only carry their ids.
func sampler(o Options) sdktrace.Sampler {
	switch {
	case o.Exporter == nil && o.OTLP == "":
		return sdktrace.NeverSample()
	case o.Sample == 0:
		return sdktrace.AlwaysSample()
	default:
		return sdktrace.TraceIDRatioBased(o.Sample)
	}
}

// guarded keeps an exporter's failures away from OpenTelemetry's global error
// handler, which would write them past our log, and telling attributes away from
// the exporter.
type guarded struct {
	next    sdktrace.SpanExporter
	log     *slog.Logger
	spans   *Counter
	failing atomic.Bool
}

func (g *guarded) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	safe := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		safe[i] = veiled{s}
	}
	err := g.next.ExportSpans(ctx, safe)
	result := "exported"
	if err != nil {
		result = "failed"
	}
	if g.spans != nil {
		g.spans.Add(float64(len(spans)), result)
	}
	// One line when it begins and one when it ends: an outage lasts many batches.
	switch was := g.failing.Swap(err != nil); {
	case err != nil && !was:
		g.log.WarnContext(ctx, "spans cannot be exported", "error", err)
	case err == nil && was:
		g.log.InfoContext(ctx, "spans are exported again")
	}
	return nil
}

func (g *guarded) Shutdown(ctx context.Context) error { return g.next.Shutdown(ctx) }

// ended counts the spans that were handed to the queue, which itself does not
// tell how many it dropped.
type ended struct{ spans *Counter }

func (ended) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (e ended) OnEnd(sdktrace.ReadOnlySpan)                   { e.spans.Add(1, "ended") }
func (ended) Shutdown(context.Context) error                  { return nil }
func (ended) ForceFlush(context.Context) error                { return nil }

// veiled is a span whose texts pass the same net as those of log lines.
type veiled struct{ sdktrace.ReadOnlySpan }

func (v veiled) Attributes() []attribute.KeyValue { return veil(v.ReadOnlySpan.Attributes()) }

func (v veiled) Events() []sdktrace.Event {
	events := v.ReadOnlySpan.Events()
	safe := make([]sdktrace.Event, len(events))
	for i, e := range events {
		e.Attributes = veil(e.Attributes)
		safe[i] = e
	}
	return safe
}

func (v veiled) Status() sdktrace.Status {
	s := v.ReadOnlySpan.Status()
	s.Description = clean(s.Description)
	return s
}

func veil(attrs []attribute.KeyValue) []attribute.KeyValue {
	safe := make([]attribute.KeyValue, len(attrs))
	for i, a := range attrs {
		safe[i] = a
		switch kind := a.Value.Type(); {
		case kind != attribute.STRING && kind != attribute.STRINGSLICE:
		case tells(string(a.Key)):
			safe[i].Value = attribute.StringValue(Redacted)
		case kind == attribute.STRING:
			safe[i].Value = attribute.StringValue(clean(a.Value.AsString()))
		}
	}
	return safe
}

// traceparent is the only field that travels: tracestate and baggage could carry
// what an outsider put there into messages, logs of others and targets.
const traceparent = "traceparent"

// carrier reads and writes traceparent through two functions.
type carrier struct {
	get func() string
	set func(string)
}

func (c carrier) Get(key string) string {
	if key != traceparent {
		return ""
	}
	return c.get()
}

func (c carrier) Set(key, value string) {
	if key == traceparent {
		c.set(value)
	}
}

func (c carrier) Keys() []string { return []string{traceparent} }

func mapCarrier(m map[string]string) carrier {
	return carrier{
		get: func() string { return m[traceparent] },
		set: func(v string) { m[traceparent] = v },
	}
}

func headerCarrier(h http.Header) carrier {
	return carrier{
		get: func() string { return h.Get(traceparent) },
		set: func(v string) { h.Set(traceparent, v) },
	}
}

// Inject writes the trace context of ctx into a message's metadata (W3C Trace
// Context, header traceparent). Without a span in ctx it writes nothing.
func Inject(ctx context.Context, metadata map[string]string) {
	propagation.TraceContext{}.Inject(ctx, mapCarrier(metadata))
}

// Extract is ctx with the trace context of a message's metadata as remote parent,
// or ctx itself where there is none or it cannot be read.
func Extract(ctx context.Context, metadata map[string]string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, mapCarrier(metadata))
}

// InjectHTTP writes the trace context of ctx into the header of a request.
func InjectHTTP(ctx context.Context, h http.Header) {
	propagation.TraceContext{}.Inject(ctx, headerCarrier(h))
}

// ExtractHTTP is Extract for the header of a request.
func ExtractHTTP(ctx context.Context, h http.Header) context.Context {
	return propagation.TraceContext{}.Extract(ctx, headerCarrier(h))
}
