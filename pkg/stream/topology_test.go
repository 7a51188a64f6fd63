package stream_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// What the broker holds after the design was applied, as far as it decides
// whether anything can be lost.
func TestAppliedDesignLosesNothing(t *testing.T) {
	w := designed(t, "acme", "globex")
	type promise struct {
		Retention, Discard, Storage string
		DenyDelete, DenyPurge       bool
		PerSubject                  int64
		MaxAge                      string
	}
	got := map[string]promise{}
	for info := range w.js.ListStreams(t.Context()).Info() {
		c := info.Config
		got[c.Name] = promise{
			c.Retention.String(), c.Discard.String(), c.Storage.String(), c.DenyDelete, c.DenyPurge, c.MaxMsgsPerSubject, c.MaxAge.String(),
		}
	}
	ledger := func(perSubject int64, age string) promise {
		return promise{"Limits", "DiscardNew", "File", true, true, perSubject, age}
	}
	bucket := func(history int64) promise {
		return promise{"Limits", "DiscardNew", "File", true, false, history, "0s"}
	}
	want := map[string]promise{
		"INTAKE": ledger(-1, "168h0m0s"), "LIFECYCLE": ledger(-1, "2160h0m0s"), "COMMANDS": ledger(1, "0s"),
		"OUTCOMES": ledger(-1, "9600h0m0s"), "DEADLETTER": ledger(-1, "0s"),
		"SCHEDULES":     {"Limits", "DiscardOld", "File", false, false, 1, "0s"},
		"ADVISORIES":    {"Limits", "DiscardOld", "File", false, false, -1, "168h0m0s"},
		"KV_IDENTITIES": bucket(1), "KV_ACCOUNTS": bucket(1), "KV_TARGETS": bucket(5), "KV_GUARDS": bucket(1), "KV_BOOKS": bucket(1),
		"KV_CASES": bucket(5), "KV_RUNS": bucket(1), "KV_FEEDS": bucket(1), "KV_GROUPS": bucket(1), "KV_MEMBERS": bucket(1),
		"KV_DIRECTORY": bucket(1), "KV_NAMES": bucket(1), "KV_LINKS": bucket(1),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryLaneOfEveryTargetHasItsQueue(t *testing.T) {
	w := designed(t, "acme", "globex")
	must(t, w.conn.ApplyLanes(t.Context(), "initech"))
	got := map[string]string{}
	applied, err := w.conn.Inspect(t.Context())
	must(t, err)
	for _, k := range applied.Consumers {
		got[k.Durable] = k.Stream + " " + strings.Join(k.Filters, " ")
	}
	want := map[string]string{
		"ingest": "INTAKE joinery.intake.>",
		"mapper": "LIFECYCLE joinery.lifecycle.>", "mapper-wakes": "SCHEDULES joinery.wake.*.*", "desk": "DEADLETTER joinery.deadletter.>", "desk-outcomes": "OUTCOMES joinery.outcome.>",
	}
	for _, target := range []string{"acme", "globex", "initech"} {
		for _, lane := range []string{"urgent", "normal", "bulk"} {
			want["dispatcher-"+target+"-"+lane] = "COMMANDS joinery.command." + target + "." + lane + ".*"
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	info, err := w.js.Consumer(t.Context(), stream.Commands, stream.LaneDurable("acme", "bulk"))
	must(t, err)
	c := info.CachedInfo().Config
	if c.AckPolicy != jetstream.AckExplicitPolicy || c.MaxDeliver != -1 || len(c.BackOff) != 0 {
		t.Errorf("consumer %+v", c)
	}
}

func TestApplyingAgainChangesNothing(t *testing.T) {
	w := designed(t, "acme")
	design := stream.Design([]string{"acme"}, 1)
	before := w.created(t)
	must(t, w.conn.Apply(t.Context(), design))
	if diff := cmp.Diff(before, w.created(t)); diff != "" {
		t.Errorf("made anew: %s", diff)
	}
	differences, err := w.conn.Compare(t.Context(), design)
	must(t, err)
	if len(differences) != 0 {
		t.Errorf("differences from what was just applied: %v", differences)
	}
}

// created is when each stream and consumer was made.
func (w *world) created(t *testing.T) map[string]time.Time {
	t.Helper()
	out := map[string]time.Time{}
	for info := range w.js.ListStreams(t.Context()).Info() {
		out[info.Config.Name] = info.Created
		s, err := w.js.Stream(t.Context(), info.Config.Name)
		must(t, err)
		for k := range s.ListConsumers(t.Context()).Info() {
			out[info.Config.Name+"/"+k.Name] = k.Created
		}
	}
	return out
}

func TestServicesThatStartTogetherAgreeOnTheTopology(t *testing.T) {
	w := open(t)
	var wg sync.WaitGroup
	for range 5 {
		conn := connect(t, w.broker)
		t.Cleanup(conn.close)
		wg.Go(func() {
			if err := conn.conn.Apply(t.Context(), stream.Design([]string{"acme"}, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// change edits a stream of the design by hand, as an operator would.
func (w *world) change(t *testing.T, name string, edit func(*jetstream.StreamConfig)) {
	t.Helper()
	s, err := w.js.Stream(t.Context(), name)
	must(t, err)
	cfg := s.CachedInfo().Config
	edit(&cfg)
	_, err = w.js.UpdateStream(t.Context(), cfg)
	must(t, err)
}

func TestSettingsAreBroughtInLineAndWiderLimitsAreKept(t *testing.T) {
	w := designed(t, "acme")
	w.change(t, stream.Lifecycle, func(c *jetstream.StreamConfig) {
		c.MaxAge, c.MaxBytes, c.Description = 365*24*time.Hour, -1, "ours now"
		c.Metadata = map[string]string{"team": "identity"}
	})
	w.change(t, stream.Outcomes, func(c *jetstream.StreamConfig) {
		c.MaxAge, c.MaxBytes, c.Discard, c.AllowAtomicPublish = time.Hour, 1<<20, jetstream.DiscardOld, false
	})
	_, err := w.js.UpdateConsumer(t.Context(), stream.Lifecycle, jetstream.ConsumerConfig{
		Durable: "mapper", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 5, AckWait: time.Second, FilterSubject: "joinery.lifecycle.hr.>",
	})
	must(t, err)
	design := stream.Design([]string{"acme"}, 1)
	must(t, w.conn.Apply(t.Context(), design))
	differences, err := w.conn.Compare(t.Context(), design)
	must(t, err)
	want := []stream.Difference{
		{Name: "LIFECYCLE", Setting: "max age", Designed: "2160h0m0s", Actual: "8760h0m0s", Kept: true},
		{Name: "LIFECYCLE", Setting: "max bytes", Designed: "8589934592", Actual: "unlimited", Kept: true},
	}
	if diff := cmp.Diff(want, differences); diff != "" {
		t.Error(diff)
	}
	s, err := w.js.Stream(t.Context(), stream.Lifecycle)
	must(t, err)
	if s.CachedInfo().Config.Metadata["team"] != "identity" {
		t.Error("what the design does not decide was changed")
	}
}

func TestWhatWouldLoseSomethingIsRefusedWithWhatToDo(t *testing.T) {
	type config = jetstream.StreamConfig
	lifecycle := config{Name: stream.Lifecycle, Subjects: []string{"joinery.lifecycle.*.*.*"}}
	commands := config{Name: stream.Commands, Subjects: []string{"joinery.command.*.*.*"}}
	bucket := config{Name: "KV_ACCOUNTS", Subjects: []string{"$KV.ACCOUNTS.>"}, AllowDirect: true, MaxMsgsPerSubject: 1}
	with := func(c config, edit func(*config)) config {
		edit(&c)
		return c
	}
	for _, row := range []struct {
		name  string
		there config
		says  string
	}{
		{"kept in memory", with(lifecycle, func(c *config) { c.Storage = jetstream.MemoryStorage }), "storage is Memory, designed is File"},
		{"a work queue", with(lifecycle, func(c *config) { c.Retention = jetstream.WorkQueuePolicy }), "retention is WorkQueue, designed is Limits"},
		{"acknowledged before it is on disk", with(lifecycle, func(c *config) { c.PersistMode = jetstream.AsyncPersistMode }), "persist mode"},
		{"many commands a subject", commands, "messages a subject is unlimited, designed is 1"},
		{"a bucket that nobody may purge", with(bucket, func(c *config) { c.DenyPurge = true }), "purges denied is true, designed is false"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := open(t)
			_, err := w.js.CreateStream(t.Context(), row.there)
			must(t, err)
			err = w.conn.Apply(t.Context(), stream.Design(nil, 1))
			if !errors.Is(err, stream.ErrIncompatible) || !strings.Contains(err.Error(), row.says) || !strings.Contains(err.Error(), "nats stream backup") {
				t.Errorf("says %v", err)
			}
			found, err := w.conn.Compare(t.Context(), stream.Design(nil, 1))
			must(t, err)
			if said := fmt.Sprint(found); !strings.Contains(said, row.says) {
				t.Errorf("compare says %s", said)
			}
		})
	}
}

func TestCopiesAreNotGivenUpByADefault(t *testing.T) {
	design := stream.Design(nil, 3)
	if _, _, err := stream.Merge(design, stream.Design(nil, 1), stream.Lifecycle); !errors.Is(err, stream.ErrIncompatible) ||
		!strings.Contains(err.Error(), "broker.replicas: 3") {
		t.Errorf("three copies to one: %v", err)
	}
	merged, changes, err := stream.Merge(stream.Design(nil, 1), design, stream.Lifecycle)
	if err != nil || !changes || merged.Replicas != 3 {
		t.Errorf("one copy to three: %d, %v", merged.Replicas, err)
	}
}

func TestMoreCopiesThanServersIsAClearError(t *testing.T) {
	err := open(t).conn.Apply(t.Context(), stream.Design(nil, 3))
	if err == nil || !strings.Contains(err.Error(), "INTAKE") || !strings.Contains(err.Error(), "replicas") {
		t.Errorf("says %v", err)
	}
}

func TestBrokerWithLittleRoomGetsSmallerStreams(t *testing.T) {
	conn := startServer(t, &server.Options{JetStreamMaxStore: 700 << 20, SyncAlways: true}).dial(t)
	for range 2 { // the second time they are there
		must(t, conn.Apply(t.Context(), stream.Design(nil, 1)))
		applied, err := conn.Inspect(t.Context())
		must(t, err)
		got := map[string]int64{}
		for _, s := range applied.Streams {
			if s.MaxBytes > 0 {
				got[s.Name] = s.MaxBytes >> 20
			}
		}
		want := map[string]int64{"INTAKE": 64, "LIFECYCLE": 128, "COMMANDS": 128, "OUTCOMES": 256, "DEADLETTER": 64, "ADVISORIES": 16}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	tiny := startServer(t, &server.Options{JetStreamMaxStore: 1 << 20, SyncAlways: true}).dial(t)
	if err := tiny.Apply(t.Context(), stream.Design(nil, 1)); err == nil || !strings.Contains(err.Error(), "INTAKE") {
		t.Errorf("a broker without room: %v", err)
	}
}

func TestCompareFindsWhatIsMissingAndWhatIsLeftOver(t *testing.T) {
	w := designed(t, "acme", "gone")
	must(t, w.js.DeleteConsumer(t.Context(), stream.DeadLetters, "desk"))
	must(t, w.js.DeleteStream(t.Context(), stream.Outcomes))
	must(t, w.js.DeleteKeyValue(t.Context(), stream.Runs))
	found, err := w.conn.Compare(t.Context(), stream.Design([]string{"acme"}, 1))
	must(t, err)
	var got []string
	for _, d := range found {
		got = append(got, d.String())
	}
	want := []string{
		"OUTCOMES: stream is missing, designed is exists",
		"KV_RUNS: stream is missing, designed is exists",
		"dispatcher-gone-bulk: consumer is exists, designed is missing (kept)",
		"dispatcher-gone-normal: consumer is exists, designed is missing (kept)",
		"dispatcher-gone-urgent: consumer is exists, designed is missing (kept)",
		"desk: consumer is missing, designed is exists",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNobodyDeletesWhatTheProductKeeps(t *testing.T) {
	w := designed(t)
	w.say(t, "joinery.lifecycle.hr.p.e", "m")
	s, err := w.js.Stream(t.Context(), stream.Lifecycle)
	must(t, err)
	if err := s.Purge(t.Context()); err == nil {
		t.Error("purged")
	}
	if err := s.DeleteMsg(t.Context(), 1); err == nil {
		t.Error("deleted")
	}
}

// A wish that changes must get through even where there is no room for more.
func TestFullStreamOfCommandsStillTakesANewerWish(t *testing.T) {
	w := designed(t, "acme")
	w.say(t, "joinery.command.acme.normal.x", "first-wish")
	w.change(t, stream.Commands, func(c *jetstream.StreamConfig) { c.MaxBytes = 200 })
	w.say(t, "joinery.command.acme.normal.x", "newer-wish")
	var err error
	for i := range 5 {
		err = errors.Join(err, w.conn.Publisher().Publish(fmt.Sprint("joinery.command.acme.normal.", i), items("", 5)[i].Message))
	}
	if !errors.Is(err, stream.ErrUnavailable) {
		t.Errorf("more than fits: %v", err)
	}
	w.say(t, "joinery.command.acme.normal.x", "newest-one")
	got, err := w.conn.Last(t.Context(), stream.Commands, "joinery.command.acme.normal.x")
	must(t, err)
	if got.Message.UUID != "newest-one" {
		t.Errorf("holds %s", got.Message.UUID)
	}
}

func TestWhatTheBrokerReportsIsKept(t *testing.T) {
	w := designed(t)
	reports, err := w.js.OrderedConsumer(t.Context(), stream.Advisories, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"$JS.EVENT.ADVISORY.CONSUMER.DELETED.DEADLETTER.desk"},
	})
	must(t, err)
	must(t, w.js.DeleteConsumer(t.Context(), stream.DeadLetters, "desk"))
	if _, err := reports.Next(jetstream.FetchMaxWait(10 * time.Second)); err != nil {
		t.Error(err)
	}
}

func TestBacklogCountsWhatIsNotSettled(t *testing.T) {
	w := designed(t)
	for i := range 3 {
		w.say(t, "joinery.deadletter.acme.x", fmt.Sprint(i))
	}
	waiting, inFlight, err := w.conn.Backlog(t.Context(), stream.DeadLetters, "desk")
	if err != nil || waiting != 3 || inFlight != 0 {
		t.Errorf("%d waiting, %d in flight, %v", waiting, inFlight, err)
	}
	k, err := w.js.Consumer(t.Context(), stream.DeadLetters, "desk")
	must(t, err)
	_, err = k.Next()
	must(t, err)
	waiting, inFlight, err = w.conn.Backlog(t.Context(), stream.DeadLetters, "desk")
	if err != nil || waiting != 2 || inFlight != 1 {
		t.Errorf("%d waiting, %d in flight, %v", waiting, inFlight, err)
	}
	waiting, inFlight, err = w.conn.Backlog(t.Context(), stream.DeadLetters, "nobody")
	if err != nil || waiting+inFlight != 0 {
		t.Errorf("no consumer: %d, %d, %v", waiting, inFlight, err)
	}
}

func TestTopologyIsReadableByPeopleAndPrograms(t *testing.T) {
	design := stream.Design([]string{"acme"}, 1)
	data, err := json.Marshal(design)
	must(t, err)
	var back stream.Topology
	must(t, json.Unmarshal(data, &back))
	if diff := cmp.Diff(design, back); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(string(data), `"max_age":"2160h0m0s"`) {
		t.Errorf("JSON is %s", data)
	}
	for _, line := range []string{
		"STREAM      SUBJECTS                                                 PER SUBJECT  MAX AGE    MAX BYTES    PURPOSE",
		"COMMANDS    joinery.command.*.*.*                                    1            -          8589934592   the newest wish for each (target, lane, identity)",
		"TARGETS     5        paused, quarantined, learned quirks",
		"dispatcher-acme-urgent  COMMANDS    joinery.command.acme.urgent.*  5000",
	} {
		if !strings.Contains(design.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, design)
		}
	}
}

func TestTokenOutsideTheSubjectIsEmpty(t *testing.T) {
	for i, want := range map[int]string{-1: "", 0: "a", 2: "c", 3: ""} {
		if got := stream.Token("a.b.c", i); got != want {
			t.Errorf("token %d is %q", i, got)
		}
	}
}
