package joinery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/config"
	"github.com/spf13/cobra"
)

// measure is one benchmark: figures by name, each with its unit in the name.
type measure struct {
	Name    string             `json:"name"`
	What    string             `json:"what"`
	Figures map[string]float64 `json:"figures"`
}

// benchmark is how one is run.
type benchmark struct {
	what string
	run  func(ctx context.Context, o benchOptions) (map[string]float64, error)
}

type benchOptions struct {
	seconds int
	backlog int
	people  int
	log     io.Writer
}

func benchmarks() map[string]benchmark {
	return map[string]benchmark{
		"latency":    {"from an event's 202 to the target's answer, at 100 events a second", benchLatency},
		"saturation": {"accounts a second with a broker that syncs always, with one that does not, and by a bare HTTP client", benchSaturation},
		"rate":       {"share of a target's rate that is used while a backlog waits, and what exceeds it", benchRate},
		"leaver":     {"from a leaver's 202 to the target's answer, behind a backlog of joiners at 10 requests a second", benchLeaver},
		"isolation":  {"latency of 19 healthy targets beside one that hangs", benchIsolation},
	}
}

// bench measures Joinery on this machine.
func (t *terminal) bench() *cobra.Command {
	var o benchOptions
	known := strings.Join(slices.Sorted(maps.Keys(benchmarks())), ", ")
	c := &cobra.Command{
		Use:   "bench [NAME...]",
		Short: "Measure Joinery on this machine against targets that cost nothing",
		Long: `Measures Joinery on this machine, over embedded parts and against targets that
cost next to nothing. Absolute figures say as much of the machine as of Joinery:
compare those of one run.

` + benchHelp(),
		Example: "  joinery bench --json\n  joinery bench latency --seconds 60",
		Args: func(_ *cobra.Command, args []string) error {
			for _, name := range args {
				if _, ok := benchmarks()[name]; !ok {
					return usage("there is no benchmark %q; there are %s", name, known)
				}
			}
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&o.seconds, "seconds", 20, "how long benchmarks of a steady load last")
	f.IntVar(&o.people, "people", 6000, "how many people saturate it")
	f.IntVar(&o.backlog, "backlog", 100_000, "how many joiners wait before the leaver")
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			args = slices.Sorted(maps.Keys(benchmarks()))
		}
		o.log = io.Discard
		var out []measure
		for _, name := range args {
			fmt.Fprintf(t.errs, "%s: %s ...\n", name, benchmarks()[name].what)
			figures, err := benchmarks()[name].run(c.Context(), o)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			out = append(out, measure{name, benchmarks()[name].what, figures})
		}
		return t.print(out, func(w io.Writer) {
			for _, m := range out {
				for _, figure := range slices.Sorted(maps.Keys(m.Figures)) {
					row(w, m.Name, figure, fmt.Sprintf("%.2f", m.Figures[figure]))
				}
			}
		})
	}
	return c
}

func benchHelp() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(benchmarks())) {
		fmt.Fprintf(&b, "  %-11s %s\n", name, benchmarks()[name].what)
	}
	return b.String()
}

// rig is Joinery with targets to measure.
type rig struct {
	url     string
	http    *http.Client
	targets []*benchTarget
	close   func() error
}

// unbounded is what a target allows that is not to hold anything back.
const unbounded = 1_000_000

// newRig starts everything; rate is what each target allows a second.
func newRig(ctx context.Context, o benchOptions, relaxed bool, rate, concurrency int, targets ...*benchTarget) (_ *rig, err error) {
	dir, err := os.MkdirTemp("", "joinery-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	files := map[string]string{"joinery.yaml": "telemetry: { log_level: error }\n", "sources/hr.yaml": demoSource}
	if relaxed {
		files["joinery.yaml"] += "broker: { durability: relaxed }\n"
	}
	for _, t := range targets {
		files["targets/"+t.name+".yaml"] = t.yaml(rate, concurrency)
	}
	folder, err := benchConfig(filepath.Join(dir, "config"), files)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p, err := newPlant(ctx, plantOptions{folder: folder, data: dir, relaxed: relaxed, log: o.log, ingest: "127.0.0.1:0", console: "127.0.0.1:0"})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.run(running, nil) }()
	return &rig{url: p.ingestURL(), http: benchClient(), targets: targets, close: func() error {
		stop()
		for _, t := range targets {
			t.close()
		}
		return errors.Join(<-ended, os.RemoveAll(dir))
	}}, nil
}

func benchClient() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 256, MaxConnsPerHost: 256}}
}

func benchConfig(dir string, files map[string]string) (*config.Folder, error) {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("make a folder: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write the configuration: %w", err)
		}
	}
	return config.Load(dir, func(string) (string, bool) { return "bench-secret", true })
}

// happen is an event of somebody.
func happen(kind, who string) map[string]any {
	return map[string]any{
		"specversion": "1.0", "id": kind + "-" + who, "source": "/bench", "type": kind,
		"time": time.Now().UTC().Format(time.RFC3339Nano),
		"data": map[string]any{"employee_id": who, "email": who + "@example.com", "title": "Rep"},
	}
}

// send brings one event, or a batch, to the door, and gives the time of the 202.
func (r *rig) send(ctx context.Context, event any) (time.Time, error) {
	kind := "application/cloudevents+json"
	if _, batch := event.([]map[string]any); batch {
		kind = "application/cloudevents-batch+json"
	}
	data, err := json.Marshal(event)
	if err != nil {
		return time.Time{}, fmt.Errorf("encode an event: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/v1/events", bytes.NewReader(data))
	if err != nil {
		return time.Time{}, fmt.Errorf("build a request: %w", err)
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Authorization", "Bearer bench-secret")
	res, err := r.http.Do(req)
	if err != nil {
		return time.Time{}, fmt.Errorf("send an event: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	if res.StatusCode != http.StatusAccepted {
		return time.Time{}, fmt.Errorf("an event was answered %d", res.StatusCode)
	}
	return time.Now(), nil
}

// backlog sends joiners in batches of a hundred.
func (r *rig) backlog(ctx context.Context, prefix string, n int) error {
	for first := 0; first < n; first += 100 {
		var batch []map[string]any
		for i := first; i < min(first+100, n); i++ {
			batch = append(batch, happen("joined", fmt.Sprintf("%s%06d", prefix, i)))
		}
		if _, err := r.send(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// await waits until done, for at most so long.
func await(ctx context.Context, atMost time.Duration, done func() bool) error {
	deadline := time.Now().Add(atMost)
	for !done() {
		if time.Now().After(deadline) {
			return fmt.Errorf("not done after %s", atMost)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// steady sends joiners at a pace, each on its own, and gives the time of each 202.
func (r *rig) steady(ctx context.Context, prefix string, perSecond, seconds int) (map[string]time.Time, error) {
	var (
		mu       sync.Mutex
		accepted = map[string]time.Time{}
		failed   error
		all      sync.WaitGroup
	)
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for i := range perSecond * seconds {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		all.Go(func() {
			who := fmt.Sprintf("%s%06d", prefix, i)
			at, err := r.send(ctx, happen("joined", who))
			mu.Lock()
			defer mu.Unlock()
			accepted[who], failed = at, errors.Join(failed, err)
		})
	}
	all.Wait()
	return accepted, failed
}

// quantiles are of times in milliseconds.
func quantiles(name string, times []time.Duration) map[string]float64 {
	slices.Sort(times)
	at := func(q float64) float64 {
		if len(times) == 0 {
			return 0
		}
		return float64(times[min(int(q*float64(len(times))), len(times)-1)].Microseconds()) / 1000
	}
	return map[string]float64{name + "_p50_ms": at(0.5), name + "_p99_ms": at(0.99), name + "_max_ms": at(1)}
}
