package joinery

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/services/deadletter"
	"github.com/joinery/joinery/services/joinery/company"
	"github.com/spf13/cobra"
)

// demoOptions say how large and how fast the demo is.
type demoOptions struct {
	people  int
	seed    uint64
	data    string
	patient time.Duration
	nats    string
	redis   string
	// disorder shuffles and doubles the events.
	disorder bool
}

// demo plays a company and proves the result.
func (t *terminal) demo() *cobra.Command {
	var o demoOptions
	c := &cobra.Command{
		Use:   "demo",
		Short: "Play two years of a company, and prove that every target matches",
		Long: `Starts everything in one process with three simulated targets of different
temper: acme is strict, globex allows few requests, initech fails now and then
and loses answers. Then it plays two years of a company in seconds: people are
hired, move, get another name or manager, go on leave, leave and come back. At
the end it reads every target back over SCIM and compares it with what the
company itself knows.

With --disorder the events come in any order, and one in ten of them twice: what
each says is stamped, so the end is the same.

With --data the demo can be killed at any moment and started again: it goes on,
and ends with the same table.

Exit code 0 only if every target holds exactly what it should.`,
		Args: exactly(0, "no arguments"),
	}
	f := c.Flags()
	f.IntVar(&o.people, "people", 240, "how many people join")
	f.Uint64Var(&o.seed, "seed", 7, "the same seed plays the same company")
	f.BoolVar(&o.disorder, "disorder", false, "send the events in any order, and some of them twice")
	f.StringVar(&o.data, "data", "", "folder to keep everything in (default: a temporary one)")
	f.DurationVar(&o.patient, "timeout", 0, "how long the targets may take to match (default: 3m, and 1m for each 1000 people)")
	f.StringVar(&o.nats, "nats", "", "URL of real NATS servers instead of the embedded broker")
	f.StringVar(&o.redis, "redis", "", "host:port of a real Redis server instead of the embedded limiter")
	c.RunE = func(c *cobra.Command, _ []string) error { return t.play(c.Context(), o) }
	return c
}

// play runs the demo from start to verdict.
func (t *terminal) play(ctx context.Context, o demoOptions) (err error) {
	if o.data == "" {
		if o.data, err = os.MkdirTemp("", "joinery-demo-"); err != nil {
			return fmt.Errorf("make a folder: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.data)) }()
	}
	s, err := newStage(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	plant, err := s.plant(ctx)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- plant.run(running, nil) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	return t.perform(ctx, s)
}

// perform sends the company's life, waits for the targets, and gives the verdict.
func (t *terminal) perform(ctx context.Context, s *stage) error {
	fmt.Fprintf(t.errs, "events to %s, console at %s, everything under %s\n", s.sender.base, s.console.base, s.options.data)
	begun := time.Now()
	show := t.progress(s)
	watching, quiet := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { show(watching) })
	err := s.send(ctx)
	if err == nil {
		err = s.settle(ctx)
	}
	quiet()
	watcher.Wait()
	if err != nil {
		return err
	}
	v, err := s.verdict(ctx)
	if err != nil {
		return err
	}
	v.Took = time.Since(begun).Round(10 * time.Millisecond).String()
	if err := t.print(v, func(w io.Writer) { writeVerdict(w, v) }); err != nil {
		return err
	}
	if !v.Match {
		return partly(errors.New("not every target holds what it should"))
	}
	return nil
}

// stage is the demo's world: a company, three targets, and how to reach the
// services.
type stage struct {
	options  demoOptions
	company  *company.Company
	targets  []*theatre
	folder   *config.Folder
	secrets  map[string]string
	sender   *sender
	console  *client
	accepted atomic.Int64
	repeated atomic.Int64
	phase    atomic.Value
}

func newStage(ctx context.Context, o demoOptions) (_ *stage, err error) {
	if o.patient == 0 {
		o.patient = 3*time.Minute + time.Duration(o.people)*time.Minute/1000
	}
	s := &stage{options: o, company: company.New(company.Options{Seed: o.seed, People: o.people})}
	s.phase.Store("starting")
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := os.MkdirAll(filepath.Join(o.data, "config"), 0o700); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	secrets := map[string]string{"HR_TOKEN": token(), "TARGET_TOKEN": token()}
	s.secrets = secrets
	if s.targets, err = openTheatres(ctx, o, secrets["TARGET_TOKEN"]); err != nil {
		return nil, err
	}
	folder, err := writeDemoConfig(filepath.Join(o.data, "config"), s.targets, secrets)
	if err != nil {
		return nil, err
	}
	s.folder = folder
	s.sender = &sender{source: "hr", secret: secrets["HR_TOKEN"], http: newHTTPClient()}
	s.console = &client{http: newHTTPClient()}
	return s, nil
}

// plant starts the five services in this process.
func (s *stage) plant(ctx context.Context) (*plant, error) {
	o := s.options
	log, err := os.OpenFile(filepath.Join(o.data, "joinery.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	p, err := newPlant(ctx, plantOptions{
		folder: s.folder, data: o.data, nats: o.nats, redis: o.redis, log: log, ingest: "127.0.0.1:0", console: "127.0.0.1:0",
	})
	if err != nil {
		return nil, err
	}
	s.sender.base, s.console.base = p.ingestURL(), p.consoleURL()
	return p, nil
}

func (s *stage) close() {
	for _, t := range s.targets {
		t.close()
	}
}

// token is a random secret.
func token() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// senders is how many events are on their way to ingest at a time.
const senders = 8

// send posts the company's life. Several at a time are on their way, so that they
// overtake each other: what each event says is stamped, and the order does not
// matter.
func (s *stage) send(ctx context.Context) error {
	work := make(chan company.Event)
	errs := make(chan error, senders)
	var workers sync.WaitGroup
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	for range senders {
		workers.Go(func() {
			for h := range work {
				if err := s.sendOne(sending, h); err != nil {
					errs <- err
					cancel()
					return
				}
			}
		})
	}
feed:
	for _, h := range s.script() {
		s.phase.Store(h.Time.Format("Jan 2006"))
		select {
		case work <- h:
		case <-sending.Done():
			break feed
		}
	}
	close(work)
	workers.Wait()
	s.phase.Store("settling")
	select {
	case err := <-errs:
		return fmt.Errorf("send an event: %w", err)
	default:
		return ctx.Err()
	}
}

// script is the events in the order in which they are sent.
func (s *stage) script() []company.Event {
	if !s.options.disorder {
		return s.company.Events
	}
	rng := mathrand.New(mathrand.NewPCG(s.options.seed, 1))
	out := slices.Clone(s.company.Events)
	for i := range out {
		if i%10 == 0 {
			out = append(out, out[i])
		}
	}
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func (s *stage) sendOne(ctx context.Context, h company.Event) error {
	data, err := json.Marshal(h.CloudEvent())
	if err != nil {
		return err
	}
	result, err := s.sender.post(ctx, data)
	if err != nil {
		return err
	}
	s.accepted.Add(1)
	if result.Status == "duplicate" {
		s.repeated.Add(1)
	}
	return nil
}

// settle waits until every event is mapped and no command waits.
func (s *stage) settle(ctx context.Context) error {
	deadline := time.Now().Add(s.options.patient)
	for quiet := 0; quiet < 3; {
		waiting, err := s.waiting(ctx)
		if err != nil {
			return err
		}
		if quiet++; waiting > 0 {
			quiet = 0
		}
		if time.Now().After(deadline) {
			return nil // the verdict will say what is missing
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// waiting counts what is not settled: events at the mapper, commands, and dead
// letters at the desk.
func (s *stage) waiting(ctx context.Context) (uint64, error) {
	var topology stream.Applied
	if err := s.console.get(ctx, "/topology", &topology); err != nil {
		return 0, err
	}
	var sum uint64
	for _, c := range topology.Consumers {
		if c.Stream != stream.Outcomes {
			sum += c.Waiting + uint64(c.InFlight)
		}
	}
	return sum, nil
}

func (s *stage) commands(ctx context.Context, target string) (uint64, error) {
	var v deadletter.TargetView
	err := s.console.get(ctx, "/targets/"+target, &v)
	return v.Waiting, err
}

// demoConfig writes the folder that the demo runs on, and loads it as any other.
func writeDemoConfig(dir string, targets []*theatre, secrets map[string]string) (*config.Folder, error) {
	files := map[string]string{"sources/hr.yaml": demoSource}
	for _, t := range targets {
		files["targets/"+t.name+".yaml"] = t.yaml()
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("make a folder: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write the configuration: %w", err)
		}
	}
	return config.Load(dir, func(name string) (string, bool) {
		v, ok := secrets[name]
		return v, ok
	})
}

const demoSource = `source: hr
auth: { bearer: { env: HR_TOKEN } }
identity_key: event.data.employee_id
`
