package embedded_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/embedded"
	"github.com/joinery/joinery/pkg/rate"
	"github.com/joinery/joinery/pkg/redisrate"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats.go"
)

const subject = "joinery.lifecycle.hr.p.e"

func start(t *testing.T, o embedded.BrokerOptions) *embedded.Broker {
	t.Helper()
	b, err := embedded.StartBroker(o)
	must(t, err)
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dial connects and applies the topology.
func dial(t *testing.T, b *embedded.Broker) *stream.Conn {
	t.Helper()
	conn, err := stream.Dial(t.Context(), b.Options("test"))
	must(t, err)
	must(t, conn.Apply(t.Context(), stream.Design(nil, 1)))
	return conn
}

// published tells whether the event was there already.
func published(t *testing.T, conn *stream.Conn) (duplicate bool) {
	t.Helper()
	duplicate, err := conn.Publisher().PublishNew(subject, message.NewMessage("e", nil))
	must(t, err)
	return duplicate
}

func TestTwoBrokersInOneProcessKnowNothingOfEachOther(t *testing.T) {
	for range 2 {
		b := start(t, embedded.BrokerOptions{Dir: t.TempDir()})
		defer b.Close()
		conn := dial(t, b)
		defer conn.Close()
		if published(t, conn) {
			t.Error("an empty broker holds the event")
		}
	}
}

func TestWhatIsStoredSurvivesTheProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "the", "broker")
	for i := range 3 {
		b := start(t, embedded.BrokerOptions{Dir: dir})
		conn := dial(t, b)
		must(t, conn.CheckDurability(t.Context()))
		if duplicate := published(t, conn); duplicate != (i > 0) {
			t.Errorf("start %d: there already: %v", i, duplicate)
		}
		conn.Close()
		b.Close()
	}
}

func TestClientsReconnectToABrokerThatIsStartedAgain(t *testing.T) {
	b := start(t, embedded.BrokerOptions{Dir: t.TempDir()})
	defer b.Close()
	conn := dial(t, b)
	defer conn.Close()
	published(t, conn)
	b.Stop()
	if err := conn.Ready(t.Context()); !errors.Is(err, stream.ErrUnavailable) {
		t.Errorf("without a broker: %v", err)
	}
	must(t, b.Start())
	// The publish waits for the connection.
	if !published(t, conn) {
		t.Error("the event is gone")
	}
}

func TestDirectoryHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	first := start(t, embedded.BrokerOptions{Dir: dir})
	if _, err := embedded.StartBroker(embedded.BrokerOptions{Dir: dir}); !errors.Is(err, embedded.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second broker: %v", err)
	}
	first.Close()
	start(t, embedded.BrokerOptions{Dir: dir}).Close()
}

func TestNothingListensUnlessAsked(t *testing.T) {
	quiet := start(t, embedded.BrokerOptions{Dir: t.TempDir()})
	defer quiet.Close()
	if url := quiet.URL(); url != "" {
		t.Errorf("listens on %s", url)
	}
	open := start(t, embedded.BrokerOptions{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	defer open.Close()
	nc, err := nats.Connect(open.URL())
	must(t, err)
	nc.Close()
	address := strings.TrimPrefix(open.URL(), "nats://")
	open.Close()
	if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		_ = conn.Close()
		t.Error("listens after its end")
	}
}

func TestBrokerThatCannotStartSaysWhyAndFreesItsDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	dir := t.TempDir()
	for _, row := range []struct {
		name, says string
		options    embedded.BrokerOptions
	}{
		{"open to the world", "loopback only", embedded.BrokerOptions{Dir: dir, Listen: "0.0.0.0:0"}},
		{"open to a network", "loopback only", embedded.BrokerOptions{Dir: dir, Listen: "10.0.0.1:4222"}},
		{"open on a name", "loopback only", embedded.BrokerOptions{Dir: dir, Listen: "localhost:4222"}},
		{"no port", "missing port", embedded.BrokerOptions{Dir: dir, Listen: "127.0.0.1"}},
		{"a port that is none", "invalid syntax", embedded.BrokerOptions{Dir: dir, Listen: "127.0.0.1:http"}},
		{"a port that is too large", "out of range", embedded.BrokerOptions{Dir: dir, Listen: "127.0.0.1:70000"}},
		{"a directory that is a file", "make the broker's folder", embedded.BrokerOptions{Dir: file}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, err := embedded.StartBroker(row.options)
			if err == nil {
				b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("says %v", err)
			}
		})
	}
	start(t, embedded.BrokerOptions{Dir: dir}).Close()
}

func TestBrokersWarningsReachOurLog(t *testing.T) {
	var log strings.Builder
	dir := t.TempDir()
	b := start(t, embedded.BrokerOptions{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	dial(t, b).Close()
	b.Stop()
	meta := filepath.Join(dir, "jetstream", "$G", "streams", stream.Lifecycle, "meta.inf")
	must(t, os.WriteFile(meta, []byte("{"), 0o600))
	must(t, b.Start())
	b.Close()
	if !strings.Contains(log.String(), "LIFECYCLE") {
		t.Errorf("a broken stream went unmentioned:\n%s", log.String())
	}
}

func TestLimiterWorksOverTheEmbeddedRedis(t *testing.T) {
	redis := embedded.StartRedis()
	defer redis.Close()
	other := embedded.StartRedis()
	defer other.Close()
	limiter, err := redisrate.New(redis.Options())
	must(t, err)
	must(t, limiter.Ready(t.Context()))
	must(t, limiter.Configure("acme", rate.Limits{{Requests: 1000, Per: time.Second}}))
	must(t, limiter.Wait(t.Context(), "acme", rate.Normal, 1))
	redis.Flush()
	must(t, limiter.Close())
	conn, err := other.Dial(context.Background(), "tcp", "anywhere:1")
	must(t, err)
	must(t, conn.Close())
}
