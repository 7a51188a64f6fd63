package ingest_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/services/ingest"
)

// answer is a batch's answer as a sender reads it.
type answer struct {
	Results    []ingest.Result
	Accepted   int
	Duplicates int
}

func list(events ...string) string { return "[" + strings.Join(events, ",") + "]" }

func person(id string) string { return told(id, "joined", "person of "+id, "") }

// statuses are what became of the events, in order.
func statuses(a answer) (out []ingest.Status) {
	for _, r := range a.Results {
		out = append(out, r.Status)
	}
	return out
}

func TestBatchIsStoredAtOnceWithAResultForEachEvent(t *testing.T) {
	d := open(t)
	w := d.post(batch, list(person("a"), person("b"), person("c")))
	a := decode[answer](t, w)
	if w.Code != http.StatusAccepted || a.Accepted != 3 || a.Duplicates != 0 {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	equal(t, []string{"a", "b", "c"}, d.journal.ids())
	equal(t, []int{3}, d.journal.batches)
	for i, id := range []string{"a", "b", "c"} {
		equal(t, event.IDOf("hr", id), a.Results[i].ID)
	}
	if a.Results[0].Trace == a.Results[1].Trace || len(a.Results[0].Trace) != 32 {
		t.Errorf("events of a batch share a trace: %+v", a.Results)
	}
}

func TestBatchStoresOnlyWhatIsNew(t *testing.T) {
	d := open(t)
	d.post(batch, list(person("a"), person("b")))
	a := decode[answer](t, d.post(batch, list(person("b"), person("c"), person("a"), person("d"), person("c"))))
	equal(t, []ingest.Status{"duplicate", "accepted", "duplicate", "accepted", "duplicate"}, statuses(a))
	equal(t, 2, a.Accepted)
	equal(t, 3, a.Duplicates)
	equal(t, a.Results[1].Trace, a.Results[4].Trace)
	equal(t, []string{"a", "b", "c", "d"}, d.journal.ids())
}

func TestRepeatedBatchIsAllDuplicates(t *testing.T) {
	d := open(t)
	body := list(person("a"), person("b"), person("c"))
	first := decode[answer](t, d.post(batch, body))
	w := d.post(batch, body)
	again := decode[answer](t, w)
	if w.Code != http.StatusAccepted {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	equal(t, []ingest.Status{"duplicate", "duplicate", "duplicate"}, statuses(again))
	for i := range first.Results {
		equal(t, first.Results[i].Trace, again.Results[i].Trace)
	}
	equal(t, []string{"a", "b", "c"}, d.journal.ids())
}

func TestEmptyBatchIsAccepted(t *testing.T) {
	d := open(t)
	w := d.post(batch, `[]`)
	if w.Code != http.StatusAccepted || strings.TrimSpace(w.Body.String()) != `{"results":[],"accepted":0,"duplicates":0}` {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
}

func TestOneBadEventRefusesTheBatch(t *testing.T) {
	for _, row := range []struct {
		name   string
		body   string
		status int
		field  string
	}{
		{"unreadable", list(person("a"), `{"id":}`), 400, "events[1].id"},
		{"incomplete", list(person("a"), person("b"), `{"specversion":"1.0","id":"c","source":"/hr"}`), 400, "events[2].type"},
		{"meaningless", list(person("a"), told("b", "promoted", "1", "")), 400, "events[1].type"},
		{"about nobody", list(`{"specversion":"1.0","id":"c","source":"/hr","type":"left","data":{}}`), 400, "events[0].data.employee_id"},
		{"too large to store", list(person("a"), large()), 413, "events[1].data"},
		{"another event of the same id", list(person("a"), told("a", "left", "1", "")), 409, "events[1].id"},
		{"not a list", person("a"), 400, ""},
		{"more than a thousand", list(strings.Split(strings.Repeat(person("a")+"|", 1000)+person("b"), "|")...), 400, "events[1000]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := open(t)
			d.refused(t, d.post(batch, row.body), row.status, row.field)
		})
	}
}

func TestBatchListsAllItsBadEvents(t *testing.T) {
	d := open(t)
	w := d.post(batch, list(told("a", "promoted", "1", ""), person("b"), told("c", "demoted", "1", "")))
	p := d.refused(t, w, http.StatusBadRequest, "events[0].type")
	if len(p.Errors) != 2 || p.Errors[1].Field != "events[2].type" || p.Errors[1].Detail == "" {
		t.Errorf("got %+v", p.Errors)
	}
}

func TestIDReusedFromAnEarlierRequestRefusesTheBatch(t *testing.T) {
	d := open(t)
	d.post(structured, told("b", "left", "person of b", ""))
	w := d.post(batch, list(person("a"), person("b")))
	if p := decode[problem](t, w); w.Code != http.StatusConflict || p.Field != "events[1].id" {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
	equal(t, []string{"b"}, d.journal.ids())
}

func TestBatchAgainstABrokenBrokerIsAskedAgain(t *testing.T) {
	d := open(t)
	d.journal.fail = func(string) error { return errors.New("no responders") }
	w := d.post(batch, list(person("a"), person("b")))
	d.refused(t, w, http.StatusServiceUnavailable, "")
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestBatchWhoseAcknowledgementWasLostIsRecognised(t *testing.T) {
	d := open(t)
	d.journal.lose = func() error { return errors.New("timeout") }
	body := list(person("a"), person("b"))
	if w := d.post(batch, body); w.Code != http.StatusServiceUnavailable {
		t.Fatalf("got %d", w.Code)
	}
	d.journal.lose = nil
	a := decode[answer](t, d.post(batch, body))
	equal(t, []ingest.Status{"duplicate", "duplicate"}, statuses(a))
	equal(t, []string{"a", "b"}, d.journal.ids())
}

// TestRaceForTheSameEventsIsRunAgainABoundedNumberOfTimes: other requests store
// parts of the batch whenever it is tried.
func TestRaceForTheSameEventsIsRunAgainABoundedNumberOfTimes(t *testing.T) {
	d := open(t)
	tries := 0
	d.journal.fail = func(call string) error {
		if call == "AddAll" {
			tries++
			return ingest.ErrStored
		}
		return nil
	}
	w := d.post(batch, list(person("a"), person("b")))
	d.refused(t, w, http.StatusServiceUnavailable, "")
	if tries > 10 {
		t.Errorf("%d tries", tries)
	}
}

func TestLargestBatchFits(t *testing.T) {
	d := open(t)
	var all []string
	for i := range event.MaxBatch {
		all = append(all, person(fmt.Sprint("e-", i)))
	}
	w := d.post(batch, list(all...))
	if a := decode[answer](t, w); w.Code != http.StatusAccepted || a.Accepted != event.MaxBatch {
		t.Errorf("got %d", w.Code)
	}
}
