package joinery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

// snapshot is a file that is sent whole.
type snapshot struct {
	path, kind, allow, taken string
	dryRun                   bool
	file                     *os.File
	size                     int64
	sent                     atomic.Int64
}

// addSnapshot adds the flags of a snapshot to send.
func addSnapshot(c *cobra.Command) *snapshot {
	s := &snapshot{}
	f := c.Flags()
	f.StringVar(&s.path, "snapshot", "", "send this file as a whole snapshot of the source: .csv, .json (an array) or .ndjson")
	f.StringVar(&s.kind, "type", "", "the snapshot's media type, where its name does not tell")
	f.StringVar(&s.taken, "taken", "", "when the snapshot was taken, as in 2026-03-01T06:00:00Z (default: now)")
	f.BoolVar(&s.dryRun, "dry-run", false, "say what the snapshot would do, and do nothing")
	f.StringVar(&s.allow, "allow", "", "let a refused snapshot through once: the hash that the refusal gave")
	return s
}

// feedAnswer is ingest's answer to a snapshot.
type feedAnswer struct {
	Snapshot   string  `json:"snapshot"`
	DryRun     bool    `json:"dry_run"`
	Rows       int     `json:"rows"`
	Joined     int     `json:"joined"`
	Changed    int     `json:"changed"`
	Left       int     `json:"left"`
	Absent     int     `json:"pending_absence"`
	Unchanged  int     `json:"unchanged"`
	Unreadable int     `json:"unreadable"`
	Accepted   int64   `json:"accepted"`
	Duplicates int64   `json:"duplicates"`
	Refused    string  `json:"would_be_refused,omitempty"`
	Allow      string  `json:"allow,omitempty"`
	Seconds    float64 `json:"seconds"`
}

// feedRefusal is a refused snapshot with its numbers.
type feedRefusal struct {
	problem
	Limit  *int           `json:"limit,omitempty"`
	Counts map[string]int `json:"counts,omitempty"`
	Allow  string         `json:"allow,omitempty"`
}

func (t *terminal) sendSnapshot(ctx context.Context, s *sender, snap *snapshot) error {
	if s.source == "" {
		return usage("a snapshot needs --source: it is compared with the last one of that source")
	}
	if err := snap.open(); err != nil {
		return err
	}
	defer func() { _ = snap.file.Close() }()
	watching, stop := context.WithCancel(ctx)
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		t.watchSnapshot(watching, s, snap)
	}()
	raw, err := s.put(ctx, snap)
	stop()
	<-shown
	var refused feedRefusal
	if errors.As(err, &refused) {
		return t.showRefusal(refused)
	}
	if err != nil {
		return err
	}
	var a feedAnswer
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("read ingest's answer: %w", err)
	}
	if err := t.print(json.RawMessage(raw), a.table); err != nil {
		return err
	}
	if a.Refused != "" {
		return partly(nil)
	}
	return nil
}

func (a feedAnswer) table(w io.Writer) {
	if a.DryRun {
		row(w, "dry run: nothing was done")
	}
	row(w, "rows", a.Rows)
	row(w, "joined", a.Joined)
	row(w, "changed", a.Changed)
	row(w, "left", a.Left)
	row(w, "absent, not yet left", a.Absent)
	row(w, "unchanged", a.Unchanged)
	if a.Unreadable > 0 {
		row(w, "unreadable", a.Unreadable)
	}
	if a.Refused != "" {
		row(w, "would be refused", a.Refused)
		row(w, "let it through with", "--allow "+a.Allow)
	}
	if a.Duplicates > 0 {
		row(w, "stored by an earlier attempt", a.Duplicates)
	}
}

func (t *terminal) showRefusal(r feedRefusal) error {
	if err := t.print(r, func(w io.Writer) {
		row(w, "refused", r.Detail)
		for _, name := range []string{"rows", "last_rows", "joined", "changed", "gone", "left", "doubled", "unreadable"} {
			if n, ok := r.Counts[name]; ok {
				row(w, name, n)
			}
		}
		if r.Limit != nil {
			row(w, "limit", *r.Limit)
		}
		if r.Allow != "" {
			row(w, "let it through once with", "--allow "+r.Allow)
		}
	}); err != nil {
		return err
	}
	return partly(nil)
}

func (s *snapshot) open() error {
	if s.kind == "" {
		kinds := map[string]string{".csv": "text/csv", ".json": "application/json", ".ndjson": "application/x-ndjson", ".jsonl": "application/x-ndjson"}
		if s.kind = kinds[strings.ToLower(filepath.Ext(s.path))]; s.kind == "" {
			return usage("the name of the snapshot does not tell what it is: give --type text/csv, application/json or application/x-ndjson")
		}
	}
	f, err := os.Open(s.path)
	if err != nil {
		return usage("open the snapshot: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(usage("open the snapshot: %w", err), f.Close())
	}
	s.file, s.size = f, info.Size()
	return nil
}

// counted counts what was sent of a snapshot.
type counted struct {
	io.Reader
	sent *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.sent.Add(int64(n))
	return n, err
}

// put sends a snapshot, waiting while ingest asks to.
func (s *sender) put(ctx context.Context, snap *snapshot) ([]byte, error) {
	deadline := time.Now().Add(patience)
	for {
		data, pause, err := s.tryPut(ctx, snap)
		if pause == 0 || time.Now().Add(pause).After(deadline) {
			return data, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *sender) tryPut(ctx context.Context, snap *snapshot) ([]byte, time.Duration, error) {
	snap.sent.Store(0)
	body := counted{io.NewSectionReader(snap.file, 0, snap.size), &snap.sent}
	req, err := s.feedRequest(ctx, http.MethodPut, snap.query(), io.NopCloser(body))
	if err != nil {
		return nil, 0, err
	}
	req.ContentLength = snap.size
	req.Header.Set("Content-Type", snap.kind)
	req.Header.Set("Expect", "100-continue") // who is refused need not send gigabytes
	// A snapshot takes as long as it takes; ingest gives up after an hour.
	client := &http.Client{Timeout: time.Hour + time.Minute, Transport: &http.Transport{ExpectContinueTimeout: 10 * time.Second}}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("reach ingest at %s: %w; the same snapshot can be sent again", s.base, err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, 0, fmt.Errorf("read ingest's answer: %w; the same snapshot can be sent again", err)
	}
	if res.StatusCode < http.StatusBadRequest {
		return data, 0, nil
	}
	var refused feedRefusal
	if json.Unmarshal(data, &refused) == nil && refused.Counts != nil {
		return nil, 0, refused
	}
	err = refusal(res.StatusCode, data)
	if res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusConflict && res.Header.Get("Retry-After") != "" {
		return nil, retryAfter(res), err
	}
	return nil, 0, err
}

func (snap *snapshot) query() string {
	q := url.Values{}
	if snap.dryRun {
		q.Set("dry_run", "true")
	}
	if snap.allow != "" {
		q.Set("allow", snap.allow)
	}
	if snap.taken != "" {
		q.Set("taken", snap.taken)
	}
	return q.Encode()
}

func (s *sender) feedRequest(ctx context.Context, method, query string, body io.Reader) (*http.Request, error) {
	address := strings.TrimRight(s.base, "/") + "/v1/feeds/" + escape(s.source)
	if query != "" {
		address += "?" + query
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, usage("ingest address: %w", err)
	}
	if s.secret != "" {
		req.Header.Set("Authorization", "Bearer "+s.secret)
	}
	return req, nil
}

// watchSnapshot shows how far a snapshot is: a live line on a terminal, a plain
// line every five seconds elsewhere.
func (t *terminal) watchSnapshot(ctx context.Context, s *sender, snap *snapshot) {
	live, every := interactive(t.errs), 5*time.Second
	if live {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if live {
				fmt.Fprint(t.errs, "\r\x1b[K")
			}
			return
		case <-tick.C:
		}
		if line := s.feedLine(ctx, snap); live {
			fmt.Fprint(t.errs, "\r\x1b[K"+line)
		} else {
			fmt.Fprintln(t.errs, line)
		}
	}
}

// feedLine says what was sent, and then what ingest does with it.
func (s *sender) feedLine(ctx context.Context, snap *snapshot) string {
	line := fmt.Sprintf("sent %d of %d MiB", snap.sent.Load()>>20, snap.size>>20)
	if snap.sent.Load() < snap.size {
		return line
	}
	req, err := s.feedRequest(ctx, http.MethodGet, "", nil)
	if err != nil {
		return line
	}
	res, err := s.http.Do(req)
	if err != nil {
		return line
	}
	defer func() { _ = res.Body.Close() }()
	var state struct {
		Running *struct {
			Phase string
			Done  int64
			Total int64
		}
	}
	if json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&state) != nil || state.Running == nil {
		return line
	}
	line += fmt.Sprintf(", %s %d", cell(state.Running.Phase), state.Running.Done)
	if state.Running.Total > 0 {
		line += fmt.Sprintf(" of %d", state.Running.Total)
	}
	return line
}
