package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/telemetry"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func start(t *testing.T, o telemetry.Options) *telemetry.Telemetry {
	t.Helper()
	tel, err := telemetry.New(t.Context(), o)
	if err != nil {
		t.Fatalf("make telemetry: %v", err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("shut down: %v", err)
		}
	})
	return tel
}

func TestOptionsReportEverythingWrongAtOnce(t *testing.T) {
	_, err := telemetry.New(t.Context(), telemetry.Options{Sample: 2, OTLP: "collector:4318"})
	if err == nil || !strings.Contains(err.Error(), "sample") || !strings.Contains(err.Error(), "otlp") {
		t.Errorf("got %v, want both mistakes", err)
	}
}

func TestTheZeroOptionsAreSilentButCarryTraceIDs(t *testing.T) {
	tel := start(t, telemetry.Options{})
	tel.Log.Error("nobody reads this")
	ctx, span := tel.Tracer.Start(t.Context(), "work")
	defer span.End()
	metadata := map[string]string{}
	telemetry.Inject(ctx, metadata)
	got := trace.SpanContextFromContext(telemetry.Extract(t.Context(), metadata))
	if got.TraceID() != span.SpanContext().TraceID() || !got.IsRemote() || span.IsRecording() {
		t.Errorf("trace %v of %v, recording %v", got.TraceID(), span.SpanContext().TraceID(), span.IsRecording())
	}
}

func TestTwoSpeakersInOneProcessShareNothing(t *testing.T) {
	one, two := tracetest.NewInMemoryExporter(), tracetest.NewInMemoryExporter()
	provider, propagator := otel.GetTracerProvider(), otel.GetTextMapPropagator()
	a := start(t, telemetry.Options{Service: "ingest", Exporter: one})
	b := start(t, telemetry.Options{Service: "mapper", Exporter: two})
	_, span := a.Tracer.Start(t.Context(), "only a")
	span.End()
	a.Metrics.Counter("joinery_test_total", "Test.").Add(1)
	b.Metrics.Counter("joinery_test_total", "Test.").Add(5)

	if len(one.GetSpans()) != 1 || len(two.GetSpans()) != 0 {
		t.Errorf("spans: %d and %d, want 1 and 0", len(one.GetSpans()), len(two.GetSpans()))
	}
	if got := scrape(t, b.Metrics); !strings.Contains(got, "joinery_test_total 5\n") {
		t.Errorf("b does not count alone:\n%s", got)
	}
	if otel.GetTracerProvider() != provider || otel.GetTextMapPropagator() != propagator {
		t.Error("the process-wide OpenTelemetry settings were changed")
	}
}

func TestOneTraceGoesThroughMessagesAndRequests(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tel := start(t, telemetry.Options{Service: "mapper", Exporter: spans})
	ctx, first := tel.Tracer.Start(t.Context(), "arrive")
	metadata := map[string]string{}
	telemetry.Inject(ctx, metadata)
	ctx, second := tel.Tracer.Start(telemetry.Extract(t.Context(), metadata), "map")
	header := http.Header{}
	telemetry.InjectHTTP(ctx, header)
	_, third := tel.Tracer.Start(telemetry.ExtractHTTP(t.Context(), header), "send")
	third.End()
	second.End()
	first.End()

	want := []string{"send under map", "map under arrive", "arrive under "}
	names := map[trace.SpanID]string{}
	for _, s := range spans.GetSpans() {
		names[s.SpanContext.SpanID()] = s.Name
	}
	var got []string
	for _, s := range spans.GetSpans() {
		got = append(got, s.Name+" under "+names[s.Parent.SpanID()])
		if s.SpanContext.TraceID() != first.SpanContext().TraceID() {
			t.Errorf("%s is in another trace", s.Name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}

func TestNothingButTraceparentTravels(t *testing.T) {
	tel := start(t, telemetry.Options{})
	in := map[string]string{
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"tracestate":  "vendor=ann@example.com",
		"baggage":     "user=ann",
	}
	ctx, span := tel.Tracer.Start(telemetry.Extract(t.Context(), in), "work")
	defer span.End()
	out := map[string]string{}
	telemetry.Inject(ctx, out)
	want := map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-" + span.SpanContext().SpanID().String() + "-00"}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("injected (-want +got):\n%s", diff)
	}
	header := http.Header{}
	propagation.Baggage{}.Inject(ctx, propagation.HeaderCarrier(header))
	telemetry.InjectHTTP(ctx, header)
	if len(header) != 1 {
		t.Errorf("header %v, want traceparent alone", header)
	}
}

func TestUnreadableTraceContextIsNoTraceContext(t *testing.T) {
	for _, value := range []string{"", "x", "00-0-0-00", "00-00000000000000000000000000000000-b7ad6b7169203331-01", strings.Repeat("0", 4096)} {
		ctx := telemetry.Extract(t.Context(), map[string]string{"traceparent": value})
		if trace.SpanContextFromContext(ctx).IsValid() {
			t.Errorf("%q was taken for a trace", value)
		}
	}
}

func TestAnOutsiderCannotSwitchTracesOff(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tel := start(t, telemetry.Options{Exporter: spans})
	in := map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
	_, span := tel.Tracer.Start(telemetry.Extract(t.Context(), in), "work")
	span.End()
	if got := len(spans.GetSpans()); got != 1 {
		t.Errorf("%d spans, want 1", got)
	}
}

func TestEqualSamplingKeepsWholeTraces(t *testing.T) {
	one, two := tracetest.NewInMemoryExporter(), tracetest.NewInMemoryExporter()
	a := start(t, telemetry.Options{Exporter: one, Sample: 0.5})
	b := start(t, telemetry.Options{Exporter: two, Sample: 0.5})
	for range 200 {
		ctx, span := a.Tracer.Start(t.Context(), "a")
		metadata := map[string]string{}
		telemetry.Inject(ctx, metadata)
		_, next := b.Tracer.Start(telemetry.Extract(t.Context(), metadata), "b")
		next.End()
		span.End()
	}
	ids := func(e *tracetest.InMemoryExporter) (ids []string) {
		for _, s := range e.GetSpans() {
			ids = append(ids, s.SpanContext.TraceID().String())
		}
		return ids
	}
	if diff := cmp.Diff(ids(one), ids(two)); diff != "" {
		t.Errorf("the services sampled different traces:\n%s", diff)
	}
	if n := len(one.GetSpans()); n < 50 || n > 150 {
		t.Errorf("%d of 200 traces, want about half", n)
	}
}

func TestSpansPassTheNetToo(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tel := start(t, telemetry.Options{Exporter: spans})
	_, span := tel.Tracer.Start(t.Context(), "work")
	span.SetAttributes(attribute.String("url.query", "userName eq ann"), attribute.String("joinery.target", "acme"),
		attribute.Int("tokens", 3), attribute.String("error", "sent Authorization: Bearer canary-4711-canary"))
	span.RecordError(textError("dial redis://user:canary-4712@redis:6379"))
	span.End()
	raw, err := json.Marshal(spans.GetSpans())
	if err != nil {
		t.Fatal(err)
	}
	for _, canary := range []string{"ann", "canary"} {
		if bytes.Contains(raw, []byte(canary)) {
			t.Errorf("%q left the process:\n%s", canary, raw)
		}
	}
	if !bytes.Contains(raw, []byte("acme")) {
		t.Errorf("the target's name is gone:\n%s", raw)
	}
}

type textError string

func (e textError) Error() string { return string(e) }

func TestSpansReachACollectorOverHTTP(t *testing.T) {
	var mu sync.Mutex
	paths := map[string]int{}
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		paths[r.URL.Path] += len(body)
		w.WriteHeader(http.StatusOK)
	}))
	defer collector.Close()
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "ingest", OTLP: collector.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.Tracer.Start(t.Context(), "work")
	span.End()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if paths["/v1/traces"] == 0 {
		t.Errorf("the collector got %v, want a body at /v1/traces", paths)
	}
	got := scrape(t, tel.Metrics)
	for _, line := range []string{`joinery_telemetry_spans_total{result="ended"} 1`, `joinery_telemetry_spans_total{result="exported"} 1`} {
		if !strings.Contains(got, line) {
			t.Errorf("metrics lack %q", line)
		}
	}
}

// A collector that accepts and never answers is the worst kind of down.
func TestAHangingCollectorHoldsNobodyUp(t *testing.T) {
	release := make(chan struct{})
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer collector.Close()
	defer close(release)
	var out bytes.Buffer
	tel, err := telemetry.New(t.Context(), telemetry.Options{OTLP: collector.URL, Log: &out})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 40_000 { // more than the queue holds
		_, span := tel.Tracer.Start(t.Context(), "work")
		span.End()
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("40,000 spans took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := tel.Shutdown(ctx); err == nil {
		t.Error("the shutdown claims that all spans were exported")
	}
}

func TestAnOutageOfTheCollectorIsOneLine(t *testing.T) {
	var out bytes.Buffer
	down := &brokenExporter{down: true}
	tel := start(t, telemetry.Options{Log: &out, Exporter: down})
	work := func() {
		_, span := tel.Tracer.Start(t.Context(), "work")
		span.End()
	}
	work()
	work()
	down.down = false
	work()
	work()
	var got []string
	for _, line := range lines(t, &out) {
		got = append(got, line["message"].(string))
	}
	if diff := cmp.Diff([]string{"spans cannot be exported", "spans are exported again"}, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

type brokenExporter struct{ down bool }

func (b *brokenExporter) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	if b.down {
		return textError("answer 503")
	}
	return nil
}

func (*brokenExporter) Shutdown(context.Context) error { return nil }

func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("scrape: status %d", rec.Code)
	}
	return rec.Body.String()
}

// lines are the log lines, each of which must be exactly one JSON object.
func lines(t *testing.T, out *bytes.Buffer) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(out.String()) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("not one JSON object: %v\n%s", err, line)
		}
		all = append(all, object)
	}
	return all
}
