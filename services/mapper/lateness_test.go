package mapper_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/embedded"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/mapper"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// clocked is an outbox over a broker that notes how late each person's command is.
type clocked struct {
	wire.Outbox
	due  sync.Map // by identity
	mu   sync.Mutex
	late []time.Duration
	all  chan struct{}
	want int
}

func (c *clocked) Command(ctx context.Context, command *joineryv1.ProvisioningCommand) error {
	err := c.Outbox.Command(ctx, command)
	due, _ := c.due.Load(command.GetIdentity())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late = append(c.late, time.Since(due.(time.Time))); len(c.late) == c.want {
		close(c.all)
	}
	return err
}

// BenchmarkTenThousandScheduledInAMinute has ten thousand people hired on seconds
// spread over one minute, over a broker that syncs every write, and reports how
// late their commands were stored. Run it once: -benchtime 1x.
func BenchmarkTenThousandScheduledInAMinute(b *testing.B) {
	const people, spread = 10_000, time.Minute
	broker, err := embedded.StartBroker(embedded.BrokerOptions{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer broker.Close()
	conn, err := stream.Dial(b.Context(), broker.Options("bench"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Apply(b.Context(), stream.Design([]string{"acme"}, 1)); err != nil {
		b.Fatal(err)
	}
	bucket, err := stream.OpenBucket[identity.Record](b.Context(), conn, stream.Identities)
	if err != nil {
		b.Fatal(err)
	}
	outbox := &clocked{Outbox: wire.NewOutbox(conn.Publisher()), all: make(chan struct{}), want: people}
	s := mapper.New(bucket, outbox, mapper.Targets{"acme": live(everybody)}, quiet(b))
	first := time.Now().Add(90 * time.Second).Truncate(time.Second)
	announce(b, s, outbox, people, first, spread)
	if time.Now().After(first) {
		b.Fatal("this machine is too slow: the first was due before the last was announced")
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.RunWakes(ctx, conn.Subscriber(stream.SubscriberOptions{
			Stream: stream.Schedules, Durable: "mapper-wakes", Concurrency: mapper.WakeConcurrency,
		}), wire.NewDiary(conn))
	}()
	<-outbox.all
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	report(b, "stored", outbox.late)
}

// report gives the distribution of how late something was.
func report(b *testing.B, what string, late []time.Duration) {
	b.Helper()
	slices.Sort(late)
	for name, share := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99, "max-ms": 1} {
		b.ReportMetric(float64(late[int(share*float64(len(late)-1))].Milliseconds()), what+"-"+name)
	}
}

// announce tells of all hires, as many at once as a mapper would.
func announce(b *testing.B, s *mapper.Service, outbox *clocked, people int, first time.Time, spread time.Duration) {
	b.Helper()
	var wg sync.WaitGroup
	places := make(chan struct{}, 256)
	for i := range people {
		e := event(fmt.Sprint("e", i), "joined", 0, nil)
		due := first.Add((spread * time.Duration(i) / time.Duration(people)).Truncate(time.Second))
		e.IdentityKey, e.OccurredAt, e.EffectiveAt = fmt.Sprint(i), timestamppb.Now(), timestamppb.New(due)
		outbox.due.Store(identity.IDOf(e.GetIdentityKey()), due)
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			if err := s.Handle(b.Context(), e); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}
