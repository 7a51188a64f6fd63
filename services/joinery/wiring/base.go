// Package wiring turns configuration into parts: it is the one place that knows
// all five services and all their technologies. The service commands and the
// all-in-one differ only in which parts they run, and over which broker and
// limiter.
package wiring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/joinery/joinery/pkg/alert"
	"github.com/joinery/joinery/pkg/app"
	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/pkg/rate"
	"github.com/joinery/joinery/pkg/redisrate"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/wire"
)

// Options say over what the parts run.
type Options struct {
	// Service names the process in logs, traces and at the broker.
	Service string
	// Worker names the process in the ledger. It must survive a restart where
	// only one such process can run, and differ between replicas.
	Worker string
	Folder *config.Folder
	// Broker and Limiter reach the parts beside us. A limiter without an address
	// is one for this process alone.
	Broker  stream.Options
	Limiter redisrate.Options
	// Log takes the log lines; nil means standard error.
	Log io.Writer
	// Transport replaces the safe one to targets (tests).
	Transport http.RoundTripper
	// Jitter spreads pauses; nil means at random (tests).
	Jitter func(time.Duration) time.Duration
}

// Base is what all parts of a process share.
type Base struct {
	options   Options
	folder    atomic.Pointer[config.Folder]
	conn      *stream.Conn
	limiter   *redisrate.Limiter
	telemetry *telemetry.Telemetry
	outbox    wire.Outbox
	bell      *alert.Bell
	silence   func() // ends the bell
}

// Open connects, checks that the broker keeps its word, and applies the
// topology. Close must be called at the end.
func Open(ctx context.Context, o Options) (*Base, error) {
	if o.Log == nil {
		o.Log = os.Stderr
	}
	tel, err := telemetry.New(ctx, telemetry.Options{
		Service: o.Service, Instance: o.Worker, Log: o.Log, OTLP: o.Folder.Joinery.Telemetry.OTLP,
		Level: level(o.Folder.Joinery.Telemetry.LogLevel),
	})
	if err != nil {
		return nil, fmt.Errorf("start telemetry: %w", err)
	}
	b := &Base{options: o, telemetry: tel, bell: alert.New(tel.Log, o.Transport)}
	b.folder.Store(o.Folder)
	b.ring(ctx)
	if err := b.connect(ctx); err != nil {
		return nil, errors.Join(err, b.Close(ctx))
	}
	return b, nil
}

// ring lets alerts go out until Close.
func (b *Base) ring(ctx context.Context) {
	b.bell.Configure(receivers(b.folder.Load()))
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.bell.Run(ctx) // ends with ctx only
	}()
	b.silence = func() { cancel(); <-done }
}

// receivers are who is told.
func receivers(folder *config.Folder) []alert.Receiver {
	var out []alert.Receiver
	for _, w := range folder.Joinery.Alerts.Webhooks {
		r := alert.Receiver{URL: func() (string, error) { return w.URL, nil }}
		if w.From.IsSet() {
			r.URL = w.From.Read
		}
		if w.Secret.IsSet() {
			r.Secret = w.Secret.Read
		}
		out = append(out, r)
	}
	return out
}

func level(name string) slog.Level {
	var l slog.Level
	_ = l.UnmarshalText([]byte(name)) // the configuration allows only names of levels; empty means info
	return l
}

func (b *Base) connect(ctx context.Context) (err error) {
	broker := b.options.Broker
	broker.Log = b.telemetry.Log
	if b.conn, err = stream.Dial(ctx, broker); err != nil {
		return err
	}
	if b.folder.Load().Joinery.Broker.Durability != "relaxed" {
		if err := b.conn.CheckDurability(ctx); err != nil {
			return fmt.Errorf("the broker cannot be trusted with events: %w", err)
		}
	}
	b.outbox = wire.NewOutbox(b.conn.Publisher())
	names := slices.Sorted(maps.Keys(b.folder.Load().Targets))
	if err := b.conn.Apply(ctx, stream.Design(names, max(broker.Replicas, 1))); err != nil {
		return err
	}
	limiter := b.options.Limiter
	limiter.Replicas = b.folder.Load().Joinery.Limiter.Replicas
	limiter.Log = b.telemetry.Log
	limiter.Observe = b.observeRate()
	limiter.Down = func(why error) {
		if why != nil {
			b.bell.Raise(ctx, alert.Limiter, b.options.Worker, "Redis is away: this replica keeps to its share of each target's rate")
		}
	}
	if limiter.Addr == "" {
		b.limiter = redisrate.NewLocal(limiter)
	} else if b.limiter, err = redisrate.New(limiter); err != nil {
		return fmt.Errorf("start the limiter: %w", err)
	}
	return b.limit(b.folder.Load())
}

// observeRate meters what the limiter lets through.
func (b *Base) observeRate() func(redisrate.Grant) {
	pace := b.telemetry.Metrics.Gauge("joinery_limiter_pace",
		"Share of a target's configured rate in use: below 1 after refusals that went on.", "target")
	shared := b.telemetry.Metrics.Gauge("joinery_limiter_shared",
		"1 while all replicas keep to the rate together, 0 while each keeps to its share.", "target")
	waited := b.telemetry.Metrics.Histogram("joinery_limiter_wait_seconds",
		"Seconds that a request waited for its turn.", nil, "target", "lane")
	return func(g redisrate.Grant) {
		pace.Set(g.Factor, g.Target)
		together := 0.0
		if g.Shared {
			together = 1
		}
		shared.Set(together, g.Target)
		waited.Observe(g.Waited.Seconds(), g.Target, g.Lane.String())
	}
}

// limit puts the targets' rates in force.
func (b *Base) limit(folder *config.Folder) error {
	for name, t := range folder.Targets {
		if err := b.limiter.Configure(name, limitsOf(t)); err != nil {
			return fmt.Errorf("target %s: %w", name, err)
		}
	}
	return nil
}

func limitsOf(t config.Target) (limits rate.Limits) {
	for _, r := range t.Rate {
		limits = append(limits, rate.Window{Requests: r.Requests, Per: r.Per})
	}
	return limits
}

// Telemetry is the process's telemetry.
func (b *Base) Telemetry() *telemetry.Telemetry { return b.telemetry }

// Ready tells whether the process can do its work.
func (b *Base) Ready(ctx context.Context) error { return b.conn.Ready(ctx) }

// Close ends the connections and flushes telemetry.
func (b *Base) Close(ctx context.Context) error {
	var errs []error
	b.silence()
	if b.limiter != nil {
		errs = append(errs, b.limiter.Close())
	}
	if b.conn != nil {
		b.conn.Close()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(append(errs, b.telemetry.Shutdown(ctx))...)
}

// Part is one service, ready to run.
type Part struct {
	Name string
	// Run works until its context ends.
	Run func(ctx context.Context) error
	// Handler serves HTTP beside health and metrics; nil serves nothing more.
	Handler http.Handler
	// Configure puts another configuration in force, whole or not at all.
	Configure func(ctx context.Context, folder *config.Folder) error
}

// Builder makes one part.
type Builder func(ctx context.Context, b *Base) (*Part, error)

// Builders are the five services.
func Builders() map[string]Builder {
	return map[string]Builder{
		"ingest": Ingest, "mapper": Mapper, "dispatcher": Dispatcher, "reconciler": Reconciler, "deadletter": Deadletter,
	}
}

// Reconfigure puts a folder in force in the limiter, the broker and the parts.
func (b *Base) Reconfigure(ctx context.Context, folder *config.Folder, parts []*Part) error {
	for name := range folder.Targets {
		if err := b.conn.ApplyLanes(ctx, name); err != nil {
			return err
		}
	}
	if err := b.limit(folder); err != nil {
		return err
	}
	b.folder.Store(folder)
	b.bell.Configure(receivers(folder))
	// The mapper comes last: what it issues meets a dispatcher that is not about to
	// be stopped for the same change.
	parts = slices.SortedFunc(slices.Values(parts), func(a, b *Part) int {
		return cmp.Compare(order(a.Name), order(b.Name))
	})
	for _, p := range parts {
		if err := p.Configure(ctx, folder); err != nil {
			return fmt.Errorf("configure %s: %w", p.Name, err)
		}
	}
	b.telemetry.Log.InfoContext(ctx, "configuration in force", "sources", len(folder.Sources), "targets", len(folder.Targets))
	return nil
}

func order(part string) int {
	if part == "mapper" {
		return 1
	}
	return 0
}

// Go runs the parts in a group.
func Go(group *app.Group, parts []*Part) {
	for _, p := range parts {
		group.Go(p.Name, p.Run)
	}
}
