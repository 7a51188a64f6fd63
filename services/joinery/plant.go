package joinery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/joinery/joinery/pkg/app"
	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/pkg/embedded"
	"github.com/joinery/joinery/pkg/redisrate"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/services/joinery/wiring"
)

// plant is the five services in one process.
type plant struct {
	base   *wiring.Base
	broker *embedded.Broker
	parts  []*wiring.Part
	// ingest and console are where they listen.
	ingest  net.Listener
	console net.Listener
}

// plantOptions say what the plant is made of.
type plantOptions struct {
	folder *config.Folder
	// data is the folder of the embedded broker.
	data string
	// nats and redis are real ones to use instead of the embedded parts.
	nats, redis string
	// brokerListen lets other processes reach the embedded broker.
	brokerListen string
	// ingest and console are addresses to listen on.
	ingest, console string
	log             io.Writer
	transport       http.RoundTripper
	// relaxed gives up the promise that an acknowledged event is on disk.
	relaxed bool
}

// newPlant starts the embedded parts and builds the services.
func newPlant(ctx context.Context, o plantOptions) (_ *plant, err error) {
	p := &plant{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close(ctx))
		}
	}()
	broker, err := p.reachBroker(o)
	if err != nil {
		return nil, err
	}
	limiter := redisrate.Options{Addr: o.redis}
	if o.redis != "" && o.folder.Joinery.Limiter.Password.IsSet() {
		if limiter.Password, err = o.folder.Joinery.Limiter.Password.Read(); err != nil {
			return nil, fmt.Errorf("limiter password: %w", err)
		}
	}
	p.base, err = wiring.Open(ctx, wiring.Options{
		// Only one process can hold the data folder, so its worker keeps its name.
		Service: "joinery", Worker: workerName(o), Folder: o.folder, Broker: broker, Limiter: limiter,
		Log: o.log, Transport: o.transport,
	})
	if err != nil {
		return nil, err
	}
	return p, p.build(ctx, o)
}

func workerName(o plantOptions) string {
	if o.nats == "" {
		return "all-in-one"
	}
	return wiring.DefaultWorker()
}

func (p *plant) reachBroker(o plantOptions) (stream.Options, error) {
	if o.nats != "" {
		return wiring.BrokerOptions(o.folder, o.nats)
	}
	options := embedded.BrokerOptions{Dir: filepath.Join(o.data, "broker"), Listen: o.brokerListen}
	if o.relaxed {
		options.SyncInterval = time.Second
	}
	broker, err := embedded.StartBroker(options)
	if err != nil {
		return stream.Options{}, fmt.Errorf("start the embedded broker: %w", err)
	}
	p.broker = broker
	return broker.Options("joinery"), nil
}

func (p *plant) build(ctx context.Context, o plantOptions) error {
	for _, name := range []string{"ingest", "mapper", "dispatcher", "reconciler", "deadletter"} {
		part, err := wiring.Builders()[name](ctx, p.base)
		if err != nil {
			return fmt.Errorf("build %s: %w", name, err)
		}
		p.parts = append(p.parts, part)
	}
	if err := wiring.CheckConsole(o.folder, o.console); err != nil {
		return err
	}
	var err error
	if p.ingest, err = (&net.ListenConfig{}).Listen(ctx, "tcp", o.ingest); err != nil {
		return fmt.Errorf("listen for events: %w", err)
	}
	if p.console, err = (&net.ListenConfig{}).Listen(ctx, "tcp", o.console); err != nil {
		return fmt.Errorf("listen for the console: %w", err)
	}
	return nil
}

func (p *plant) part(name string) *wiring.Part {
	i := slices.IndexFunc(p.parts, func(part *wiring.Part) bool { return part.Name == name })
	return p.parts[i]
}

// run works until ctx ends, finishes what is in hand, and closes everything.
func (p *plant) run(ctx context.Context, watch func(ctx context.Context) error) error {
	group := app.NewGroup(ctx)
	wiring.Go(group, p.parts)
	serve := func(name string, l net.Listener) {
		group.Go(name+" http", func(ctx context.Context) error {
			return app.Serve(ctx, p.base.HTTP(l, p.part(name).Handler))
		})
	}
	serve("ingest", p.ingest)
	serve("deadletter", p.console)
	if watch != nil {
		group.Go("watch the configuration", watch)
	}
	err := group.Wait()
	return errors.Join(err, p.close(ctx))
}

func (p *plant) close(ctx context.Context) error {
	var err error
	for _, l := range []net.Listener{p.ingest, p.console} {
		if l != nil {
			_ = l.Close()
		}
	}
	if p.base != nil {
		err = p.base.Close(ctx)
	}
	if p.broker != nil {
		p.broker.Close()
	}
	return err
}

func (p *plant) ingestURL() string  { return "http://" + p.ingest.Addr().String() }
func (p *plant) consoleURL() string { return "http://" + p.console.Addr().String() }

// stderrOr is where log lines go.
func stderrOr(path string) (io.Writer, func(), error) {
	if path == "" {
		return os.Stderr, func() {}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w", err)
	}
	return f, func() { _ = f.Close() }, nil
}
