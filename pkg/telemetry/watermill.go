package telemetry

import (
	"log/slog"
	"maps"
	"slices"

	"github.com/ThreeDotsLabs/watermill"
)

// watermillFields are the fields of Watermill's lines that are names and
// numbers. All others are dropped: on a failed publish the router hands over
// whole unsent messages as text.
func watermillFields() []string {
	return []string{
		"count", "err", "handler_name", "max_retries", "message_uuid", "produced_messages_count", "publish_topic",
		"retry_no", "subscriber_name", "timeout", "topic", "wait_time",
	}
}

type watermillLogger struct {
	log    *slog.Logger
	fields []string
}

// Watermill lets Watermill's router log through log. Its errors become warnings,
// because every one of them is answered by a redelivery; the rest is debug, and
// what it calls trace is not written. Fields that could hold a message are dropped.
func Watermill(log *slog.Logger) watermill.LoggerAdapter {
	return watermillLogger{log: log, fields: watermillFields()}
}

func (w watermillLogger) Error(msg string, err error, fields watermill.LogFields) {
	w.log.Warn("watermill", append(w.attrs(fields), slog.String("said", msg), slog.Any("error", err))...)
}

func (w watermillLogger) Info(msg string, fields watermill.LogFields) {
	w.log.Debug("watermill", append(w.attrs(fields), slog.String("said", msg))...)
}

func (w watermillLogger) Debug(msg string, fields watermill.LogFields) { w.Info(msg, fields) }

func (w watermillLogger) Trace(string, watermill.LogFields) {}

func (w watermillLogger) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return watermillLogger{log: w.log.With(w.attrs(fields)...), fields: w.fields}
}

func (w watermillLogger) attrs(fields watermill.LogFields) []any {
	var attrs []any
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if slices.Contains(w.fields, name) {
			attrs = append(attrs, slog.Any(name, fields[name]))
		}
	}
	return attrs
}
