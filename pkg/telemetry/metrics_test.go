package telemetry_test

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/telemetry"
)

// values are the scraped sample lines of one metric.
func values(t *testing.T, m *telemetry.Metrics, name string) []string {
	t.Helper()
	var found []string
	for line := range strings.Lines(scrape(t, m)) {
		if strings.HasPrefix(line, name) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func TestMetricsAreServedInPrometheusText(t *testing.T) {
	m := start(t, telemetry.Options{}).Metrics
	c := m.Counter("joinery_a_total", "A.", "target", "result")
	c.Add(2, "acme", "applied")
	c.Add(-5, "acme", "applied")
	c.Add(1, "zeta", "held")
	g := m.Gauge("joinery_b", "B.", "target")
	g.Set(3, "acme")
	g.Add(-1, "acme")
	g.Set(9, "gone")
	g.Delete("gone")
	h := m.Histogram("joinery_c_seconds", "C.", []float64{1, 10})
	h.Observe(0.5)
	h.Observe(20)
	want := []string{
		`joinery_a_total{result="applied",target="acme"} 2`, `joinery_a_total{result="held",target="zeta"} 1`,
		`joinery_b{target="acme"} 2`,
		`joinery_c_seconds_bucket{le="1"} 1`, `joinery_c_seconds_bucket{le="10"} 1`, `joinery_c_seconds_bucket{le="+Inf"} 2`,
		`joinery_c_seconds_sum 20.5`, `joinery_c_seconds_count 2`,
	}
	if diff := cmp.Diff(want, values(t, m, "joinery_")); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
	if len(values(t, m, "go_goroutines")) != 1 {
		t.Error("the runtime's own metrics are missing")
	}
}

func TestAMetricAskedForTwiceIsTheSame(t *testing.T) {
	m := start(t, telemetry.Options{}).Metrics
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { m.Counter("joinery_a_total", "A.", "target").Add(1, "acme") })
	}
	wg.Wait()
	if diff := cmp.Diff([]string{`joinery_a_total{target="acme"} 8`}, values(t, m, "joinery_")); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

func TestAMetricOfTwoShapesIsAMistakeInTheProgram(t *testing.T) {
	m := start(t, telemetry.Options{}).Metrics
	m.Counter("joinery_a_total", "A.", "target")
	for name, ask := range map[string]func(){
		"other labels": func() { m.Counter("joinery_a_total", "A.", "lane") },
		"another type": func() { m.Gauge("joinery_a_total", "A.", "target") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			ask()
		}()
	}
}

func TestLabelsBeyondTheBoundAreCountedAsOther(t *testing.T) {
	m := start(t, telemetry.Options{}).Metrics
	c := m.Counter("joinery_a_total", "A.", "target", "result")
	const combinations = 2500
	for round := range 2 {
		for i := range combinations {
			c.Add(1, fmt.Sprintf("target-%d", i), "applied")
		}
		got := values(t, m, "joinery_a_total")
		if len(got) != 2001 {
			t.Errorf("round %d: %d series, want 2,000 and one", round, len(got))
		}
	}
	other := fmt.Sprintf(`joinery_a_total{result="other",target="other"} %d`, 2*500)
	if got := scrape(t, m); !strings.Contains(got, other) {
		t.Errorf("no line %s in\n%s", other, regexp.MustCompile(`.*other.*`).FindString(got))
	}
}

func TestAWrongLabelNeverStopsTheWork(t *testing.T) {
	m := start(t, telemetry.Options{}).Metrics
	c := m.Counter("joinery_a_total", "A.", "target")
	c.Add(1)
	c.Add(1, "acme", "surplus")
	c.Add(1, "\xff\xfe")
	c.Add(1, strings.Repeat("x", 1000))
	want := []string{
		`joinery_a_total{target="acme"} 1`, `joinery_a_total{target="missing"} 1`,
		`joinery_a_total{target="` + strings.Repeat("x", 128) + `"} 1`, `joinery_a_total{target="` + "\uFFFD" + `"} 1`,
	}
	if diff := cmp.Diff(want, values(t, m, "joinery_a_total")); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}
