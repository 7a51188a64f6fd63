package stream_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/embedded"
	"github.com/joinery/joinery/pkg/stream"
)

// benchWorld is a broker that need not sync: the disk is not what is measured,
// unless it is asked for.
func benchWorld(b *testing.B, sync time.Duration) *stream.Conn {
	b.Helper()
	broker, err := embedded.StartBroker(embedded.BrokerOptions{Dir: b.TempDir(), SyncInterval: sync})
	must(b, err)
	b.Cleanup(broker.Close)
	conn, err := stream.Dial(b.Context(), broker.Options("bench"))
	must(b, err)
	b.Cleanup(conn.Close)
	must(b, conn.Apply(b.Context(), stream.Design([]string{"acme"}, 1)))
	return conn
}

// BenchmarkSubscriber settles messages of 10,000 keys with 256 handlers.
func BenchmarkSubscriber(b *testing.B) {
	for _, work := range []time.Duration{0, 5 * time.Millisecond} {
		b.Run(fmt.Sprint("handler ", work), func(b *testing.B) {
			conn := benchWorld(b, time.Minute)
			for from := 0; from < b.N; from += stream.MaxBatch {
				batch := make([]stream.Item, min(stream.MaxBatch, b.N-from))
				for i := range batch {
					id := fmt.Sprint(from + i)
					batch[i] = stream.Item{
						Topic:   fmt.Sprintf("joinery.lifecycle.hr.p%d.%s", (from+i)%10_000, id),
						Message: message.NewMessage(id, make([]byte, 600)),
					}
				}
				must(b, conn.Publisher().PublishBatch(b.Context(), batch))
			}
			sub := conn.Subscriber(stream.SubscriberOptions{
				Stream: stream.Lifecycle, Durable: "mapper", Concurrency: 256,
				Key: func(subject string) string { return stream.Token(subject, 3) },
			})
			b.ResetTimer()
			messages, err := sub.Subscribe(b.Context(), "")
			must(b, err)
			var handlers sync.WaitGroup
			for range b.N {
				msg := <-messages
				handlers.Go(func() {
					time.Sleep(work)
					msg.Ack()
				})
			}
			handlers.Wait()
			b.StopTimer()
			must(b, sub.Close())
		})
	}
}

// BenchmarkPublish stores messages one by one, and in batches, with every write
// synced to disk.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1, 10, 100, stream.MaxBatch} {
		b.Run(fmt.Sprint("batch of ", size), func(b *testing.B) {
			conn := benchWorld(b, 0)
			round := 0
			for b.Loop() {
				round++
				batch := make([]stream.Item, size)
				for i := range batch {
					id := fmt.Sprintf("%d-%d", round, i)
					batch[i] = stream.Item{Topic: "joinery.lifecycle.hr.p." + id, Message: message.NewMessage(id, make([]byte, 600))}
				}
				if size == 1 {
					must(b, conn.Publisher().Publish(batch[0].Topic, batch[0].Message))
				} else {
					must(b, conn.Publisher().PublishBatch(b.Context(), batch))
				}
			}
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
