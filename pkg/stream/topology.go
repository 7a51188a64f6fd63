package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams.
const (
	Lifecycle   = "LIFECYCLE"
	Commands    = "COMMANDS"
	Outcomes    = "OUTCOMES"
	DeadLetters = "DEADLETTER"
	Advisories  = "ADVISORIES"
)

// The buckets.
const (
	Identities = "IDENTITIES"
	Accounts   = "ACCOUNTS"
	Targets    = "TARGETS"
	Cases      = "CASES"
	Runs       = "RUNS"
)

// The lanes of a target, most urgent first.
func lanes() []string { return []string{"urgent", "normal", "bulk"} }

// ackWait is how long a message may go without a heartbeat before the broker
// gives it to somebody else; the subscriber sends one every third of it.
const ackWait = 60 * time.Second

// Stream is one stream of the topology.
type Stream struct {
	Name          string        `json:"name"`
	Subjects      []string      `json:"subjects"`
	PerSubject    int64         `json:"max_per_subject,omitempty"`
	MaxAge        time.Duration `json:"max_age,omitempty"`
	MaxBytes      int64         `json:"max_bytes"`
	DedupeWindow  time.Duration `json:"duplicate_window"`
	Atomic        bool          `json:"allow_atomic,omitempty"`
	DiscardOldest bool          `json:"discard_oldest,omitempty"`
	Purpose       string        `json:"purpose"`
}

// Consumer is one durable pull consumer of the topology.
type Consumer struct {
	Stream     string   `json:"stream"`
	Durable    string   `json:"durable"`
	Filters    []string `json:"filters"`
	MaxPending int      `json:"max_ack_pending"`
}

// BucketSpec is one key-value bucket of the topology.
type BucketSpec struct {
	Name    string `json:"name"`
	History uint8  `json:"history"`
	Purpose string `json:"purpose"`
}

// Topology is everything the broker must hold, as one literal.
type Topology struct {
	Replicas  int          `json:"replicas"`
	Streams   []Stream     `json:"streams"`
	Consumers []Consumer   `json:"consumers"`
	Buckets   []BucketSpec `json:"buckets"`
}

const (
	gib = int64(1) << 30
	day = 24 * time.Hour
)

// Design is the topology for these targets. Retention is limits everywhere:
// work-queue streams forget duplicates at a restart. Discard is new everywhere
// but for advisories: what was not handled is never dropped, the sender is told.
func Design(targets []string, replicas int) Topology {
	t := Topology{
		Replicas: replicas,
		Streams: []Stream{
			{
				Name: Lifecycle, Subjects: []string{"joinery.lifecycle.*.*.*"}, MaxAge: 90 * day, MaxBytes: 8 * gib,
				DedupeWindow: 2 * time.Minute, Atomic: true,
				Purpose: "accepted events; one subject each, so a repeat is recognised for 90 days",
			},
			{
				Name: Commands, Subjects: []string{"joinery.command.*.*.*"}, PerSubject: 1, MaxBytes: 8 * gib,
				DedupeWindow: 2 * time.Minute,
				Purpose:      "the newest wish for each (target, lane, identity)",
			},
			{
				Name: Outcomes, Subjects: []string{"joinery.outcome.*.*.*"}, MaxAge: 400 * day, MaxBytes: 16 * gib,
				DedupeWindow: 2 * time.Minute, Atomic: true,
				Purpose: "how every event and command ended; one subject each, so that there is one",
			},
			{
				Name: DeadLetters, Subjects: []string{"joinery.deadletter.*.*"}, MaxBytes: 4 * gib,
				DedupeWindow: 2 * time.Minute,
				Purpose:      "what a person must decide; kept until decided",
			},
			{
				Name: Advisories, Subjects: []string{"$JS.EVENT.ADVISORY.>"}, MaxAge: 7 * day, MaxBytes: gib / 4,
				DedupeWindow: 2 * time.Minute, DiscardOldest: true,
				Purpose: "what the broker itself reports; lost if nobody keeps it",
			},
		},
		Consumers: []Consumer{
			{Stream: Lifecycle, Durable: "mapper", Filters: []string{"joinery.lifecycle.>"}, MaxPending: 2000},
			{Stream: DeadLetters, Durable: "desk", Filters: []string{"joinery.deadletter.>"}, MaxPending: 200},
			{Stream: Outcomes, Durable: "desk-outcomes", Filters: []string{"joinery.outcome.>"}, MaxPending: 2000},
		},
		Buckets: []BucketSpec{
			{Identities, 1, "persons: what sources said, and what every target should show"},
			{Accounts, 1, "ledger of each (target, identity)"},
			{Targets, 5, "paused, quarantined, learned quirks"},
			{Cases, 5, "cases on the review desk"},
			{Runs, 1, "reconciliation runs"},
		},
	}
	for _, target := range targets {
		t.Consumers = append(t.Consumers, laneConsumers(target)...)
	}
	return t
}

func laneConsumers(target string) []Consumer {
	var out []Consumer
	for _, lane := range lanes() {
		out = append(out, Consumer{
			Stream: Commands, Durable: LaneDurable(target, lane),
			Filters: []string{"joinery.command." + target + "." + lane + ".*"},
			// Failing accounts wait here for their next attempt; more than this at
			// once and the target as a whole is in trouble.
			MaxPending: 5000,
		})
	}
	return out
}

// LaneDurable is the durable consumer of one lane of one target.
func LaneDurable(target, lane string) string { return "dispatcher-" + target + "-" + lane }

// Token is the i-th token of a subject, counted from 0, or "".
func Token(subject string, i int) string {
	tokens := strings.Split(subject, ".")
	if i < 0 || i >= len(tokens) {
		return ""
	}
	return tokens[i]
}

// Apply makes the broker hold the topology. It can be repeated: what is there
// is brought in line, and nothing is ever deleted.
func (c *Conn) Apply(ctx context.Context, t Topology) error {
	for _, s := range t.Streams {
		if _, err := c.js.CreateOrUpdateStream(ctx, s.config(t.Replicas)); err != nil {
			return fmt.Errorf("apply stream %s: %w", s.Name, err)
		}
	}
	for _, b := range t.Buckets {
		_, err := c.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: b.Name, Description: b.Purpose, History: b.History,
			Storage: jetstream.FileStorage, Replicas: t.Replicas,
		})
		if err != nil {
			return fmt.Errorf("apply bucket %s: %w", b.Name, err)
		}
	}
	for _, consumer := range t.Consumers {
		if _, err := c.js.CreateOrUpdateConsumer(ctx, consumer.Stream, consumer.config()); err != nil {
			return fmt.Errorf("apply consumer %s: %w", consumer.Durable, err)
		}
	}
	return nil
}

// ApplyLanes makes the broker hold the consumers of one target's lanes.
func (c *Conn) ApplyLanes(ctx context.Context, target string) error {
	return c.Apply(ctx, Topology{Consumers: laneConsumers(target)})
}

func (s Stream) config(replicas int) jetstream.StreamConfig {
	discard := jetstream.DiscardNew
	if s.DiscardOldest {
		discard = jetstream.DiscardOld
	}
	return jetstream.StreamConfig{
		Name: s.Name, Description: s.Purpose, Subjects: s.Subjects, Retention: jetstream.LimitsPolicy,
		Storage: jetstream.FileStorage, Discard: discard, MaxMsgsPerSubject: s.PerSubject,
		MaxAge: s.MaxAge, MaxBytes: s.MaxBytes, MaxMsgSize: 1 << 20, Duplicates: s.DedupeWindow, Replicas: replicas,
		AllowDirect: true, DenyDelete: !s.DiscardOldest, DenyPurge: !s.DiscardOldest, AllowAtomicPublish: s.Atomic,
	}
}

func (k Consumer) config() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: k.Durable, FilterSubjects: k.Filters, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: ackWait, MaxDeliver: -1, MaxAckPending: k.MaxPending, DeliverPolicy: jetstream.DeliverAllPolicy,
	}
}

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
			Retention: cfg.Retention.String(), Discard: cfg.Discard.String(), PerSubject: cfg.MaxMsgsPerSubject,
			Replicas: cfg.Replicas, Purpose: cfg.Description,
		})
		consumers, err := c.consumers(ctx, cfg.Name)
		if err != nil {
			return out, err
		}
		out.Consumers = append(out.Consumers, consumers...)
	}
	if err := streams.Err(); err != nil {
		return out, fmt.Errorf("list streams: %w", err)
	}
	return out, nil
}

func (c *Conn) consumers(ctx context.Context, name string) ([]AppliedConsumer, error) {
	s, err := c.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", name, err)
	}
	var out []AppliedConsumer
	list := s.ListConsumers(ctx)
	for info := range list.Info() {
		if info.Config.Durable == "" {
			continue
		}
		filters := info.Config.FilterSubjects
		if len(filters) == 0 {
			filters = []string{info.Config.FilterSubject}
		}
		out = append(out, AppliedConsumer{
			Stream: name, Durable: info.Name, Filters: filters, Waiting: info.NumPending,
			InFlight: info.NumAckPending, Redelivered: info.NumRedelivered,
		})
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list the consumers of %s: %w", name, err)
	}
	return out, nil
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
