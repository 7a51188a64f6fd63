package stream_test

import (
	"log/slog"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/embedded"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// world is a broker, our connection to it, and one of somebody else's.
type world struct {
	broker *embedded.Broker
	conn   *stream.Conn
	nc     *nats.Conn
	js     jetstream.JetStream
}

func open(t *testing.T) *world {
	t.Helper()
	broker, err := embedded.StartBroker(embedded.BrokerOptions{Dir: t.TempDir(), Log: logTo(t)})
	must(t, err)
	t.Cleanup(broker.Close)
	w := &world{broker: broker, conn: dial(t, broker)}
	w.nc, err = nats.Connect("", nats.InProcessServer(broker))
	must(t, err)
	t.Cleanup(w.nc.Close)
	w.js, err = jetstream.New(w.nc)
	must(t, err)
	return w
}

// designed is a world with the topology of these targets.
func designed(t *testing.T, targets ...string) *world {
	t.Helper()
	w := open(t)
	must(t, w.conn.Apply(t.Context(), stream.Design(targets, 1)))
	return w
}

func dial(t *testing.T, b *embedded.Broker) *stream.Conn {
	t.Helper()
	conn, err := stream.Dial(t.Context(), b.Options("test"))
	must(t, err)
	t.Cleanup(conn.Close)
	return conn
}

func logTo(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// say publishes a message under an id.
func (w *world) say(t *testing.T, subject, id string) {
	t.Helper()
	must(t, w.conn.Publisher().Publish(subject, message.NewMessage(id, []byte(id))))
}
