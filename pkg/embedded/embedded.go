// Package embedded owns the parts that otherwise run beside Joinery: a NATS
// server with JetStream and a Redis, inside the process. They listen on nothing
// unless asked to, and several of each can live in one process.
package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats-server/v2/server"
)

// BrokerOptions say how the broker runs.
type BrokerOptions struct {
	// Dir is where the file store lives.
	Dir string
	// Listen is a loopback address for other processes, or empty for none. Port 0
	// takes any that is free.
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

const (
	// startWait bounds the recovery of the file store at start.
	startWait = 5 * time.Minute
	// maxStore is what streams may reserve together. It is more than the topology
	// does, and takes no disk by itself.
	maxStore = 64 << 30
	// maxMemory bounds what JetStream keeps in memory only; nothing of ours is.
	maxMemory = 64 << 20
	// maxPayload leaves room for the headers of the largest message that a stream
	// takes, so that the stream refuses it and not the connection.
	maxPayload = 2 << 20
)

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
		ServerName: "joinery", JetStream: true, StoreDir: o.Dir, NoSigs: true, DontListen: true,
		SyncAlways: o.SyncInterval == 0, SyncInterval: o.SyncInterval,
		JetStreamMaxMemory: maxMemory, JetStreamMaxStore: maxStore, MaxPayload: maxPayload,
	}
	if o.Listen != "" {
		if err := listen(options, o.Listen); err != nil {
			return err
		}
	}
	s, err := server.NewServer(options)
	if err != nil {
		return fmt.Errorf("make the embedded broker: %w", err)
	}
	s.SetLoggerV2(serverLog{o.Log}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(startWait) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return fmt.Errorf("the embedded broker did not start on %s; its log says why", o.Dir)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.server = s
	return nil
}

// listen lets other processes in. The broker asks nobody who they are, so it
// must not be reachable from elsewhere.
func listen(options *server.Options, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("broker address: %w", err)
	}
	if !net.ParseIP(host).IsLoopback() {
		return fmt.Errorf("broker address %s: the embedded broker asks nobody who they are, so it listens on loopback only", address)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("broker address: %w", err)
	}
	if number == 0 {
		options.Port = server.RANDOM_PORT
	} else {
		options.Port = int(number)
	}
	options.Host, options.DontListen = host, false
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

// InProcessConn implements nats.InProcessConnProvider. A client that lost its
// connection gets one to the server that runs now.
func (b *Broker) InProcessConn() (net.Conn, error) { return b.running().InProcessConn() }

// running is the server that runs now, or ran last. Nobody holds the lock while
// the server works: it would keep a bubble's time from passing.
func (b *Broker) running() *server.Server {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.server
}

// URL is where other processes reach the broker, or "" where they cannot.
func (b *Broker) URL() string {
	if b.options.Listen == "" {
		return ""
	}
	return b.running().ClientURL()
}

// Stop stops the broker; clients reconnect after Start.
func (b *Broker) Stop() {
	s := b.running()
	s.Shutdown()
	s.WaitForShutdown()
}

// Start starts the broker again on what it stored.
func (b *Broker) Start() error { return b.start() }

// Close stops the broker and frees the directory.
func (b *Broker) Close() {
	b.Stop()
	b.unlock()
}

// serverLog writes what the server warns about into our log. What it says of
// its ordinary life is left out.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(format string, v ...any) {
	l.log.Debug(said, "text", fmt.Sprintf(format, v...))
}

func (l serverLog) Warnf(format string, v ...any) {
	l.log.Warn(said, "text", fmt.Sprintf(format, v...))
}

func (l serverLog) Errorf(format string, v ...any) {
	l.log.Error(said, "text", fmt.Sprintf(format, v...))
}

func (l serverLog) Fatalf(format string, v ...any) {
	l.log.Error(said, "text", fmt.Sprintf(format, v...))
}
func (l serverLog) Debugf(string, ...any) {}
func (l serverLog) Tracef(string, ...any) {}

// said is the message of all lines that come from the server.
const said = "embedded broker"
