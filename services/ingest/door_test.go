package ingest_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/ingest"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

const (
	structured = "application/cloudevents+json"
	batch      = "application/cloudevents-batch+json"
	secret     = "0123456789abcdef"
)

// memory is a journal that forgets at the end of the test.
type memory struct {
	mu     sync.Mutex
	events map[string]ingest.Stored
	order  []string
	// fail, where set, is asked before each call, by name; lose after Add and
	// AddAll have stored.
	fail func(call string) error
	lose func() error
	// batches are the sizes of what AddAll was asked to store.
	batches []int
}

func (m *memory) put(ctx context.Context, e *joineryv1.LifecycleEvent) {
	if m.events == nil {
		m.events = map[string]ingest.Stored{}
	}
	m.events[e.GetId()] = ingest.Stored{Event: e, Trace: trace.SpanContextFromContext(ctx).TraceID().String()}
	m.order = append(m.order, e.GetId())
}

func (m *memory) begin(call string) error {
	if m.fail != nil {
		return m.fail(call)
	}
	return nil
}

func (m *memory) end() error {
	if m.lose != nil {
		return m.lose()
	}
	return nil
}

func (m *memory) Add(ctx context.Context, e *joineryv1.LifecycleEvent) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("Add"); err != nil {
		return false, err
	}
	if _, ok := m.events[e.GetId()]; ok {
		return false, nil
	}
	m.put(ctx, e)
	return true, m.end()
}

func (m *memory) AddAll(_ context.Context, entries []ingest.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batches = append(m.batches, len(entries))
	if err := m.begin("AddAll"); err != nil {
		return err
	}
	for _, e := range entries {
		if _, ok := m.events[e.Event.GetId()]; ok {
			return ingest.ErrStored
		}
	}
	for _, e := range entries {
		m.put(e.Context, e.Event)
	}
	return m.end()
}

func (m *memory) Find(_ context.Context, e *joineryv1.LifecycleEvent) (ingest.Stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("Find"); err != nil {
		return ingest.Stored{}, err
	}
	found, ok := m.events[e.GetId()]
	if !ok {
		return ingest.Stored{}, ingest.ErrNotStored
	}
	return found, nil
}

// ids are the source's ids of what is stored, in order.
func (m *memory) ids() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := []string{}
	for _, id := range m.order {
		out = append(out, m.events[id].Event.GetSourceEventId())
	}
	return out
}

// door is a door under test, with everything it says recorded.
type door struct {
	*ingest.Service
	journal *memory
	log     *lines
	spans   *tracetest.InMemoryExporter
	metrics *telemetry.Metrics
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func open(t *testing.T, sources ...ingest.Source) *door {
	t.Helper()
	d := &door{journal: &memory{}, log: &lines{}, spans: tracetest.NewInMemoryExporter()}
	d.Service, d.metrics = over(t, d.journal, d.log, d.spans, sources...)
	return d
}

func over(t testing.TB, journal ingest.Journal, log io.Writer, spans *tracetest.InMemoryExporter, sources ...ingest.Source) (*ingest.Service, *telemetry.Metrics) {
	t.Helper()
	o := telemetry.Options{Service: "ingest", Log: log}
	if spans != nil {
		o.Exporter = spans
	}
	tel, err := telemetry.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) == 0 {
		sources = []ingest.Source{hr()}
	}
	s, err := ingest.New(sources, ingest.Deps{Journal: journal, Telemetry: tel})
	if err != nil {
		t.Fatal(err)
	}
	return s, tel.Metrics
}

// hr signs with HMAC and takes the key from data.employee_id.
func hr() ingest.Source {
	return source("hr", ingest.HMAC{Header: "X-Signature", Secrets: [][]byte{[]byte(secret)}})
}

func source(name string, credentials ...ingest.Credential) ingest.Source {
	return ingest.Source{
		Name: name, Credentials: credentials,
		Events: event.Source{KeyField: "data.employee_id", Rules: byEmployeeID{}},
	}
}

// byEmployeeID takes the key from data.employee_id, and nothing else by rule.
type byEmployeeID struct{}

func (byEmployeeID) Key(e map[string]any) (string, error) {
	data, _ := e["data"].(map[string]any)
	key, ok := data["employee_id"].(string)
	if !ok {
		return "", errors.New("the event has no value for it")
	}
	return key, nil
}

func (byEmployeeID) Kind(map[string]any) (string, bool, error) { return "", false, nil }

func (byEmployeeID) Course(map[string]any) (map[string]string, error) { return nil, nil }

func (byEmployeeID) Attributes(map[string]any) (map[string]any, bool, error) { return nil, false, nil }

func sign(body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

// post sends a signed body; headers come in pairs, and an empty value takes one out.
func (d *door) post(contentType, body string, headers ...string) *httptest.ResponseRecorder {
	return post(d.Handler(), contentType, body, headers...)
}

func post(h http.Handler, contentType, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Signature", sign(body))
	for pair := range slices.Chunk(headers, 2) {
		if r.Header.Set(pair[0], pair[1]); pair[1] == "" {
			r.Header.Del(pair[0])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// told is an event as JSON; extra are further members of it.
func told(id, kind, person, extra string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/hr","type":"joinery.person.%s","data":{"employee_id":%q,"email":"ann@example.com"}%s}`,
		id, kind, person, extra)
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var out T
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("answer %d is no JSON: %v: %s", w.Code, err, w.Body)
	}
	return out
}

// problem is a problem document as a sender reads it.
type problem struct {
	Type   string
	Title  string
	Status int
	Detail string
	Field  string
	Code   string
	Errors []struct{ Field, Code, Detail string }
}

// refused checks a refusal's status and field, that it is a complete problem
// document, and that nothing was stored.
func (d *door) refused(t *testing.T, w *httptest.ResponseRecorder, status int, field string) problem {
	t.Helper()
	p := decode[problem](t, w)
	if w.Code != status || p.Status != status || p.Field != field {
		t.Errorf("got %d at %q: %s; want %d at %q", w.Code, p.Field, w.Body, status, field)
	}
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %s", got)
	}
	if !strings.HasPrefix(p.Type, "urn:joinery:problem:") || p.Title == "" || p.Detail == "" {
		t.Errorf("incomplete problem %s", w.Body)
	}
	if ids := d.journal.ids(); len(ids) != 0 {
		t.Errorf("refused, but stored: %v", ids)
	}
	return p
}

// lastLine is the newest line of the log.
func (d *door) lastLine(t *testing.T) map[string]any {
	t.Helper()
	all := strings.Split(strings.TrimSpace(d.log.String()), "\n")
	var out map[string]any
	if err := json.Unmarshal([]byte(all[len(all)-1]), &out); err != nil {
		t.Fatalf("line %q: %v", all[len(all)-1], err)
	}
	return out
}

func (d *door) scrape(t *testing.T) string {
	t.Helper()
	w := httptest.NewRecorder()
	d.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
