package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Applied is the topology as the broker holds it, with what is in it.
type Applied struct {
	Streams   []AppliedStream   `json:"streams"`
	Consumers []AppliedConsumer `json:"consumers"`
}

// AppliedStream is a stream, or a bucket's stream, as the broker holds it.
type AppliedStream struct {
	Name       string   `json:"name"`
	Subjects   []string `json:"subjects"`
	Messages   uint64   `json:"messages"`
	Bytes      uint64   `json:"bytes"`
	MaxBytes   int64    `json:"max_bytes"`
	MaxAge     Span     `json:"max_age"`
	Retention  string   `json:"retention"`
	Discard    string   `json:"discard"`
	PerSubject int64    `json:"max_per_subject"`
	Replicas   int      `json:"replicas"`
	Purpose    string   `json:"purpose"`
}

// AppliedConsumer is a consumer as the broker holds it.
type AppliedConsumer struct {
	Stream      string   `json:"stream"`
	Durable     string   `json:"durable"`
	Filters     []string `json:"filters"`
	Waiting     uint64   `json:"waiting"`
	InFlight    int      `json:"in_flight"`
	Redelivered int      `json:"redelivered"`
}

// Inspect reads the topology from the broker.
func (c *Conn) Inspect(ctx context.Context) (Applied, error) {
	var out Applied
	streams := c.js.ListStreams(ctx)
	for info := range streams.Info() {
		cfg := info.Config
		out.Streams = append(out.Streams, AppliedStream{
			Name: cfg.Name, Subjects: cfg.Subjects, Messages: info.State.Msgs, Bytes: info.State.Bytes,
			MaxBytes: cfg.MaxBytes, MaxAge: Span(cfg.MaxAge), Retention: cfg.Retention.String(),
			Discard: cfg.Discard.String(), PerSubject: cfg.MaxMsgsPerSubject, Replicas: cfg.Replicas, Purpose: cfg.Description,
		})
		consumers, err := c.consumers(ctx, cfg.Name)
		if err != nil {
			return out, err
		}
		for _, info := range consumers {
			out.Consumers = append(out.Consumers, AppliedConsumer{
				Stream: cfg.Name, Durable: info.Name, Filters: filtersOf(info.Config), Waiting: info.NumPending,
				InFlight: info.NumAckPending, Redelivered: info.NumRedelivered,
			})
		}
	}
	if err := streams.Err(); err != nil {
		return out, fmt.Errorf("list streams: %w", err)
	}
	return out, nil
}

// consumers are the durable consumers of a stream.
func (c *Conn) consumers(ctx context.Context, name string) ([]*jetstream.ConsumerInfo, error) {
	s, err := c.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", name, err)
	}
	var out []*jetstream.ConsumerInfo
	list := s.ListConsumers(ctx)
	for info := range list.Info() {
		if info.Config.Durable != "" {
			out = append(out, info)
		}
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list the consumers of %s: %w", name, err)
	}
	return out, nil
}

func filtersOf(cfg jetstream.ConsumerConfig) []string {
	if cfg.FilterSubject != "" {
		return []string{cfg.FilterSubject}
	}
	return cfg.FilterSubjects
}

// Backlog is how many messages of a durable consumer are not settled yet:
// waiting, and in flight or between attempts.
func (c *Conn) Backlog(ctx context.Context, stream, durable string) (waiting, inFlight uint64, err error) {
	consumer, err := c.js.Consumer(ctx, stream, durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("open consumer %s: %w", durable, err)
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("ask for consumer %s: %w", durable, err)
	}
	return info.NumPending, uint64(info.NumAckPending), nil
}
