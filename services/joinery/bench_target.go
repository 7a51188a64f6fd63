package joinery

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// benchTarget is a service provider that costs next to nothing: it finds nobody,
// takes everything after a fixed time, and notes when. What it takes itself can
// so be told from what Joinery takes.
type benchTarget struct {
	name  string
	delay time.Duration
	// hung never answers a request.
	hung bool

	url    string
	server *http.Server
	done   chan struct{}

	mu       sync.Mutex
	arrivals []time.Time
	// created and ended are when the answer to a person's POST, or PATCH, was
	// written, and own how long we took for all their requests until then.
	created, ended map[string]time.Time
	own            map[string]time.Duration
	ids            map[string]string // of resources, to people
	inactive       map[string]bool
}

func openBenchTarget(ctx context.Context, name string, delay time.Duration, hung bool) (*benchTarget, error) {
	t := &benchTarget{
		name: name, delay: delay, hung: hung, done: make(chan struct{}),
		created: map[string]time.Time{}, ended: map[string]time.Time{}, own: map[string]time.Duration{},
		ids: map[string]string{}, inactive: map[string]bool{},
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	t.url = "http://" + l.Addr().String()
	t.server = &http.Server{Handler: t, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = t.server.Serve(l) }()
	return t, nil
}

func (t *benchTarget) close() {
	close(t.done)
	_ = t.server.Close()
}

func (t *benchTarget) yaml(rate, concurrency int) string {
	return fmt.Sprintf(`target: %s
endpoint: %s
allow_private: true
auth: { bearer: { env: TARGET_TOKEN } }
rate: [{ requests: %d, per: 1s }]
concurrency: %d
assign: identity.active
match: [externalId]
guard: { deprovision: { max: 1000000, percent: 100 } }
reconcile: { every: 700h }
retry: { timeout: 5s }
users:
  - { to: userName, from: identity.email }
  - { to: externalId, from: identity.key }
  - { to: title, from: identity.title }
`, t.name, t.url, rate, concurrency)
}

// ServeHTTP answers searches with nobody, and everything else with a yes.
func (t *benchTarget) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	t.mu.Lock()
	t.arrivals = append(t.arrivals, begun)
	t.mu.Unlock()
	if t.hung {
		select {
		case <-t.done:
		case <-r.Context().Done():
		}
		return
	}
	var body struct {
		ExternalID string `json:"externalId"`
	}
	_ = json.NewDecoder(r.Body).Decode(&body)
	if t.delay > 0 {
		timer := time.NewTimer(t.delay)
		<-timer.C
	}
	id := strings.TrimPrefix(r.URL.Path, "/Users/")
	w.Header().Set("Content-Type", "application/scim+json")
	switch {
	case r.Method == http.MethodGet && id == "/Users":
		who := r.URL.Query().Get("filter")
		if _, value, ok := strings.Cut(who, `"`); ok {
			t.note(strings.TrimSuffix(value, `"`), begun, nil)
		}
		_, _ = w.Write([]byte(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":0,"Resources":[]}`))
	case r.Method == http.MethodPost:
		t.mu.Lock()
		remote := strconv.Itoa(len(t.ids) + 1)
		t.ids[remote] = body.ExternalID
		t.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"id":%q,"externalId":%q,"userName":%q,"title":"Rep","active":true}`, remote, body.ExternalID, body.ExternalID+"@example.com")
		t.note(body.ExternalID, begun, t.created)
	default:
		t.one(w, r, id, begun)
	}
}

// one answers for one resource; every PATCH is taken for a disable.
func (t *benchTarget) one(w http.ResponseWriter, r *http.Request, id string, begun time.Time) {
	t.mu.Lock()
	who := t.ids[id]
	if r.Method == http.MethodPatch {
		t.inactive[id] = true
	}
	active := !t.inactive[id]
	t.mu.Unlock()
	_, _ = fmt.Fprintf(w, `{"id":%q,"externalId":%q,"userName":%q,"title":"Rep","active":%v}`, id, who, who+"@example.com", active)
	if r.Method == http.MethodPatch {
		t.note(who, begun, t.ended)
	}
}

// note adds to what we took for somebody, and says when it ended.
func (t *benchTarget) note(who string, begun time.Time, when map[string]time.Time) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.own[who] += now.Sub(begun)
	if _, already := when[who]; when != nil && !already {
		when[who] = now
	}
}

func (t *benchTarget) made() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.created)
}

// peak is the most requests that arrived in any second, and between two times
// how many did.
func (t *benchTarget) peak() (most int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.arrivals, time.Time.Compare)
	for first, last := 0, 0; last < len(t.arrivals); last++ {
		for t.arrivals[last].Sub(t.arrivals[first]) >= time.Second {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

func (t *benchTarget) between(from, to time.Time) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, at := range t.arrivals {
		if !at.Before(from) && at.Before(to) {
			n++
		}
	}
	return n
}
