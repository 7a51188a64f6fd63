package stream_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/embedded"
	"github.com/joinery/joinery/pkg/embedded/bubble"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// world is a broker, our connection to it, and one of somebody else's.
type world struct {
	broker *embedded.Broker
	bubble *bubble.Bubble
	conn   *stream.Conn
	nc     *nats.Conn
	js     jetstream.JetStream
}

// open is a world in real time with an empty broker.
func open(t *testing.T) *world {
	t.Helper()
	broker, err := embedded.StartBroker(embedded.BrokerOptions{Dir: t.TempDir(), Log: logTo(t)})
	must(t, err)
	t.Cleanup(broker.Close)
	w := connect(t, broker)
	t.Cleanup(w.close)
	return w
}

// designed is a world in real time with the topology of these targets.
func designed(t *testing.T, targets ...string) *world {
	t.Helper()
	w := open(t)
	must(t, w.conn.Apply(t.Context(), stream.Design(targets, 1)))
	return w
}

// inBubble is a world on fake time with the topology of target acme.
func inBubble(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		w := connect(t, b.Broker)
		w.bubble = b
		defer w.close()
		must(t, w.conn.Apply(t.Context(), stream.Design([]string{"acme"}, 1)))
		fn(t, w)
	})
}

func connect(t *testing.T, broker *embedded.Broker) *world {
	t.Helper()
	w := &world{broker: broker}
	options := broker.Options("test")
	options.Log = logTo(t)
	var err error
	w.conn, err = stream.Dial(t.Context(), options)
	must(t, err)
	w.nc, err = nats.Connect("", nats.InProcessServer(broker), nats.MaxReconnects(-1))
	must(t, err)
	w.js, err = jetstream.New(w.nc)
	must(t, err)
	return w
}

func (w *world) close() {
	w.conn.Close()
	w.nc.Close()
}

// settle waits in a bubble until everything that was sent has arrived.
func (w *world) settle() {
	time.Sleep(10 * time.Millisecond)
	synctest.Wait()
}

// restart stops the broker and starts it again on what it stored.
func (w *world) restart(t *testing.T) {
	t.Helper()
	w.broker.Stop()
	must(t, w.broker.Start())
	for !w.nc.IsConnected() || w.conn.Ready(t.Context()) != nil {
		time.Sleep(100 * time.Millisecond)
	}
}

// say publishes a message under an id.
func (w *world) say(t *testing.T, subject, id string) {
	t.Helper()
	must(t, w.conn.Publisher().Publish(subject, message.NewMessage(id, []byte(id))))
}

func logTo(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
