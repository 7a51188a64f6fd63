// Package embedded owns the parts that otherwise run beside Joinery: a NATS
// server with JetStream and a Redis, inside the process. They listen on nothing
// unless asked to, and several of each can live in one process.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats-server/v2/server"
)

// BrokerOptions say how the broker runs.
type BrokerOptions struct {
	// Dir is where the file store lives.
	Dir string
	// Listen is a loopback address for other processes, or empty for none.
	Listen string
	// SyncInterval other than 0 gives up the promise that an acknowledged message
	// is on disk. It exists to measure what the promise costs.
	SyncInterval time.Duration
	Log          *slog.Logger
}

// Broker is a NATS server inside the process.
type Broker struct {
	options BrokerOptions
	unlock  func()
	mu      sync.Mutex
	server  *server.Server
}

// ErrInUse: another process works on the same directory.
var ErrInUse = errors.New("the data folder is in use by another process")

// startWait bounds the recovery of the file store at start.
const startWait = 5 * time.Minute

// StartBroker starts a broker on a directory that nobody else works on.
func StartBroker(o BrokerOptions) (*Broker, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the broker's folder: %w", err)
	}
	unlock, err := lock(filepath.Join(o.Dir, "lock"))
	if err != nil {
		return nil, err
	}
	b := &Broker{options: o, unlock: unlock}
	if err := b.start(); err != nil {
		unlock()
		return nil, err
	}
	return b, nil
}

func (b *Broker) start() error {
	o := b.options
	options := &server.Options{
		ServerName: "joinery", JetStream: true, StoreDir: o.Dir, NoSigs: true, NoLog: true,
		DontListen: o.Listen == "", SyncAlways: o.SyncInterval == 0, SyncInterval: o.SyncInterval,
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 64 << 30, MaxPayload: 2 << 20,
	}
	if o.Listen != "" {
		host, port, err := net.SplitHostPort(o.Listen)
		if err != nil {
			return fmt.Errorf("broker address: %w", err)
		}
		if options.Host = host; !net.ParseIP(host).IsLoopback() {
			return fmt.Errorf("broker address %s: the embedded broker asks nobody who they are, so it listens on loopback only", o.Listen)
		}
		if options.Port, err = strconv.Atoi(port); err != nil {
			return fmt.Errorf("broker address: %w", err)
		}
		if options.Port == 0 {
			options.Port = server.RANDOM_PORT
		}
	}
	s, err := server.NewServer(options)
	if err != nil {
		return fmt.Errorf("make the embedded broker: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(startWait) {
		s.Shutdown()
		return errors.New("the embedded broker did not start in time")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.server = s
	return nil
}

// Options are the connection options of a client of the broker.
func (b *Broker) Options(name string) stream.Options {
	return stream.Options{
		URL: b.URL(), InProcess: b, Name: name, Replicas: 1, Log: b.options.Log,
		Durable: func() error {
			if b.options.SyncInterval != 0 {
				return errors.New("the embedded broker was told not to sync every write")
			}
			return nil
		},
	}
}

// InProcessConn implements nats.InProcessConnProvider. A client reconnects
// through it after a restart.
func (b *Broker) InProcessConn() (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.server.InProcessConn()
}

// URL is where other processes reach the broker, or "" where they cannot.
func (b *Broker) URL() string {
	if b.options.Listen == "" {
		return ""
	}
	return b.server.ClientURL()
}

// Close stops the broker and frees the directory.
func (b *Broker) Close() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
	b.unlock()
}

// Redis is a Redis inside the process.
type Redis struct{ mini *miniredis.Miniredis }

// StartRedis starts a Redis that is reached through Dial only.
func StartRedis() *Redis { return &Redis{mini: miniredis.NewMiniRedis()} }

// Dial gives a connection to the Redis, whatever the address.
func (r *Redis) Dial(context.Context, string, string) (net.Conn, error) { return r.mini.Dial() }

// Flush empties the Redis, as a restart without persistence would.
func (r *Redis) Flush() { r.mini.FlushAll() }

// Close stops the Redis.
func (r *Redis) Close() { r.mini.Close() }
