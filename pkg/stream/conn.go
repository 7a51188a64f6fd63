// Package stream owns NATS JetStream: the connection, the topology of streams,
// consumers and buckets, a Watermill transport over pull consumers, and typed
// key-value buckets under compare-and-swap. It knows nothing of what the
// messages say.
package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors that callers tell apart.
var (
	// ErrNotFound: no such key or message.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the stored revision is another one; read again.
	ErrConflict = errors.New("changed by somebody else")
	// ErrUnavailable: the broker cannot take it now, or its answer was lost. A
	// message may have been stored: publish again under the same id.
	ErrUnavailable = errors.New("the broker is not available")
)

// Options say how to reach the broker.
type Options struct {
	// URL of one or more servers, comma-separated; ignored with InProcess.
	URL string
	// InProcess is an embedded server.
	InProcess nats.InProcessConnProvider
	// Name of the client, shown by the broker.
	Name string
	// Credentials is the path of a NATS credentials file, or empty.
	Credentials string
	// Replicas of streams and buckets: 1 or 3.
	Replicas int
	// Durable tells whether the server syncs always, where the caller runs it
	// itself; nil asks MonitorURL.
	Durable func() error
	// MonitorURL is the server's monitoring address, for the durability check.
	MonitorURL string
	Log        *slog.Logger
}

// Conn is one connection to the broker.
type Conn struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	options Options
	log     *slog.Logger
}

// publishWait bounds the wait for one acknowledgement of a publish, and so how
// long a broker that is gone keeps a sender waiting.
const publishWait = 5 * time.Second

// Dial connects. A broker that is not there yet is waited for until ctx ends.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Replicas = max(o.Replicas, 1)
	for {
		c, err := dial(o)
		if err == nil {
			return c, nil
		}
		o.Log.WarnContext(ctx, "broker not reached", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to the broker: %w", errors.Join(err, ctx.Err()))
		}
	}
}

func dial(o Options) (*Conn, error) {
	log := o.Log
	options := []nats.Option{
		nats.Name(o.Name), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("broker reported an error", "error", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			log.Warn("broker connection lost", "error", err)
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("broker connection restored") }),
	}
	if o.InProcess != nil {
		options = append(options, nats.InProcessServer(o.InProcess))
	}
	if o.Credentials != "" {
		options = append(options, nats.UserCredentials(o.Credentials))
	}
	nc, err := nats.Connect(o.URL, options...)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(publishWait))
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &Conn{nc: nc, js: js, options: o, log: log}, nil
}

// Close ends the connection. Subscribers must have been closed before.
func (c *Conn) Close() { c.nc.Close() }

// Ready tells whether JetStream answers.
func (c *Conn) Ready(ctx context.Context) error {
	if !c.nc.IsConnected() {
		return fmt.Errorf("connection is %s: %w", c.nc.Status(), ErrUnavailable)
	}
	if _, err := c.js.AccountInfo(ctx); err != nil {
		return fmt.Errorf("ask JetStream for its state: %w", err)
	}
	return nil
}
