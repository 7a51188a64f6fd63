package ingest

import (
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/telemetry"
)

type metrics struct {
	events  *telemetry.Counter
	refused *telemetry.Counter
	bytes   *telemetry.Counter
	seconds *telemetry.Histogram
}

func newMetrics(m *telemetry.Metrics) metrics {
	return metrics{
		events: m.Counter("joinery_ingest_events_total",
			"Events answered with 2xx, by source and whether they were new.", "source", "status"),
		refused: m.Counter("joinery_ingest_refused_total",
			"Requests answered with anything else, by source (unknown before authentication) and reason.", "source", "reason"),
		bytes: m.Counter("joinery_ingest_received_bytes_total",
			"Bytes of the bodies of authenticated requests, by source.", "source"),
		seconds: m.Histogram("joinery_ingest_request_seconds",
			"Seconds from an authenticated request's arrival to its answer, by source.", nil, "source"),
	}
}

// sampler lets one line through in a while, and counts the others.
type sampler struct {
	every time.Duration

	mu      sync.Mutex
	next    time.Time
	skipped int
}

// write tells whether a line should be written now, and how many were not since
// the last one.
func (s *sampler) write(now time.Time) (skipped int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.next) {
		s.skipped++
		return 0, false
	}
	skipped, s.skipped, s.next = s.skipped, 0, now.Add(s.every)
	return skipped, true
}
