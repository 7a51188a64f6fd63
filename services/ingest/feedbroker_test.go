package ingest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/ingest"
	"github.com/joinery/joinery/services/ingest/feed"
)

// replica is one more door for snapshots over the broker.
func (b *broker) replica(t testing.TB, settings feed.Settings) *httptest.Server {
	t.Helper()
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "ingest", Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	feeds, err := ingest.OpenFeeds(t.Context(), b.conn)
	if err != nil {
		t.Fatal(err)
	}
	src := source("hr", ingest.Bearer{Tokens: []string{secret}})
	src.Feed = settings
	s, err := ingest.New([]ingest.Source{src}, ingest.Deps{
		Journal: ingest.NewJournal(b.conn), Telemetry: tel, Feeds: feeds, Cases: wire.NewOutbox(b.conn.Publisher()), Spool: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return server
}

func upload(t testing.TB, server *httptest.Server, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL+"/v1/feeds/hr", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"text/csv"}, "Authorization": {"Bearer " + secret}}
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

func crowd(n int) string {
	var b strings.Builder
	b.WriteString("employee_id,name\n")
	for i := range n {
		fmt.Fprintf(&b, "%d,%s\n", i, strings.Repeat("x", 30))
	}
	return b.String()
}

func TestReplicasShareTheLastGoodSnapshot(t *testing.T) {
	b := start(t, t.TempDir())
	defer b.stop()
	settings := feed.Settings{MinPercent: 90}
	one, two := b.replica(t, settings), b.replica(t, settings)
	if status, text := upload(t, one, crowd(1000)); status != http.StatusOK || !strings.Contains(text, `"accepted":1000`) {
		t.Fatal(status, text)
	}
	if status, text := upload(t, two, crowd(1001)); status != http.StatusOK || !strings.Contains(text, `"joined":1,"changed":0,"unchanged":1000`) {
		t.Fatal(status, text)
	}
	if n := len(b.stored(t)); n != 1001 {
		t.Errorf("%d events", n)
	}
	if status, text := upload(t, two, crowd(500)); status != http.StatusUnprocessableEntity {
		t.Fatal(status, text)
	}
	cases := 0
	for m, err := range b.conn.Scan(t.Context(), stream.DeadLetters, "joinery.deadletter.>") {
		if err != nil {
			t.Fatal(err)
		}
		var d joineryv1.DeadLetter
		if _, err := wire.Decode(m.Message, &d); err != nil {
			t.Fatal(err)
		}
		if d.GetId() != "feed-hr" || !strings.Contains(d.GetReason(), "rows 500, last good 1001") {
			t.Errorf("case %v", &d)
		}
		cases++
	}
	if cases != 1 {
		t.Errorf("%d cases", cases)
	}
}

func TestOfManyUploadsAtATimeOneGoesOn(t *testing.T) {
	b := start(t, t.TempDir())
	defer b.stop()
	servers := []*httptest.Server{b.replica(t, feed.Settings{}), b.replica(t, feed.Settings{})}
	var mu sync.Mutex
	seen := map[int]int{}
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			status, _ := upload(t, servers[i%2], crowd(300))
			mu.Lock()
			defer mu.Unlock()
			seen[status]++
		})
	}
	all.Wait()
	if seen[http.StatusOK] == 0 || seen[http.StatusOK]+seen[http.StatusConflict]+seen[http.StatusServiceUnavailable] != 6 {
		t.Errorf("answers %v", seen)
	}
	if n := len(b.stored(t)); n != 300 {
		t.Errorf("%d events", n)
	}
}
