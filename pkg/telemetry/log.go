package telemetry

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
)

// timeFormat has milliseconds and a fixed width, so that lines sort as text.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

func newLogger(o Options) *slog.Logger {
	w := o.Log
	if w == nil {
		w = io.Discard
	}
	var level slog.Leveler = slog.LevelInfo
	if o.Level != nil {
		level = o.Level
	}
	out := zerolog.New(zerolog.SyncWriter(w)).Level(zerolog.TraceLevel)
	log := slog.New(&handler{next: zerolog.NewSlogHandler(out), level: level})
	if o.Service != "" {
		log = log.With("service", o.Service)
	}
	if o.Instance != "" {
		log = log.With("instance", o.Instance)
	}
	return log
}

// handler stands before zerolog's: it keeps the level, adds time and trace, and
// lets only values through that may be shown. It resolves groups itself, because
// zerolog's handler gives a group's name also to the attributes set before it.
type handler struct {
	next   slog.Handler
	level  slog.Leveler
	prefix string
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	// No time in the record: zerolog would add it to the second only, and its
	// format can be changed only for the whole process.
	out := slog.NewRecord(time.Time{}, r.Level, clean(r.Message), 0)
	if !r.Time.IsZero() {
		out.AddAttrs(slog.String("time", r.Time.Format(timeFormat)))
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		out.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(flatten(nil, h.prefix, a)...)
		return true
	})
	return h.next.Handle(ctx, out)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var flat []slog.Attr
	for _, a := range attrs {
		flat = flatten(flat, h.prefix, a)
	}
	return &handler{next: h.next.WithAttrs(flat), level: h.level, prefix: h.prefix}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{next: h.next, level: h.level, prefix: join(h.prefix, name)}
}

// flatten appends a, or the members of the group a, under names joined by dots.
func flatten(to []slog.Attr, prefix string, a slog.Attr) []slog.Attr {
	value := a.Value.Resolve()
	key := join(prefix, a.Key)
	switch {
	case value.Kind() == slog.KindGroup:
		for _, member := range value.Group() {
			to = flatten(to, key, member)
		}
		return to
	case a.Key == "":
		return to
	}
	return append(to, slog.Attr{Key: key, Value: shown(key, value)})
}

func join(prefix, key string) string {
	if prefix == "" || key == "" {
		return prefix + key
	}
	return prefix + "." + key
}
