package wiring

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/joinery/joinery/pkg/app"
	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/pkg/redisrate"
	"github.com/joinery/joinery/pkg/stream"
)

// DefaultWorker names a process that may have replicas: by its host, which a
// restarted container keeps, and by JOINERY_WORKER where that is not enough.
func DefaultWorker() string {
	if name := os.Getenv("JOINERY_WORKER"); name != "" {
		return name
	}
	host, err := os.Hostname()
	if err != nil {
		return "unnamed"
	}
	return host
}

// BrokerOptions reach the broker that the command line or the folder names.
func BrokerOptions(folder *config.Folder, url string) (stream.Options, error) {
	b := folder.Joinery.Broker
	if url == "" {
		url = b.URL
	}
	if url == "" {
		return stream.Options{}, app.Usage(errors.New("no broker is named: set --nats, JOINERY_NATS, or broker.url in joinery.yaml"))
	}
	o := stream.Options{URL: url, Name: "joinery", Replicas: b.Replicas, MonitorURL: b.MonitorURL}
	if monitor := os.Getenv("JOINERY_NATS_MONITOR"); monitor != "" {
		o.MonitorURL = monitor
	}
	if b.Credentials.IsSet() {
		if b.Credentials.File == "" {
			return o, app.Usage(errors.New("broker.credentials must name a file"))
		}
		o.Credentials = b.Credentials.File
	}
	return o, nil
}

// CheckConsole refuses to show people to a whole network without asking who is
// there.
func CheckConsole(folder *config.Folder, listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return app.Usage(fmt.Errorf("console address: %w", err))
	}
	if ip := net.ParseIP(host); host == "localhost" || (ip != nil && ip.IsLoopback()) || folder.Joinery.Console.Token.IsSet() {
		return nil
	}
	return app.Usage(fmt.Errorf("the console would listen on %s without asking for a token: set console.token in joinery.yaml, or listen on 127.0.0.1", listen))
}

// HTTP is a server of the process with its health, readiness and metrics.
func (b *Base) HTTP(l net.Listener, handler http.Handler) app.HTTP {
	return app.HTTP{Listener: l, Handler: handler, Metrics: b.telemetry.Metrics.Handler(), Ready: b.Ready, Log: b.telemetry.Log}
}

// Main runs one service as a process of its own.
func Main(name string) {
	app.Main(name, func(ctx context.Context) error { return run(ctx, name, os.Args[1:]) })
}

func run(ctx context.Context, name string, args []string) error {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	dir := flags.String("config", env("JOINERY_CONFIG", "."), "configuration folder (JOINERY_CONFIG)")
	nats := flags.String("nats", env("JOINERY_NATS", ""), "URL of the NATS servers (JOINERY_NATS)")
	redis := flags.String("redis", env("JOINERY_REDIS", ""), "host:port of the Redis server (JOINERY_REDIS)")
	listen := flags.String("listen", env("JOINERY_LISTEN", ""), "address for HTTP (JOINERY_LISTEN)")
	worker := flags.String("worker", DefaultWorker(), "name of this replica (JOINERY_WORKER)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return app.Usage(err)
	}
	folder, err := config.Load(*dir, os.LookupEnv)
	if err != nil {
		return app.Usage(err)
	}
	broker, err := BrokerOptions(folder, *nats)
	if err != nil {
		return err
	}
	limiter, err := limiterOptions(folder, *redis)
	if err != nil {
		return err
	}
	base, err := Open(ctx, Options{Service: name, Worker: *worker, Folder: folder, Broker: broker, Limiter: limiter})
	if err != nil {
		return err
	}
	err = serve(ctx, base, name, listenAddress(folder, name, *listen))
	return errors.Join(err, base.Close(ctx))
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func limiterOptions(folder *config.Folder, addr string) (redisrate.Options, error) {
	l := folder.Joinery.Limiter
	if addr == "" {
		addr = l.Address
	}
	if addr == "" {
		return redisrate.Options{}, app.Usage(errors.New("no Redis is named, and replicas must share the rates: set --redis, JOINERY_REDIS, or limiter.address in joinery.yaml"))
	}
	o := redisrate.Options{Addr: strings.TrimPrefix(addr, "redis://")}
	if l.Password.IsSet() {
		password, err := l.Password.Read()
		if err != nil {
			return o, fmt.Errorf("limiter password: %w", err)
		}
		o.Password = password
	}
	return o, nil
}

// listenAddress is the address of a service: ingest and the console have a
// public one, the others serve health and metrics only.
func listenAddress(folder *config.Folder, name, given string) string {
	switch {
	case given != "":
		return given
	case name == "ingest":
		return folder.Joinery.Ingest.Listen
	case name == "deadletter":
		return folder.Joinery.Console.Listen
	default:
		return "127.0.0.1:0"
	}
}

func serve(ctx context.Context, base *Base, name, listen string) error {
	part, err := Builders()[name](ctx, base)
	if err != nil {
		return err
	}
	if name == "deadletter" {
		if err := CheckConsole(base.folder.Load(), listen); err != nil {
			return err
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	base.telemetry.Log.InfoContext(ctx, "service started", "address", l.Addr().String(), "worker", base.options.Worker)
	group := app.NewGroup(ctx)
	group.Go(name, part.Run)
	group.Go("http", func(ctx context.Context) error { return app.Serve(ctx, base.HTTP(l, part.Handler)) })
	group.Go("watch the configuration", func(ctx context.Context) error {
		return base.Watch(ctx, []*Part{part})
	})
	return group.Wait()
}

// Watch puts changes of the folder in force, each whole or not at all, until
// ctx ends.
func (b *Base) Watch(ctx context.Context, parts []*Part) error {
	config.Watch(ctx, b.folder.Load(), func(folder *config.Folder, err error) {
		if err == nil {
			err = b.Reconfigure(ctx, folder, parts)
		}
		if err != nil {
			b.telemetry.Log.ErrorContext(ctx, "changed configuration refused; the old one stays in force", "error", err)
		}
	})
	return nil
}
