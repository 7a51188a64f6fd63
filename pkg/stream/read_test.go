package stream_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats.go"
)

func TestLastIsTheNewestOnASubject(t *testing.T) {
	w := designed(t)
	w.say(t, "joinery.deadletter.acme.a", "1")
	w.say(t, "joinery.deadletter.acme.b", "2")
	w.say(t, "joinery.deadletter.acme.a", "3")
	for subject, want := range map[string]string{
		"joinery.deadletter.acme.a": "3", "joinery.deadletter.acme.b": "2",
		"joinery.deadletter.acme.*": "3", "joinery.deadletter.*.b": "2", ">": "3",
	} {
		got, err := w.conn.Last(t.Context(), stream.DeadLetters, subject)
		must(t, err)
		if got.Message.UUID != want || string(got.Message.Payload) != want {
			t.Errorf("%s: %s %s", subject, got.Message.UUID, got.Message.Payload)
		}
		if got.Stream != stream.DeadLetters || got.Time.IsZero() || fmt.Sprint(got.Sequence) != want || strings.ContainsAny(got.Subject, "*>") {
			t.Errorf("%s: read from %+v", subject, got)
		}
	}
}

func TestNothingStoredIsNotFoundAndNoStreamIsAnError(t *testing.T) {
	w := designed(t)
	if _, err := w.conn.Last(t.Context(), stream.DeadLetters, "joinery.deadletter.acme.a"); !errors.Is(err, stream.ErrNotFound) {
		t.Errorf("empty stream: %v", err)
	}
	if _, err := w.conn.Last(t.Context(), "NONE", "a"); err == nil || errors.Is(err, stream.ErrNotFound) {
		t.Errorf("no stream: %v", err)
	}
	for _, err := range w.conn.Scan(t.Context(), "NONE", "a") {
		if err == nil || errors.Is(err, stream.ErrNotFound) {
			t.Errorf("no stream: %v", err)
		}
	}
	for _, err := range w.conn.Scan(t.Context(), stream.DeadLetters, ">") {
		t.Errorf("something in an empty stream: %v", err)
	}
	w.conn.Close()
	if _, err := w.conn.Last(t.Context(), stream.DeadLetters, ">"); !errors.Is(err, stream.ErrUnavailable) {
		t.Errorf("no connection: %v", err)
	}
}

// More than one request brings, with others in between, and one that is added
// while the scan runs.
func TestScanGivesEverythingThatWasThereInOrder(t *testing.T) {
	for _, row := range []struct {
		subject string
		want    []stream.Item
	}{
		{"joinery.lifecycle.hr.p.*", items("joinery.lifecycle.hr.p.", 700)},
		{"joinery.lifecycle.hr.>", slices.Concat(items("joinery.lifecycle.hr.p.", 700), items("joinery.lifecycle.hr.q.", 20))},
		{"joinery.lifecycle.*.*.e0003", slices.Concat(items("joinery.lifecycle.hr.p.", 4)[3:],
			items("joinery.lifecycle.other.p.", 4)[3:], items("joinery.lifecycle.hr.q.", 4)[3:])},
		{"joinery.lifecycle.none.>", nil},
	} {
		t.Run(row.subject, func(t *testing.T) {
			w := designed(t)
			must(t, w.conn.Publisher().PublishBatch(t.Context(), items("joinery.lifecycle.hr.p.", 700)))
			must(t, w.conn.Publisher().PublishBatch(t.Context(), items("joinery.lifecycle.other.p.", 10)))
			must(t, w.conn.Publisher().PublishBatch(t.Context(), items("joinery.lifecycle.hr.q.", 20)))
			var want, got []string
			for _, item := range row.want {
				want = append(want, item.Topic)
			}
			added := false
			for stored, err := range w.conn.Scan(t.Context(), stream.Lifecycle, row.subject) {
				must(t, err)
				got = append(got, stored.Subject)
				if !added {
					added = true
					w.say(t, "joinery.lifecycle.hr.p.late", "late")
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestScanEndsWhenItsReaderHasEnough(t *testing.T) {
	w := designed(t)
	must(t, w.conn.Publisher().PublishBatch(t.Context(), items("joinery.lifecycle.hr.p.", 10)))
	seen := 0
	for _, err := range w.conn.Scan(t.Context(), stream.Lifecycle, ">") {
		must(t, err)
		if seen++; seen == 3 {
			break
		}
	}
	if seen != 3 {
		t.Errorf("%d seen", seen)
	}
}

func TestBrokenOffScanIsAnError(t *testing.T) {
	w := designed(t)
	must(t, w.conn.Publisher().PublishBatch(t.Context(), items("joinery.lifecycle.hr.p.", 600)))
	var last error
	seen := 0
	for _, err := range w.conn.Scan(t.Context(), stream.Lifecycle, ">") {
		if last = err; err == nil {
			seen++
		}
		w.conn.Close()
	}
	if !errors.Is(last, stream.ErrUnavailable) || seen == 600 {
		t.Errorf("%d of 600 without an error: %v", seen, last)
	}
}

// Others publish what they like; it must still be readable by somebody.
func TestForeignMessageIsReadAsWellAsPossible(t *testing.T) {
	w := designed(t)
	for _, row := range []struct {
		name     string
		header   nats.Header
		id       string
		metadata map[string]string
	}{
		{"bare", nil, "DEADLETTER-1", map[string]string{}},
		{"its own id", nats.Header{"Nats-Msg-Id": {"own"}}, "own", map[string]string{}},
		{"two values", nats.Header{"Reason": {"a", "b"}, "_watermill_message_uuid": {"u"}}, "u", map[string]string{"Reason": "a"}},
		{"status", nats.Header{"Status": {"503"}}, "DEADLETTER-4", map[string]string{"Status": "503"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := w.js.PublishMsg(t.Context(), &nats.Msg{Subject: "joinery.deadletter.acme.x", Header: row.header, Data: []byte("d")})
			must(t, err)
			got, err := w.conn.Last(t.Context(), stream.DeadLetters, ">")
			must(t, err)
			if diff := cmp.Diff(row.metadata, map[string]string(got.Message.Metadata)); diff != "" || got.Message.UUID != row.id {
				t.Errorf("id %s; metadata: %s", got.Message.UUID, diff)
			}
			if string(got.Message.Payload) != "d" {
				t.Errorf("payload %q", got.Message.Payload)
			}
		})
	}
}
