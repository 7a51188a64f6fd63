package telemetry

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxSeries bounds the label combinations of one metric: a few hundred targets
// with a handful of results fit. Every further combination is counted under
// Other, so that the totals stay right and memory stays bounded.
const maxSeries = 2000

// Other stands in every label of the combinations beyond the bound.
const Other = "other"

// missing stands for a label to which no value was given.
const missing = "missing"

// maxLabel bounds one label value, in bytes.
const maxLabel = 128

// Metrics is one registry. Names follow Prometheus' conventions:
// joinery_<service>_<what>_<unit>, _total for counters, base units (seconds).
//
// Labels take only values from small sets that the configuration or the code
// knows: target, source, lane, operation, result, kind of failure. Never an
// identity, an event, a path, an address or the text of an error.
//
// A metric asked for twice is the same metric, so that parts of one process need
// not share variables.
type Metrics struct {
	registry *prometheus.Registry
	handler  http.Handler

	mu    sync.Mutex
	known map[string]any // *Counter, *Gauge or *Histogram by name
}

func newMetrics() *Metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Metrics{
		registry: r,
		handler:  promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4}),
		known:    map[string]any{},
	}
}

// Handler serves the registry in Prometheus' text format or OpenMetrics.
func (m *Metrics) Handler() http.Handler { return m.handler }

// Counter is the counter of that name. It panics when the name is taken by a
// metric of another type or with other labels: a mistake in the program.
func (m *Metrics) Counter(name, help string, labels ...string) *Counter {
	return known(m, name, labels, func() *Counter {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(vec)
		return &Counter{newSeries(labels, vec.WithLabelValues, vec.DeleteLabelValues)}
	})
}

// Gauge is the gauge of that name; it panics as Counter does.
func (m *Metrics) Gauge(name, help string, labels ...string) *Gauge {
	return known(m, name, labels, func() *Gauge {
		vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(vec)
		return &Gauge{newSeries(labels, vec.WithLabelValues, vec.DeleteLabelValues)}
	})
}

// Seconds are the default bounds of a histogram, for durations from a local call
// to an event that waits for hours.
func Seconds() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
}

// Histogram is the histogram of that name; nil buckets mean Seconds. It panics as
// Counter does.
func (m *Metrics) Histogram(name, help string, buckets []float64, labels ...string) *Histogram {
	return known(m, name, labels, func() *Histogram {
		if buckets == nil {
			buckets = Seconds()
		}
		vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(vec)
		return &Histogram{newSeries(labels, vec.WithLabelValues, vec.DeleteLabelValues)}
	})
}

type labelled interface{ labelNames() []string }

func known[T labelled](m *Metrics, name string, labels []string, build func() T) T {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.known[name]; ok {
		metric, same := old.(T)
		if !same || !slices.Equal(metric.labelNames(), labels) {
			panic(fmt.Sprintf("telemetry: metric %s exists as %T with other labels or of another type", name, old))
		}
		return metric
	}
	metric := build()
	m.known[name] = metric
	return metric
}

// Counter only grows.
type Counter struct{ series[prometheus.Counter] }

// Add adds n, which must not be negative, to the series of the label values.
func (c *Counter) Add(n float64, values ...string) {
	if n >= 0 {
		c.of(values).Add(n)
	}
}

// Gauge goes up and down.
type Gauge struct{ series[prometheus.Gauge] }

// Set sets the series of the label values.
func (g *Gauge) Set(v float64, values ...string) { g.of(values).Set(v) }

// Add adds n, which may be negative, to the series of the label values.
func (g *Gauge) Add(n float64, values ...string) { g.of(values).Add(n) }

// Delete forgets the series of the label values, such as those of a target that
// is no longer configured.
func (g *Gauge) Delete(values ...string) { g.forget(values) }

// Histogram counts observations by size.
type Histogram struct{ series[prometheus.Observer] }

// Observe counts v, in the metric's unit, in the series of the label values.
func (h *Histogram) Observe(v float64, values ...string) { h.of(values).Observe(v) }

// series are the label combinations of one metric, at most maxSeries.
type series[T any] struct {
	labels []string
	with   func(...string) T
	remove func(...string) bool

	mu   *sync.RWMutex
	seen map[string]T
}

func newSeries[T any](labels []string, with func(...string) T, remove func(...string) bool) series[T] {
	return series[T]{labels: slices.Clone(labels), with: with, remove: remove, mu: &sync.RWMutex{}, seen: map[string]T{}}
}

func (s *series[T]) labelNames() []string { return s.labels }

// of is the series of the values. It never fails: a missing value becomes
// "missing", a surplus one is ignored, bytes that are not UTF-8 are replaced.
func (s *series[T]) of(values []string) T {
	values = s.fit(values)
	key := strings.Join(values, "\x00")
	s.mu.RLock()
	one, ok := s.seen[key]
	s.mu.RUnlock()
	if ok {
		return one
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) >= maxSeries {
		values = slices.Repeat([]string{Other}, len(s.labels))
		return s.with(values...)
	}
	one = s.with(values...)
	s.seen[key] = one
	return one
}

func (s *series[T]) forget(values []string) {
	values = s.fit(values)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, strings.Join(values, "\x00"))
	s.remove(values...)
}

func (s *series[T]) fit(values []string) []string {
	fitted := make([]string, len(s.labels))
	for i := range fitted {
		fitted[i] = missing
		if i < len(values) {
			fitted[i] = label(values[i])
		}
	}
	return fitted
}

func label(v string) string {
	if len(v) > maxLabel {
		v = v[:maxLabel]
	}
	return strings.ToValidUTF8(v, "\uFFFD")
}
