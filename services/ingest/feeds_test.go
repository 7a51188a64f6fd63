package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/ingest"
	"github.com/joinery/joinery/services/ingest/feed"
)

// shelf is a bucket in memory.
type shelf[T any] struct {
	mu     sync.Mutex
	values map[string]T
	revs   map[string]uint64
	last   uint64
	// fail, where set, is asked before each Put.
	fail func(key string) error
}

func newShelf[T any]() *shelf[T] { return &shelf[T]{values: map[string]T{}, revs: map[string]uint64{}} }

func (s *shelf[T]) Get(_ context.Context, key string) (T, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[key]
	if !ok {
		return v, 0, stream.ErrNotFound
	}
	return v, s.revs[key], nil
}

func (s *shelf[T]) Put(_ context.Context, key string, value T, rev uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(key); err != nil {
			return 0, err
		}
	}
	if s.revs[key] != rev {
		return 0, stream.ErrConflict
	}
	s.last++
	s.values[key], s.revs[key] = value, s.last
	return s.last, nil
}

func (s *shelf[T]) Delete(_ context.Context, key string, rev uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revs[key] != rev {
		return stream.ErrConflict
	}
	delete(s.values, key)
	delete(s.revs, key)
	return nil
}

func (s *shelf[T]) Keys(_ context.Context, prefix string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := slices.Sorted(maps.Keys(s.values))
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix+".") }), nil
}

// letters are the cases that were opened.
type letters struct{ all []*joineryv1.DeadLetter }

func (l *letters) DeadLetter(_ context.Context, d *joineryv1.DeadLetter) error {
	l.all = append(l.all, d)
	return nil
}

// feeder is a door for snapshots under test.
type feeder struct {
	*ingest.Service
	journal   *memory
	manifests *shelf[ingest.Manifest]
	chunks    *shelf[ingest.Chunk]
	leases    *shelf[ingest.Lease]
	cases     *letters
	log       *lines
}

// strict are the settings of a source whose absences mean leavers.
func strict() feed.Settings {
	return feed.Settings{Leavers: true, Confirm: 2, ConfirmAfter: time.Hour, MinPercent: 50, MaxLeavers: 100, MaxLeaversPercent: 100}
}

func feeding(t testing.TB, dir string, settings feed.Settings) *feeder {
	t.Helper()
	f := &feeder{
		journal: &memory{}, manifests: newShelf[ingest.Manifest](), chunks: newShelf[ingest.Chunk](), leases: newShelf[ingest.Lease](),
		cases: &letters{}, log: &lines{},
	}
	tel, err := telemetry.New(context.Background(), telemetry.Options{Service: "ingest", Log: f.log})
	if err != nil {
		t.Fatal(err)
	}
	src := source("hr", ingest.Bearer{Tokens: []string{secret}}, ingest.HMAC{Header: "X-Signature", Secrets: [][]byte{[]byte(secret)}})
	src.Feed = settings
	f.Service, err = ingest.New([]ingest.Source{src}, ingest.Deps{
		Journal: f.journal, Telemetry: tel, Cases: f.cases, Spool: dir,
		Feeds: &ingest.FeedStore{Manifests: f.manifests, Chunks: f.chunks, Leases: f.leases},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// put sends a snapshot; query is what follows the question mark.
func (f *feeder) put(contentType, body, query string, headers ...string) *httptest.ResponseRecorder {
	return f.send(httptest.NewRequest(http.MethodPut, "/v1/feeds/hr?"+query, strings.NewReader(body)), contentType, headers...)
}

func (f *feeder) send(r *http.Request, contentType string, headers ...string) *httptest.ResponseRecorder {
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Bearer "+secret)
	for pair := range slices.Chunk(headers, 2) {
		if r.Header.Set(pair[0], pair[1]); pair[1] == "" {
			r.Header.Del(pair[0])
		}
	}
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, r)
	return w
}

func (f *feeder) csv(body string) *httptest.ResponseRecorder { return f.put("text/csv", body, "") }

// said lists what became events, as "kind key attributes", sorted; and forgets it.
func (f *feeder) said() []string {
	f.journal.mu.Lock()
	defer f.journal.mu.Unlock()
	out := []string{}
	for _, stored := range f.journal.events {
		e := stored.Event
		var attributes []string
		for name, v := range e.GetAttributes().AsMap() {
			attributes = append(attributes, fmt.Sprintf("%s=%v", name, v))
		}
		slices.Sort(attributes)
		kind := strings.ToLower(strings.TrimPrefix(e.GetKind().String(), "LIFECYCLE_KIND_"))
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", kind, e.GetIdentityKey(), strings.Join(attributes[min(1, len(attributes)):], " "))))
	}
	f.journal.events, f.journal.order = nil, nil
	slices.Sort(out)
	return out
}

func counts(t *testing.T, w *httptest.ResponseRecorder) feed.Counts {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	return decode[ingest.FeedAnswer](t, w).Counts
}

const three = "employee_id,name\n1,Ann\n2,Bob\n3,Cyd\n"

func TestTheFirstSnapshotListsEverybodyAndTheNextSaysTheDifference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feeding(t, t.TempDir(), strict())
		equal(t, feed.Counts{Rows: 3, Joined: 3}, counts(t, f.csv(three)))
		equal(t, []string{"snapshot 1 name=Ann", "snapshot 2 name=Bob", "snapshot 3 name=Cyd"}, f.said())

		equal(t, feed.Counts{Rows: 3, Unchanged: 3, Last: 3}, counts(t, f.csv(three)))
		equal(t, []string{}, f.said())

		next := "name,employee_id\r\nDot,4\r\nAnna,1\r\nBob,2\r\n"
		equal(t, feed.Counts{Rows: 3, Joined: 1, Changed: 1, Unchanged: 1, Absent: 1, Gone: 1, Last: 3}, counts(t, f.csv(next)))
		equal(t, []string{"changed 1 name=Anna", "joined 4 name=Dot"}, f.said())

		equal(t, feed.Counts{Rows: 3, Unchanged: 3, Absent: 1, Last: 3}, counts(t, f.csv(next)))
		equal(t, []string{}, f.said()) // too soon to say that somebody left

		time.Sleep(time.Hour)
		equal(t, feed.Counts{Rows: 3, Unchanged: 3, Left: 1, Last: 3}, counts(t, f.csv(next)))
		equal(t, []string{"left 3"}, f.said())

		equal(t, feed.Counts{Rows: 4, Joined: 1, Unchanged: 3, Last: 3}, counts(t, f.csv(next+"Cyd,3\r\n")))
		equal(t, []string{"joined 3 name=Cyd"}, f.said())
		if keys, _ := f.chunks.Keys(t.Context(), "chunk.hr"); len(keys) != 1 {
			t.Errorf("old chunks stay: %v", keys)
		}
	})
}

func TestAbsenceMeansNothingUnlessTheSourceSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := strict()
		settings.Leavers = false
		f := feeding(t, t.TempDir(), settings)
		f.csv(three)
		f.said()
		for range 5 {
			time.Sleep(24 * time.Hour)
			equal(t, 0, counts(t, f.csv("employee_id,name\n1,Ann\n2,Bob\n")).Left)
		}
		equal(t, []string{}, f.said())
		equal(t, feed.Counts{Rows: 3, Changed: 0, Unchanged: 3, Last: 2}, counts(t, f.csv(three)))
		equal(t, []string{}, f.said())
	})
}

func TestAllFormatsSayTheSame(t *testing.T) {
	f := feeding(t, t.TempDir(), strict())
	counts(t, f.csv("\ufeffemployee_id,name,note\n1,\"A\"\"n\nn\",\n2,Bob,x\n"))
	equal(t, []string{"snapshot 1 name=A\"n\nn", "snapshot 2 name=Bob note=x"}, f.said())
	for contentType, body := range map[string]string{
		"application/json":     ` [{"employee_id":"2","name":"Bob","note":"x"}, {"name":"A\"n\nn","employee_id":"1"}] `,
		"application/x-ndjson": "{\"employee_id\":\"1\",\"name\":\"A\\\"n\\nn\"}\n\n{\"employee_id\":\"2\",\"name\":\"Bob\",\"note\":\"x\"}",
	} {
		equal(t, feed.Counts{Rows: 2, Unchanged: 2, Last: 2}, counts(t, f.put(contentType, body, "")))
	}
	counts(t, f.put("application/json", `[{"employee_id":"1","name":"Ann"},{"employee_id":"2","name":"Bob","note":null}]`, ""))
	equal(t, []string{"changed 1 name=Ann", "changed 2 name=Bob"}, f.said())
}

func TestABadSnapshotIsRefusedWholeAndBecomesACase(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, body, reason string
		status                    int
		overrulable               bool
	}{
		"nothing":                  {"text/csv", "", "feed-empty", 422, false},
		"a header alone":           {"text/csv", "employee_id,name\n", "feed-empty", 422, false},
		"an empty array":           {"application/json", "[]", "feed-empty", 422, false},
		"no lines":                 {"application/x-ndjson", "\n\n", "feed-empty", 422, false},
		"no header":                {"text/csv", "1,Ann\n2,Bob\n3,Cyd\n", "feed-header", 422, false},
		"a header without the key": {"text/csv", "name\nAnn\n", "feed-header", 422, false},
		"a doubled column":         {"text/csv", "employee_id,name,Name\n1,Ann,Ann\n", "feed-header", 422, false},
		"doubled keys":             {"text/csv", three + "2,Bob\n", "feed-doubled", 422, false},
		"half of them":             {"text/csv", "employee_id,name\n1,Ann\n", "feed-short", 422, true},
		"other people":             {"text/csv", "employee_id,name\n7,Ann\n8,Bob\n9,Cyd\n", "feed-short", 422, true},
		"an open quote":            {"text/csv", three + "4,\"Dot\n", "feed-cut-short", 400, false},
		"half a row":               {"text/csv", "employee_id,name\n1,Ann\n2,Bob\n3", "feed-cut-short", 400, false},
		"an open array":            {"application/json", `[{"employee_id":"1"},{"employee_id":"2"}`, "feed-cut-short", 400, false},
		"an open object":           {"application/json", `[{"employee_id":"1"},{"employ`, "feed-cut-short", 400, false},
		"half a line":              {"application/x-ndjson", "{\"employee_id\":\"1\"}\n{\"empl", "feed-cut-short", 400, false},
		"no array":                 {"application/json", `{"employee_id":"1"}`, "feed-malformed", 422, false},
		"no JSON":                  {"application/json", `[{"employee_id":"1"},}]`, "feed-malformed", 422, false},
		"something after it":       {"application/json", `[{"employee_id":"1"}] {}`, "feed-malformed", 422, false},
		"a row without a key":      {"text/csv", three + ",Dot\n", "feed-unreadable", 422, false},
		"a row too short":          {"text/csv", "employee_id,name\n1,Ann\n2\n3,Cyd\n", "feed-unreadable", 422, false},
		"a row that is no UTF-8":   {"text/csv", three + "4,\xff\n", "feed-unreadable", 422, false},
		"a row that is a number":   {"application/json", `[{"employee_id":"1"},{"employee_id":"2"},3]`, "feed-unreadable", 422, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := feeding(t, t.TempDir(), strict())
			counts(t, f.csv(three))
			f.said()
			before := f.manifests.values["manifest.hr"]
			w := f.put(c.contentType, c.body, "")
			p := decode[struct {
				Type, Detail, Allow string
				Status              int
				Counts              feed.Counts
			}](t, w)
			if w.Code != c.status || p.Type != "urn:joinery:problem:"+c.reason || p.Detail == "" || (p.Allow != "") != c.overrulable {
				t.Errorf("got %d: %s", w.Code, w.Body)
			}
			equal(t, []string{}, f.said())
			equal(t, before, f.manifests.values["manifest.hr"])
			if len(f.cases.all) != 1 || f.cases.all[0].GetId() != "feed-hr" {
				t.Fatalf("cases %v", f.cases.all)
			}
			for _, text := range []string{f.cases.all[0].String(), w.Body.String(), f.log.String()} {
				if strings.Contains(text, "Ann") || strings.Contains(text, "Dot") {
					t.Errorf("a row shows in %s", text)
				}
			}
			equal(t, feed.Counts{Rows: 3, Unchanged: 3, Last: 3}, counts(t, f.csv(three)))
		})
	}
}

func TestABodyThatBreaksOffIsRefused(t *testing.T) {
	f := feeding(t, t.TempDir(), strict())
	r := httptest.NewRequest(http.MethodPut, "/v1/feeds/hr", io.MultiReader(strings.NewReader(three), brokenOff{}))
	w := f.send(r, "text/csv")
	if w.Code != http.StatusBadRequest || len(f.cases.all) != 1 || !strings.Contains(w.Body.String(), "feed-cut-short") {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
	equal(t, []string{}, f.said())
}

type brokenOff struct{}

func (brokenOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestAPersonLetsOneRefusedSnapshotThrough(t *testing.T) {
	f := feeding(t, t.TempDir(), strict())
	counts(t, f.csv(three))
	f.said()
	small := "employee_id,name\n1,Ann\n"
	allow := decode[struct{ Allow string }](t, f.csv(small)).Allow
	for body, query := range map[string]string{small: "allow=" + allow[1:], "employee_id,name\n2,Bob\n": "allow=" + allow} {
		if w := f.put("text/csv", body, query); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("got %d: %s", w.Code, w.Body)
		}
	}
	equal(t, feed.Counts{Rows: 1, Unchanged: 1, Absent: 2, Gone: 2, Last: 3}, counts(t, f.put("text/csv", small, "allow="+allow)))
	counts(t, f.csv(three))
	if w := f.put("text/csv", small, "allow="+allow); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a second time got %d: %s", w.Code, w.Body)
	}
}

func TestMoreLeaversThanAllowedAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := strict()
		settings.MaxLeavers = 1
		f := feeding(t, t.TempDir(), settings)
		f.csv("employee_id\n1\n2\n3\n4\n")
		f.csv("employee_id\n1\n2\n")
		f.said()
		time.Sleep(2 * time.Hour)
		w := f.csv("employee_id\n1\n2\n")
		p := decode[struct {
			Type   string
			Limit  int
			Allow  string
			Counts feed.Counts
		}](t, w)
		equal(t, feed.Counts{Rows: 2, Unchanged: 2, Left: 2, Last: 2}, p.Counts)
		if p.Type != "urn:joinery:problem:feed-leavers" || p.Limit != 1 {
			t.Errorf("got %s", w.Body)
		}
		equal(t, []string{}, f.said())
		counts(t, f.put("text/csv", "employee_id\n1\n2\n", "allow="+p.Allow))
		equal(t, []string{"left 3", "left 4"}, f.said())
	})
}

func TestADryRunDoesNothing(t *testing.T) {
	f := feeding(t, t.TempDir(), strict())
	equal(t, feed.Counts{Rows: 3, Joined: 3}, counts(t, f.put("text/csv", three, "dry_run=true")))
	equal(t, []string{}, f.said())
	equal(t, 0, len(f.manifests.values)+len(f.chunks.values)+len(f.leases.values))
	f.csv(three)
	f.said()
	answer := decode[ingest.FeedAnswer](t, f.put("text/csv", "employee_id,name\n1,Ann\n", "dry_run=true"))
	if answer.Refused != "feed-short" || answer.Allow == "" || len(f.cases.all) != 0 {
		t.Errorf("got %+v, %d cases", answer, len(f.cases.all))
	}
}

func TestASecondSnapshotWaitsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feeding(t, t.TempDir(), strict())
		f.leases.values["lease.hr"], f.leases.revs["lease.hr"] = ingest.Lease{Holder: "another", Until: time.Now().Add(30 * time.Second)}, 1
		w := f.csv(three)
		if w.Code != http.StatusConflict || w.Header().Get("Retry-After") != "30" {
			t.Errorf("got %d: %s", w.Code, w.Body)
		}
		time.Sleep(31 * time.Second) // the other one was killed
		counts(t, f.csv(three))
		equal(t, 0, len(f.leases.values))
	})
}

func TestALostLeaseEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feeding(t, t.TempDir(), strict())
		f.journal.fail = func(string) error {
			f.leases.mu.Lock()
			defer f.leases.mu.Unlock()
			f.leases.values["lease.hr"] = ingest.Lease{Holder: "another", Until: time.Now().Add(time.Hour)}
			f.leases.revs["lease.hr"] = 999
			return errors.New("no answer")
		}
		before := time.Now()
		w := f.csv(three)
		if w.Code != http.StatusServiceUnavailable || time.Since(before) > 10*time.Second {
			t.Errorf("got %d after %v: %s", w.Code, time.Since(before), w.Body)
		}
	})
}

func TestOnlyTheSourceItselfSendsItsSnapshots(t *testing.T) {
	f := feeding(t, t.TempDir(), strict())
	for _, headers := range [][]string{
		{"Authorization", ""},
		{"Authorization", "Bearer wrong"},
		{"Authorization", "", "X-Signature", sign("another body")},
	} {
		if w := f.put("text/csv", three, "", headers...); w.Code != http.StatusUnauthorized {
			t.Errorf("%v: got %d: %s", headers, w.Code, w.Body)
		}
	}
	w := f.send(httptest.NewRequest(http.MethodPut, "/v1/feeds/other", strings.NewReader(three)), "text/csv")
	if w.Code != http.StatusUnauthorized {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
	equal(t, []string{}, f.said())
	equal(t, 0, len(f.cases.all))
	counts(t, f.put("text/csv", three, "", "Authorization", "", "X-Signature", sign(three)))
}

func TestWhatCannotBeASnapshotIsRefusedBeforeItIsRead(t *testing.T) {
	f := feeding(t, t.TempDir(), strict())
	for want, w := range map[int]*httptest.ResponseRecorder{
		http.StatusUnsupportedMediaType: f.put("text/plain", three, ""),
		http.StatusBadRequest:           f.put("text/csv", three, "taken=yesterday"),
		http.StatusMethodNotAllowed:     f.send(httptest.NewRequest(http.MethodPost, "/v1/feeds/hr", strings.NewReader(three)), "text/csv"),
	} {
		if w.Code != want {
			t.Errorf("got %d, want %d: %s", w.Code, want, w.Body)
		}
	}
	if w := f.put("text/csv", three, "", "Content-Encoding", "gzip"); w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
}

func TestAnOlderSnapshotIsRefused(t *testing.T) {
	f := feeding(t, t.TempDir(), strict())
	counts(t, f.put("text/csv", three, "taken=2026-03-02T06:00:00Z"))
	if w := f.put("text/csv", three+"4,Dot\n", "taken=2026-03-01T06:00:00Z"); w.Code != http.StatusConflict {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
	for _, stored := range f.journal.events {
		if at := stored.Event.GetOccurredAt().AsTime(); !at.Equal(time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)) {
			t.Errorf("happened at %v", at)
		}
	}
}

func TestAnUnreadableRowMakesNobodyAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := strict()
		settings.MaxUnreadable = 1
		f := feeding(t, t.TempDir(), settings)
		f.csv(three)
		f.said()
		for range 3 {
			time.Sleep(2 * time.Hour)
			equal(t, feed.Counts{Rows: 2, Unchanged: 2, Absent: 1, Gone: 1, Unreadable: 1, Last: 3}, counts(t, f.csv("employee_id,name\n1,Ann\n2,Bob\n,Cyd\n")))
		}
		equal(t, []string{}, f.said())
	})
}

func TestTheSourcesRulesReadRows(t *testing.T) {
	f := feeding(t, t.TempDir(), strict())
	src := source("hr", ingest.Bearer{Tokens: []string{secret}})
	src.Events = event.Source{Rules: loud{}}
	src.Feed = strict()
	if err := f.Reload([]ingest.Source{src}); err != nil {
		t.Fatal(err)
	}
	counts(t, f.csv("id,name\n1,Ann\n"))
	equal(t, []string{"snapshot hr-1 name=ANN"}, f.said())
}

// loud makes keys and attributes by rule.
type loud struct{}

func (loud) Course(map[string]any) (map[string]string, error) { return nil, nil }

func (loud) Key(e map[string]any) (string, error) {
	data, _ := e["data"].(map[string]any)
	return "hr-" + fmt.Sprint(data["id"]), nil
}

func (loud) Kind(map[string]any) (string, bool, error) { return "", true, errors.New("no kind") }

func (loud) Attributes(e map[string]any) (map[string]any, bool, error) {
	data, _ := e["data"].(map[string]any)
	return map[string]any{"a": "first", "name": strings.ToUpper(fmt.Sprint(data["name"]))}, true, nil
}

func TestGetTellsOfTheLastGoodSnapshot(t *testing.T) {
	f := feeding(t, t.TempDir(), strict())
	f.csv(three)
	w := f.send(httptest.NewRequest(http.MethodGet, "/v1/feeds/hr", nil), "")
	state := decode[ingest.FeedState](t, w)
	if state.Last == nil || state.Last.Counts.Rows != 3 || state.Unfinished != nil || state.Running != nil {
		t.Errorf("got %s", w.Body)
	}
	if w := f.send(httptest.NewRequest(http.MethodGet, "/v1/feeds/hr", nil), "", "Authorization", "Bearer no"); w.Code != http.StatusUnauthorized {
		t.Errorf("got %d", w.Code)
	}
}

// overAll is a credential that feeds know nothing of: its signature is over the body.
type overAll struct{}

func (overAll) Validate() error                        { return nil }
func (overAll) Presented(http.Header) bool             { return true }
func (overAll) Admits(_ http.Header, body []byte) bool { return len(body) == 0 }

func TestASignatureOverNothingAdmitsNoSnapshot(t *testing.T) {
	f := feeding(t, t.TempDir(), strict())
	if err := f.Reload([]ingest.Source{source("hr", overAll{})}); err != nil {
		t.Fatal(err)
	}
	if w := f.csv(three); w.Code != http.StatusUnauthorized {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
	equal(t, []string{}, f.said())
}
