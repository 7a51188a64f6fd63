// Package stream owns NATS JetStream: the connection, the topology of streams,
// consumers and buckets, a Watermill transport over pull consumers, and typed
// key-value buckets under compare-and-swap. It knows nothing of what the
// messages say.
package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"sync"
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
	// ErrRefused: the broker will never take this message as it is.
	ErrRefused = errors.New("refused by the broker")
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
	// InboxPrefix is where answers come, for brokers that allow each client its
	// own inbox only. Empty means _INBOX.
	InboxPrefix string
	// Replicas of streams and buckets: 1 or 3.
	Replicas int
	// Durable tells whether the server syncs always, where the caller runs it
	// itself; nil asks MonitorURL.
	Durable func() error
	// MonitorURL is the monitoring address of one or more servers,
	// comma-separated, for the durability check.
	MonitorURL string
	Log        *slog.Logger
}

// Conn is one connection to the broker. It reconnects by itself for as long as
// it takes.
type Conn struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	options Options
	log     *slog.Logger

	mu      sync.Mutex
	commits map[string]*commits // by stream
}

const (
	// answerWait bounds the wait for one answer of the broker, and so how long a
	// broker that is gone keeps a sender waiting.
	answerWait = 5 * time.Second
	// dialPause is between attempts to reach a broker that is not there yet.
	dialPause = time.Second
	// reconnectPause is between attempts to reach a broker that was there.
	reconnectPause = 500 * time.Millisecond
)

// Dial connects. A broker that is not there yet is waited for until ctx ends;
// one that refuses these credentials is not.
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
		if hopeless(err) {
			return nil, fmt.Errorf("connect to the broker: %w", err)
		}
		o.Log.WarnContext(ctx, "broker not reached", "error", err)
		select {
		case <-time.After(dialPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to the broker: %w", errors.Join(ErrUnavailable, err))
		}
	}
}

// hopeless tells errors that waiting does not mend.
func hopeless(err error) bool {
	var unparsable *url.Error
	return errors.As(err, &unparsable) || errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked)
}

func dial(o Options) (*Conn, error) {
	nc, err := nats.Connect(o.URL, o.settings()...)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(answerWait))
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &Conn{nc: nc, js: js, options: o, log: o.Log}, nil
}

func (o Options) settings() []nats.Option {
	log := o.Log
	out := []nats.Option{
		nats.Name(o.Name), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectPause),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("broker reported an error", "error", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			log.Warn("broker connection lost", "error", err)
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("broker connection restored") }),
	}
	if o.InProcess != nil {
		out = append(out, nats.InProcessServer(o.InProcess))
	}
	if o.Credentials != "" {
		out = append(out, nats.UserCredentials(o.Credentials))
	}
	if o.InboxPrefix != "" {
		out = append(out, nats.CustomInboxPrefix(o.InboxPrefix))
	}
	return out
}

// Close ends the connection. Subscribers must have been closed before.
func (c *Conn) Close() { c.nc.Close() }

// Drain waits until the broker has seen everything that was sent, then closes.
func (c *Conn) Drain(ctx context.Context) error {
	defer c.Close()
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("flush the broker connection: %w", err)
	}
	return nil
}

// Ready tells whether JetStream answers.
func (c *Conn) Ready(ctx context.Context) error {
	if !c.nc.IsConnected() {
		return fmt.Errorf("connection is %s: %w", c.nc.Status(), ErrUnavailable)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if _, err := c.js.AccountInfo(ctx); err != nil {
		return fmt.Errorf("ask JetStream for its state: %w", errors.Join(ErrUnavailable, err))
	}
	return nil
}

// bounded is ctx for one question to the broker: a caller may have an hour, a
// broker that is gone must be noticed sooner.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, answerWait)
}
