package ingest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/embedded"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/ingest"
	"go.opentelemetry.io/otel/trace"
)

// broker is an embedded broker with the topology applied, and a door over it.
type broker struct {
	*embedded.Broker
	conn *stream.Conn
	door http.Handler
}

func start(t testing.TB, dir string) *broker {
	t.Helper()
	b, err := embedded.StartBroker(embedded.BrokerOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := stream.Dial(t.Context(), b.Options("ingest"))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Apply(t.Context(), stream.Design(nil, 1)); err != nil {
		t.Fatal(err)
	}
	service, _ := over(t, ingest.NewJournal(conn), io.Discard, nil)
	return &broker{b, conn, service.Handler()}
}

func (b *broker) stop() {
	b.conn.Close()
	b.Close()
}

// stored is every event in the stream, in order, by the source's id.
func (b *broker) stored(t testing.TB) (ids []string) {
	t.Helper()
	for m, err := range b.conn.Scan(t.Context(), stream.Lifecycle, "joinery.lifecycle.>") {
		if err != nil {
			t.Fatal(err)
		}
		var e joineryv1.LifecycleEvent
		if _, err := wire.Decode(m.Message, &e); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.GetSourceEventId())
	}
	return ids
}

func TestAcceptedEventsAreInTheStreamWithTheirTrace(t *testing.T) {
	b := start(t, t.TempDir())
	defer b.stop()
	server := httptest.NewServer(b.door)
	defer server.Close()
	for contentType, body := range map[string]string{structured: person("one"), batch: list(person("two"), person("three"))} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/events", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Content-Type": {contentType}, "X-Signature": {sign(body)}}
		res, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusAccepted {
			t.Fatalf("got %d", res.StatusCode)
		}
	}
	again := decode[answer](t, post(b.door, batch, list(person("one"), person("two"), person("three"))))
	equal(t, []ingest.Status{"duplicate", "duplicate", "duplicate"}, statuses(again))
	for _, r := range again.Results {
		found, err := b.conn.Last(t.Context(), stream.Lifecycle, "joinery.lifecycle.hr.*."+r.ID)
		if err != nil {
			t.Fatal(err)
		}
		var e joineryv1.LifecycleEvent
		ctx, err := wire.Decode(found.Message, &e)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, wire.LifecycleSubject(&e), found.Subject)
		equal(t, r.Trace, trace.SpanContextFromContext(ctx).TraceID().String())
		equal(t, "person of "+e.GetSourceEventId(), e.GetIdentityKey())
	}
}

func TestDuplicatesAreKnownAfterARestartOfTheBroker(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir)
	first := decode[ingest.Result](t, post(b.door, structured, person("one")))
	post(b.door, batch, list(person("two"), person("three")))
	b.stop()

	b = start(t, dir)
	defer b.stop()
	equal(t, ingest.Result{ID: first.ID, Trace: first.Trace, Status: ingest.Duplicate},
		decode[ingest.Result](t, post(b.door, structured, person("one"))))
	equal(t, ingest.Duplicate, decode[ingest.Result](t, post(b.door, structured, person("two"))).Status)
	a := decode[answer](t, post(b.door, batch, list(person("three"), person("four"), person("one"))))
	equal(t, []ingest.Status{"duplicate", "accepted", "duplicate"}, statuses(a))
	ids := b.stored(t)
	slices.Sort(ids)
	equal(t, []string{"four", "one", "three", "two"}, ids)
}

func TestIDReusedForAnotherPersonIsRefusedAtTheBroker(t *testing.T) {
	b := start(t, t.TempDir())
	defer b.stop()
	post(b.door, structured, told("e-1", "joined", "1001", ""))
	for name, again := range map[string]string{
		"another person": told("e-1", "joined", "1002", ""), "another kind": told("e-1", "left", "1001", ""),
	} {
		if w := post(b.door, structured, again); w.Code != http.StatusConflict {
			t.Errorf("%s: got %d: %s", name, w.Code, w.Body)
		}
	}
}

func TestBrokerThatIsGoneMeansComeAgain(t *testing.T) {
	b := start(t, t.TempDir())
	b.Close()
	defer b.conn.Close()
	// The door itself waits longer; that is TestBrokerThatNeverAnswersIsGivenUp.
	impatient := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 300*time.Millisecond)
		defer cancel()
		b.door.ServeHTTP(w, r.WithContext(ctx))
	})
	w := post(impatient, structured, person("one"))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %d, %v: %s", w.Code, w.Header(), w.Body)
	}
}

// TestRacingSendersGetEachEventStoredOnce: senders repeat the same events at the
// same time, some one by one, some in overlapping batches.
func TestRacingSendersGetEachEventStoredOnce(t *testing.T) {
	b := start(t, t.TempDir())
	defer b.stop()
	const events, senders = 40, 8
	var mu sync.Mutex
	accepted := map[string]int{}
	count := func(results ...ingest.Result) {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range results {
			if r.Status == ingest.Accepted {
				accepted[r.ID]++
			}
		}
	}
	// send repeats a request until it is answered 202, as senders do.
	send := func(contentType, body string) *httptest.ResponseRecorder {
		for {
			if w := post(b.door, contentType, body); w.Code != http.StatusServiceUnavailable {
				return w
			}
		}
	}
	var done sync.WaitGroup
	for s := range senders {
		done.Go(func() {
			for i := 0; i < events; i += 4 {
				var bodies []string
				for k := range 4 {
					bodies = append(bodies, person(fmt.Sprint("e-", (i+k+s)%events)))
				}
				if s%2 == 0 {
					count(decode[answer](t, send(batch, list(bodies...))).Results...)
					continue
				}
				for _, body := range bodies {
					count(decode[ingest.Result](t, send(structured, body)))
				}
			}
		})
	}
	done.Wait()
	if n := len(b.stored(t)); n != events {
		t.Errorf("%d events stored, want %d", n, events)
	}
	for i := range events {
		if n := accepted[event.IDOf("hr", fmt.Sprint("e-", i))]; n != 1 {
			t.Errorf("event %d was answered accepted %d times", i, n)
		}
	}
}

// The figures of the door over an embedded broker that syncs every write.
func BenchmarkBatchesOf100(b *testing.B) {
	at := start(b, b.TempDir())
	defer at.stop()
	b.SetParallelism(4)
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var events []string
			for range 100 {
				events = append(events, person(fmt.Sprint("e-", n.Add(1))))
			}
			if w := post(at.door, batch, list(events...)); w.Code != http.StatusAccepted {
				b.Errorf("got %d: %s", w.Code, w.Body)
				return
			}
		}
	})
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkSingleEventsOf64Senders(b *testing.B) {
	at := start(b, b.TempDir())
	defer at.stop()
	b.SetParallelism(32)
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if w := post(at.door, structured, person(fmt.Sprint("e-", n.Add(1)))); w.Code != http.StatusAccepted {
				b.Errorf("got %d: %s", w.Code, w.Body)
				return
			}
		}
	})
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "events/s")
}
