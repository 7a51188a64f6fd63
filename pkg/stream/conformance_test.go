package stream_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats.go/jetstream"
)

// suite is a subscriber as Watermill's conformance suite knows it: one that
// makes its topic and its consumer group by itself. With us the topology does
// that, so that nothing else is added here.
type suite struct {
	*world
	group string

	mu     sync.Mutex
	opened []*stream.Subscriber
}

// SubscribeInitialize makes the stream of a topic and the consumer of the group.
func (s *suite) SubscribeInitialize(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: topic, Subjects: []string{topic}}); err != nil {
		return err
	}
	_, err := s.js.CreateOrUpdateConsumer(ctx, topic, jetstream.ConsumerConfig{
		Durable: s.group, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 10 * time.Second, MaxAckPending: 1000,
	})
	return err
}

func (s *suite) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if err := s.SubscribeInitialize(topic); err != nil {
		return nil, err
	}
	sub := s.conn.Subscriber(stream.SubscriberOptions{
		Stream: topic, Durable: s.group, Concurrency: 100, Pause: 10 * time.Millisecond, CloseTimeout: time.Second,
		Key: func(string) string { return topic },
	})
	s.mu.Lock()
	s.opened = append(s.opened, sub)
	s.mu.Unlock()
	return sub.Subscribe(ctx, topic)
}

func (s *suite) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.opened {
		if err := sub.Close(); err != nil {
			return err
		}
	}
	return nil
}

func TestPassesWatermillsConformanceSuite(t *testing.T) {
	t.Parallel()
	w := open(t)
	group := func(_ *testing.T, group string) (message.Publisher, message.Subscriber) {
		return w.conn.Publisher(), &suite{world: w, group: group}
	}
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups: true, Persistent: true, GuaranteedOrder: true, GuaranteedOrderWithSingleSubscriber: true,
		NewSubscriberReceivesOldMessages: false, // a durable consumer is shared: it goes on where it was
	}, func(t *testing.T) (message.Publisher, message.Subscriber) { return group(t, "suite") }, group)
}
