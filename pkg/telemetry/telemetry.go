// Package telemetry owns what a process says about itself: log lines, traces
// and metrics. Everybody else logs through slog, starts spans through the
// OpenTelemetry API and counts through [Metrics]; this package alone knows
// zerolog, the OpenTelemetry SDK and Prometheus.
//
// Nothing here is global: each [Telemetry] has its own logger, tracer provider
// and registry, so that several services can live in one process, and several
// processes in one test. Telemetry never holds up the work it tells about: a
// collector that is down or slow costs spans, which are counted, and nothing
// else.
//
// Secrets and personal values have no place in telemetry; packages are written
// not to hand any over. The nets in this package (see [Telemetry.Log]) are for
// the day on which one of them does.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scope names the instrumentation in exported spans.
const scope = "github.com/joinery/joinery"

// shutdownTimeout bounds what an unreachable collector can cost at the end of a
// process.
const shutdownTimeout = 5 * time.Second

// Options say who is speaking and where to. The zero value is silent: no lines,
// no spans, metrics that nobody reads.
type Options struct {
	// Service and Instance name the speaker on every line and span.
	Service, Instance string
	// Log takes one JSON object a line; nil discards them. It is written to by
	// one goroutine at a time.
	Log io.Writer
	// Level is the least level that is written; nil means info. A
	// *slog.LevelVar can be changed while the process runs.
	Level slog.Leveler
	// OTLP is the URL of an OTLP/HTTP collector, such as
	// http://localhost:4318 (/v1/traces is added where it names no path); empty
	// exports nothing. Trace ids are made and
	// handed on either way.
	OTLP string
	// Sample is the share of traces to record, above 0 and up to 1; 0 means all.
	// Every service decides by the trace id alone, so equal settings give
	// whole traces.
	Sample float64
	// Exporter gets every recorded span as it ends, before End returns: for tests.
	Exporter sdktrace.SpanExporter
}

// Validate reports everything that is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	if o.Sample < 0 || o.Sample > 1 {
		errs = append(errs, fmt.Errorf("sample: %v is not a share between 0 and 1", o.Sample))
	}
	if u, err := url.Parse(o.OTLP); o.OTLP != "" && (err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https")) {
		errs = append(errs, errors.New("otlp: want a URL such as http://localhost:4318"))
	}
	return errors.Join(errs...)
}

// Telemetry is what one service speaks with.
type Telemetry struct {
	// Log renders JSON, one object a line, with the trace and span id of the
	// context. Attributes with telling names (password, token, authorization,
	// email ...) are replaced, and so are credentials inside texts; structs,
	// maps, messages and bytes are named by their type and never shown.
	Log *slog.Logger
	// Tracer starts spans.
	Tracer trace.Tracer
	// Metrics counts and measures.
	Metrics *Metrics

	provider *sdktrace.TracerProvider
}

// New makes a Telemetry. It reaches no network: a collector that is not there is
// found out later, and only logged. End it with Shutdown.
func New(ctx context.Context, o Options) (*Telemetry, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("check telemetry options: %w", err)
	}
	t := &Telemetry{Log: newLogger(o), Metrics: newMetrics()}
	provider, err := newProvider(ctx, o, t.Metrics, t.Log)
	if err != nil {
		return nil, err
	}
	t.provider = provider
	t.Tracer = provider.Tracer(scope)
	return t, nil
}

// Shutdown exports the spans that are still queued and stops. It takes no longer
// than five seconds, whatever the collector does.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("export the last spans: %w", err)
	}
	return nil
}
