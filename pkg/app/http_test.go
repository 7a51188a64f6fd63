package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/app"
)

// running is a server on the loopback interface.
type running struct {
	url  string
	stop context.CancelFunc
	err  chan error
}

func serve(t *testing.T, o app.HTTP) *running {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Listener = l
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{url: "http://" + l.Addr().String(), stop: cancel, err: make(chan error, 1)}
	go func() { r.err <- app.Serve(ctx, o) }()
	t.Cleanup(cancel)
	return r
}

type answer struct {
	Status int
	Body   any
}

func (r *running) get(t *testing.T, path string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var body any
	if json.Unmarshal(raw, &body) != nil {
		body = string(raw)
	}
	return answer{resp.StatusCode, body}
}

func said(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

func TestEveryServerHasHealthReadinessAndMetrics(t *testing.T) {
	broken := errors.Join(errors.New("broker: not connected"), errors.New("limiter: no answer"))
	var mu sync.Mutex
	var why error
	s := serve(t, app.HTTP{Handler: said("handled"), Metrics: said("joinery_up 1"), Ready: func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		return why
	}})
	ready := answer{200, map[string]any{"ready": true}}
	for path, want := range map[string]answer{
		"/healthz": {200, map[string]any{"alive": true}}, "/readyz": ready,
		"/metrics": {200, "joinery_up 1"}, "/v1/events": {200, "handled"},
	} {
		if diff := cmp.Diff(want, s.get(t, path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	mu.Lock()
	why = broken
	mu.Unlock()
	want := answer{503, map[string]any{"ready": false, "reasons": []any{"broker: not connected", "limiter: no answer"}}}
	if diff := cmp.Diff(want, s.get(t, "/readyz")); diff != "" {
		t.Errorf("not ready (-want +got):\n%s", diff)
	}
	if got := s.get(t, "/healthz"); got.Status != 200 {
		t.Errorf("a process that is not ready is not dead: %v", got)
	}
}

func TestARequestInFlightFinishesWhileNewOnesGoElsewhere(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	s := serve(t, app.HTTP{Drain: 300 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-finish
		if r.Context().Err() != nil {
			w.WriteHeader(http.StatusGatewayTimeout)
			return
		}
		_, _ = io.WriteString(w, "finished")
	})})
	slow := make(chan answer, 1)
	go func() { slow <- s.get(t, "/slow") }()
	<-begun
	s.stop()
	// While it drains, the door is open and readiness already says no.
	for {
		if got := s.get(t, "/readyz"); got.Status == http.StatusServiceUnavailable {
			want := answer{503, map[string]any{"ready": false, "reasons": []any{"stopping"}}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("readiness (-want +got):\n%s", diff)
			}
			break
		}
	}
	close(finish)
	if diff := cmp.Diff(answer{200, "finished"}, <-slow); diff != "" {
		t.Errorf("slow request (-want +got):\n%s", diff)
	}
	if err := <-s.err; err != nil {
		t.Errorf("stopped with %v", err)
	}
}

func TestARequestThatNeverEndsIsCutAfterTheGrace(t *testing.T) {
	begun := make(chan struct{})
	s := serve(t, app.HTTP{Grace: 20 * time.Millisecond, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})})
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
		if err != nil {
			return
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-begun
	s.stop()
	if err := <-s.err; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want to hear that requests were cut", err)
	}
}

func TestAnAddressInUseIsAnError(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := app.Serve(t.Context(), app.HTTP{Addr: l.Addr().String()}); err == nil || !strings.HasPrefix(err.Error(), "listen: ") {
		t.Errorf("got %v", err)
	}
}

func TestAnOversizedHeaderIsRefused(t *testing.T) {
	s := serve(t, app.HTTP{Handler: said("handled")})
	for size, want := range map[int]int{8 << 10: http.StatusOK, 32 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Long", strings.Repeat("x", size))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%d bytes: status %d, want %d", size, resp.StatusCode, want)
		}
	}
}

func TestAPanicIsAnsweredAndItsValueNotLogged(t *testing.T) {
	var log bytes.Buffer
	s := serve(t, app.HTTP{
		Log:     slog.New(slog.NewJSONHandler(&log, nil)),
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("ann@example.com") }),
	})
	want := answer{500, map[string]any{"type": "urn:joinery:problem:internal", "title": "Internal error", "status": 500.0}}
	if diff := cmp.Diff(want, s.get(t, "/")); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	s.stop()
	if err := <-s.err; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "handler panicked") || strings.Contains(log.String(), "ann@example.com") {
		t.Errorf("log:\n%s", log.String())
	}
}

func TestAProblemIsAProblemDocument(t *testing.T) {
	rows := []struct {
		name, typ, detail string
		extra, want       map[string]any
	}{
		{
			"named", "too-large", "send less than 256 KiB",
			map[string]any{"field": "data"},
			map[string]any{"type": "urn:joinery:problem:too-large", "title": "T", "status": 400.0, "detail": "send less than 256 KiB", "field": "data"},
		},
		{"anonymous", "", "", nil, map[string]any{"type": "about:blank", "title": "T", "status": 400.0}},
		{"URI", "https://example.com/p", "", nil, map[string]any{"type": "https://example.com/p", "title": "T", "status": 400.0}},
		{
			"extra members cannot replace the standard ones", "x", "",
			map[string]any{"status": 200, "title": "fine", "type": "y", "detail": "z", "instance": "i"},
			map[string]any{"type": "urn:joinery:problem:x", "title": "T", "status": 400.0},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			before := maps.Clone(row.extra)
			rec := httptest.NewRecorder()
			app.Problem(rec, http.StatusBadRequest, row.typ, "T", row.detail, row.extra)
			var got map[string]any
			if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, got); diff != "" || rec.Code != http.StatusBadRequest {
				t.Errorf("status %d (-want +got):\n%s", rec.Code, diff)
			}
			if diff := cmp.Diff(before, row.extra); diff != "" {
				t.Errorf("the caller's map was changed:\n%s", diff)
			}
			want := http.Header{"Content-Type": {"application/problem+json"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}}
			if diff := cmp.Diff(want, rec.Header()); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAProblemThatCannotBeWrittenIsAnInternalError(t *testing.T) {
	rec := httptest.NewRecorder()
	app.Problem(rec, http.StatusBadRequest, "x", "T", "", map[string]any{"bad": func() {}})
	if rec.Code != http.StatusInternalServerError || !json.Valid(rec.Body.Bytes()) {
		t.Errorf("status %d: %s", rec.Code, rec.Body)
	}
}

func TestChangesFromPagesOfOtherOriginsAreRefused(t *testing.T) {
	h := app.ForBrowsers(said("done"))
	rows := []struct {
		name, method, site, origin string
		want                       int
	}{
		{"reading from anywhere", http.MethodGet, "cross-site", "https://evil.example", 200},
		{"the console itself", http.MethodPost, "same-origin", "https://console.example", 200},
		{"another site", http.MethodPost, "cross-site", "https://evil.example", 403},
		{"a neighbouring host of the same site", http.MethodPost, "same-site", "https://other.example", 403},
		{"an old browser of another origin", http.MethodPost, "", "https://evil.example", 403},
		{"a program", http.MethodPost, "", "", 200},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			req := httptest.NewRequestWithContext(t.Context(), row.method, "https://console.example/api/v1/cases", nil)
			for name, value := range map[string]string{"Sec-Fetch-Site": row.site, "Origin": row.origin} {
				if value != "" {
					req.Header.Set(name, value)
				}
			}
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req)
			if rec.Code != row.want {
				t.Errorf("status %d, want %d", rec.Code, row.want)
			}
			policy := rec.Header().Get("Content-Security-Policy")
			if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
				t.Errorf("policy %q", policy)
			}
			if rec.Header().Get("X-Frame-Options") != "DENY" || rec.Header().Get("Strict-Transport-Security") == "" {
				t.Errorf("header %v", rec.Header())
			}
		})
	}
}
