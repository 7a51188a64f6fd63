package stream_test

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats-server/v2/server"
)

// remote is a nats-server as it runs elsewhere: reached over TCP, configured by
// somebody else.
type remote struct{ *server.Server }

func startServer(t *testing.T, o *server.Options) remote {
	t.Helper()
	r := launch(t, o)
	r.await(t)
	return r
}

// launch starts a server that may need others before it is ready.
func launch(t *testing.T, o *server.Options) remote {
	t.Helper()
	o.Host, o.HTTPHost, o.NoSigs, o.NoLog = "127.0.0.1", "127.0.0.1", true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	if o.HTTPPort == 0 {
		o.HTTPPort = server.RANDOM_PORT
	}
	if o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	o.JetStream = o.JetStream || o.JetStreamMaxStore > 0
	o.JetStreamMaxMemory = 1 << 20
	s, err := server.NewServer(o)
	must(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return remote{s}
}

func (r remote) await(t *testing.T) {
	t.Helper()
	if !r.ReadyForConnections(20 * time.Second) {
		t.Fatal("not ready")
	}
}

func (r remote) options() stream.Options {
	return stream.Options{URL: r.ClientURL(), Name: "test"}
}

// monitor is the address of the monitoring endpoint.
func (r remote) monitor() string {
	return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(r.MonitorAddr().Port))
}

func (r remote) dial(t *testing.T) *stream.Conn {
	t.Helper()
	conn, err := stream.Dial(t.Context(), r.options())
	must(t, err)
	t.Cleanup(conn.Close)
	return conn
}
