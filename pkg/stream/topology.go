package stream

import (
	"bytes"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams.
const (
	Intake      = "INTAKE"
	Lifecycle   = "LIFECYCLE"
	Commands    = "COMMANDS"
	Outcomes    = "OUTCOMES"
	DeadLetters = "DEADLETTER"
	Advisories  = "ADVISORIES"
	Schedules   = "SCHEDULES"
)

// The buckets.
const (
	Identities = "IDENTITIES"
	Accounts   = "ACCOUNTS"
	Targets    = "TARGETS"
	Guards     = "GUARDS"
	Cases      = "CASES"
	Runs       = "RUNS"
	Books      = "BOOKS"
	Feeds      = "FEEDS"
	Directory  = "DIRECTORY"
	Groups     = "GROUPS"
	Members    = "MEMBERS"
	Names      = "NAMES"
	Links      = "LINKS"
)

// The lanes of a target, most urgent first.
func lanes() []string { return []string{"urgent", "normal", "bulk"} }

// ackWait is how long a message may go without a heartbeat before the broker
// gives it to somebody else: how long the work of a process that was killed
// lies still.
const ackWait = 15 * time.Second

// Span is a duration that JSON shows as text ("2160h0m0s").
type Span time.Duration

// String is the span in Go's notation.
func (s Span) String() string { return time.Duration(s).String() }

// MarshalText writes the span in Go's notation.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads Go's notation.
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	*s = Span(d)
	return err
}

// Stream is one stream of the topology. Retention is limits and storage is file
// for all of them.
type Stream struct {
	Name     string   `json:"name"`
	Subjects []string `json:"subjects"`
	// PerSubject is how many messages a subject keeps, newest first; 0 is all.
	PerSubject int64 `json:"max_per_subject,omitempty"`
	// MaxAge is how long a message is kept; 0 is for ever.
	MaxAge Span `json:"max_age,omitempty"`
	// MaxBytes is where the stream takes no more messages.
	MaxBytes     int64 `json:"max_bytes"`
	DedupeWindow Span  `json:"duplicate_window"`
	// Atomic allows batches that are stored whole or not at all.
	Atomic bool `json:"allow_atomic,omitempty"`
	// DiscardOldest makes a full stream drop its oldest messages instead of
	// refusing new ones.
	DiscardOldest bool `json:"discard_oldest,omitempty"`
	// Scheduled allows messages that the broker publishes at a time of their own.
	Scheduled bool   `json:"allow_schedules,omitempty"`
	Purpose   string `json:"purpose"`
}

// Consumer is one durable pull consumer of the topology. Acknowledgement is
// explicit and deliveries are unlimited: giving up is the application's decision.
type Consumer struct {
	Stream  string   `json:"stream"`
	Durable string   `json:"durable"`
	Filters []string `json:"filters"`
	// MaxPending is how many messages may be out or wait for their next attempt.
	MaxPending int `json:"max_ack_pending"`
}

// BucketSpec is one key-value bucket of the topology.
type BucketSpec struct {
	Name string `json:"name"`
	// History is how many values of a key are kept.
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
	day = Span(24 * time.Hour)
	// dedupeWindow bounds the broker's memory (146 bytes an id): it is a first
	// filter for publishes that are sent again. Repeats after it are recognised by
	// unique subjects and by revisions.
	dedupeWindow = Span(2 * time.Minute)
	// maxMessage is the largest message, headers included: the default of a
	// nats-server, so that what ingest accepts every server takes.
	maxMessage = 1 << 20
)

// Design is the topology for these targets. Retention is limits everywhere:
// work-queue streams forget duplicates at a restart. A full stream refuses new
// messages everywhere but for advisories: what was not handled is never
// dropped, the sender is told.
//
// Sizes assume about 1 KiB a message and are where a stream stops, not what it
// takes from the start; larger limits that an operator set are kept.
//
//	INTAKE      4 GiB   4 million events that nobody took in for a week
//	LIFECYCLE   8 GiB   90 days at one event a second
//	COMMANDS    8 GiB   8 million (target, lane, identity)
//	OUTCOMES    16 GiB  400 days (a year, and time to export) at one every two seconds
//	DEADLETTER  4 GiB   4 million decisions that nobody took
//	ADVISORIES  256 MiB the last week, or less in a storm
func Design(targets []string, replicas int) Topology {
	t := Topology{
		Replicas: replicas,
		Streams: []Stream{
			{
				Name: Intake, Subjects: []string{"joinery.intake.*"}, MaxAge: 7 * day, MaxBytes: 4 * gib,
				DedupeWindow: dedupeWindow,
				Purpose:      "what sources publish, until it is taken in; one subject for each source",
			},
			{
				Name: Lifecycle, Subjects: []string{"joinery.lifecycle.*.*.*"}, MaxAge: 90 * day, MaxBytes: 8 * gib,
				DedupeWindow: dedupeWindow, Atomic: true,
				Purpose: "accepted events; one subject each, so a repeat is recognised for 90 days",
			},
			{
				Name: Commands, Subjects: []string{"joinery.command.*.*.*"}, PerSubject: 1, MaxBytes: 8 * gib,
				DedupeWindow: dedupeWindow, Atomic: true,
				Purpose: "the newest wish for each (target, lane, identity)",
			},
			{
				Name: Outcomes, Subjects: []string{"joinery.outcome.*.*.*"}, MaxAge: 400 * day, MaxBytes: 16 * gib,
				DedupeWindow: dedupeWindow, Atomic: true,
				Purpose: "how every event and command ended; one subject each, so that there is one",
			},
			{
				Name: DeadLetters, Subjects: []string{"joinery.deadletter.*.*"}, MaxBytes: 4 * gib,
				DedupeWindow: dedupeWindow,
				Purpose:      "what a person must decide; kept until decided",
			},
			{
				Name: Advisories, Subjects: []string{"$JS.EVENT.ADVISORY.>"}, MaxAge: 7 * day, MaxBytes: gib / 4,
				DedupeWindow: dedupeWindow, DiscardOldest: true,
				Purpose: "what the broker itself reports; lost if nobody keeps it",
			},
			{
				// It has no size limit, as buckets have none: the broker does not let a
				// stream with schedules refuse messages, and dropped schedules would be lost.
				Name: Schedules, Subjects: []string{"joinery.schedule.*.*", "joinery.due.*.*.*", "joinery.wake.*.*"}, PerSubject: 1, MaxBytes: -1,
				DedupeWindow: dedupeWindow, DiscardOldest: true, Scheduled: true, Atomic: true,
				Purpose: "who is to be looked at again when, and the wake-ups for it",
			},
		},
		Consumers: []Consumer{
			{Stream: Intake, Durable: "ingest", Filters: []string{"joinery.intake.>"}, MaxPending: 2000},
			{Stream: Lifecycle, Durable: "mapper", Filters: []string{"joinery.lifecycle.>"}, MaxPending: 2000},
			{Stream: Schedules, Durable: "mapper-wakes", Filters: []string{"joinery.wake.*.*"}, MaxPending: 2000},
			{Stream: DeadLetters, Durable: "desk", Filters: []string{"joinery.deadletter.>"}, MaxPending: 200},
			{Stream: Outcomes, Durable: "desk-outcomes", Filters: []string{"joinery.outcome.>"}, MaxPending: 2000},
		},
		Buckets: []BucketSpec{
			{Identities, 1, "persons: what sources said, and what every target should show"},
			{Accounts, 1, "ledger of each (target, identity)"},
			{Targets, 5, "paused, quarantined, learned quirks"},
			{Guards, 1, "what the guards let through and hold"},
			{Cases, 5, "cases on the review desk"},
			{Runs, 1, "reconciliation runs"},
			{Books, 1, "how far outcomes have been compared, and which are missing"},
			{Groups, 1, "groups of sources: what was said, and what every target should make of them"},
			{Members, 1, "who should be in each (target, group), and who was made a member"},
			{Feeds, 1, "last good snapshot of each source, as keys and hashes"},
			{Directory, 1, "resources that identity providers keep at the SCIM door, and events of theirs on the way"},
			{Names, 1, "names that are somebody's in a target, for good; as hashes"},
			{Links, 1, "whom the keys of following sources mean, and who has the values that people are found by"},
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

// streamOf is the stream of the topology that a subject belongs to, or "".
func streamOf(subject string) string {
	switch {
	case strings.HasPrefix(subject, "joinery.intake."):
		return Intake
	case strings.HasPrefix(subject, "joinery.lifecycle."):
		return Lifecycle
	case strings.HasPrefix(subject, "joinery.command."):
		return Commands
	case strings.HasPrefix(subject, "joinery.outcome."):
		return Outcomes
	case strings.HasPrefix(subject, "joinery.deadletter."):
		return DeadLetters
	case strings.HasPrefix(subject, "joinery.schedule."), strings.HasPrefix(subject, "joinery.due."), strings.HasPrefix(subject, "joinery.wake."):
		return Schedules
	}
	return ""
}

// config is the stream as the broker takes it. Nothing that the product keeps is
// ever deleted by hand, so that nobody can by mistake.
func (s Stream) config(replicas int) jetstream.StreamConfig {
	discard := jetstream.DiscardNew
	if s.DiscardOldest {
		discard = jetstream.DiscardOld
	}
	return jetstream.StreamConfig{
		Name: s.Name, Description: s.Purpose, Subjects: s.Subjects, Retention: jetstream.LimitsPolicy,
		Storage: jetstream.FileStorage, Discard: discard, MaxMsgs: -1, MaxMsgsPerSubject: unlimited(s.PerSubject), MaxConsumers: -1,
		MaxAge: time.Duration(s.MaxAge), MaxBytes: s.MaxBytes, MaxMsgSize: maxMessage,
		Duplicates: time.Duration(s.DedupeWindow), Replicas: replicas, AllowDirect: true,
		DenyDelete: !s.DiscardOldest, DenyPurge: !s.DiscardOldest, AllowAtomicPublish: s.Atomic,
		AllowMsgSchedules: s.Scheduled, AllowRollup: s.Scheduled, // the broker takes schedules only with rollups
	}
}

// bucketPrefix makes a bucket's name its stream's (NATS ADR-8).
const bucketPrefix = "KV_"

// config is the bucket's stream, as the broker takes it (NATS ADR-8). It has no
// size limit: it holds one small value for each key, and a bucket that takes no
// more would stop everything.
func (b BucketSpec) config(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: bucketPrefix + b.Name, Description: b.Purpose, Subjects: []string{"$KV." + b.Name + ".>"},
		Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		MaxMsgs: -1, MaxMsgsPerSubject: int64(b.History), MaxConsumers: -1, MaxBytes: -1, MaxMsgSize: maxMessage,
		Duplicates: time.Duration(dedupeWindow), Replicas: replicas, AllowDirect: true,
		AllowRollup: true, DenyDelete: true, // a purge of one key is a rollup
		AllowAtomicPublish: true,
	}
}

func unlimited(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

func (k Consumer) config() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: k.Durable, FilterSubjects: k.Filters, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: ackWait, MaxDeliver: -1, MaxAckPending: k.MaxPending, DeliverPolicy: jetstream.DeliverAllPolicy,
	}
}

// configs are the streams, those of the buckets included.
func (t Topology) configs() []jetstream.StreamConfig {
	replicas := max(t.Replicas, 1)
	var out []jetstream.StreamConfig
	for _, s := range t.Streams {
		out = append(out, s.config(replicas))
	}
	for _, b := range t.Buckets {
		out = append(out, b.config(replicas))
	}
	return out
}

// String is the topology as tables.
func (t Topology) String() string {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "STREAM\tSUBJECTS\tPER SUBJECT\tMAX AGE\tMAX BYTES\tPURPOSE\n")
	for _, s := range t.Streams {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", s.Name, strings.Join(s.Subjects, " "), limit(s.PerSubject),
			limit(s.MaxAge), s.MaxBytes, s.Purpose)
	}
	fmt.Fprintf(w, "\nBUCKET\tHISTORY\tPURPOSE\n")
	for _, b := range t.Buckets {
		fmt.Fprintf(w, "%s\t%d\t%s\n", b.Name, b.History, b.Purpose)
	}
	fmt.Fprintf(w, "\nCONSUMER\tSTREAM\tFILTERS\tMAX PENDING\n")
	for _, k := range t.Consumers {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", k.Durable, k.Stream, strings.Join(k.Filters, " "), k.MaxPending)
	}
	_ = w.Flush() // into memory
	return text.String()
}

// limit shows a limit where 0 is none.
func limit[T int64 | Span](n T) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}
