package ingest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/services/ingest/feed"
)

const (
	// MaxFeedBody is the size of a snapshot in bytes: two million rows of 1 KiB.
	MaxFeedBody = 2 << 30
	// maxFeeds bounds the snapshots that a process takes in at a time: each holds
	// some 60 bytes a row in memory, and the whole of it on disk.
	maxFeeds = 2
	// feedTimeout bounds one snapshot from its first byte to its last event.
	feedTimeout = time.Hour
)

// FeedAnswer is what became of a snapshot.
type FeedAnswer struct {
	Source string `json:"source"`
	// Snapshot is Joinery's id of it.
	Snapshot string    `json:"snapshot"`
	Taken    time.Time `json:"taken"`
	DryRun   bool      `json:"dry_run"`
	feed.Counts
	// Accepted counts the events that are stored now, Duplicates those that an
	// earlier attempt had stored.
	Accepted   int64 `json:"accepted"`
	Duplicates int64 `json:"duplicates"`
	// Resumed tells that an interrupted run was brought to its end.
	Resumed bool    `json:"resumed,omitempty"`
	Refused string  `json:"would_be_refused,omitempty"`
	Allow   string  `json:"allow,omitempty"`
	Seconds float64 `json:"seconds"`
}

// feedVisit is one request at the door for snapshots.
type feedVisit struct {
	arrived time.Time
	source  *Source
	bytes   int64
	counts  feed.Counts
	answer  *FeedAnswer
	refusal *refusal
}

// serveFeed answers PUT /v1/feeds/{source}, which takes a snapshot in, and GET,
// which tells of the last good one and how far the one is that is on its way.
func (s *Service) serveFeed(w http.ResponseWriter, r *http.Request) {
	v := &feedVisit{arrived: time.Now()}
	switch r.Method {
	case http.MethodPut:
		v.refusal = s.takeFeed(w, r, v)
	case http.MethodGet:
		s.showFeed(w, r)
		return
	default:
		v.refusal = &refusal{
			status: http.StatusMethodNotAllowed, reason: "method", title: "Method not allowed",
			detail: "A snapshot is sent with PUT.", header: map[string]string{"Allow": "GET, PUT"},
		}
	}
	if v.refusal != nil {
		write(w, v.refusal)
	} else {
		document(w, v.answer)
	}
	s.reportFeed(r.Context(), v)
}

func document(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	// Who does not listen any more will send the snapshot again.
	_ = json.NewEncoder(w).Encode(v)
}

// takeFeed takes one snapshot in. What costs more comes later.
func (s *Service) takeFeed(w http.ResponseWriter, r *http.Request, v *feedVisit) *refusal {
	src, proof := s.feeder(r)
	if src == nil {
		return s.unprovedFeed(r)
	}
	request, no := feedRequestOf(r, v.arrived)
	if no != nil {
		return no
	}
	select {
	case s.feedPlaces <- struct{}{}:
		defer func() { <-s.feedPlaces }()
	default:
		return feedOverloaded
	}
	_, _, busy, err := s.feeds.busy(r.Context(), src.Name)
	if err != nil {
		return unavailable(err)
	}
	if busy {
		return feedBusy
	}
	body, err := newSpool(s.spoolDir)
	if err != nil {
		return unavailable(err)
	}
	defer body.close()
	no = s.spoolBody(w, r, body, proof)
	v.bytes = body.size
	if no != nil && no != aborted {
		return no
	}
	if !proof.admits() {
		return first(no, unauthorized) // a signature over a part proves nothing
	}
	v.source = src
	// The sender may go away now: the snapshot is whole.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), feedTimeout)
	defer cancel()
	run := &feedRun{service: s, source: src.feeding(), spool: body, request: request}
	defer run.close()
	if no != nil {
		refusal := &feed.Refusal{Reason: feed.CutShort, Detail: "The body is shorter than announced, or broke off. Send it whole."}
		return s.refuseFeed(ctx, run, v, refusal)
	}
	return s.runFeed(ctx, run, v)
}

func first(a, b *refusal) *refusal {
	if a != nil {
		return a
	}
	return b
}

// runFeed plans, judges and commits.
func (s *Service) runFeed(ctx context.Context, run *feedRun, v *feedVisit) *refusal {
	if !run.request.dryRun {
		leased, lease, err := s.feeds.acquire(ctx, run.source.Name)
		if errors.Is(err, errBusy) {
			return feedBusy
		}
		if err != nil {
			return unavailable(err)
		}
		defer lease.release(ctx)
		ctx, run.lease = leased, lease
	}
	err := run.plan(ctx)
	v.counts = run.outcome.Counts
	if err == nil {
		err = run.judge()
	}
	var refused *feed.Refusal
	if errors.As(err, &refused) && (!run.request.dryRun || !refused.Overrulable()) {
		return s.refuseFeed(ctx, run, v, refused)
	}
	if err == nil && !run.request.dryRun {
		err = run.commit(ctx)
	}
	if err != nil && refused == nil {
		return feedFailed(err)
	}
	v.answer = &FeedAnswer{
		Source: run.source.Name, Snapshot: run.next.ID, Taken: run.next.Taken, DryRun: run.request.dryRun, Counts: run.outcome.Counts,
		Accepted: run.accepted.Load(), Duplicates: run.duplicates.Load(), Resumed: run.resumed, Seconds: time.Since(v.arrived).Seconds(),
	}
	if refused != nil {
		v.answer.Refused, v.answer.Allow = string(refused.Reason), run.allowance()
	}
	return nil
}

// proof decides whether a body that passes through it comes from the source.
type proof struct {
	sure bool
	sums []hash.Hash
	want []byte
}

// Write implements io.Writer.
func (p *proof) Write(data []byte) (int, error) {
	for _, h := range p.sums {
		h.Write(data)
	}
	return len(data), nil
}

func (p *proof) admits() bool {
	admitted := p.sure
	for _, h := range p.sums {
		admitted = hmac.Equal(h.Sum(nil), p.want) || admitted
	}
	return admitted
}

// feeder is the source named in the path, where the header does not already show
// that somebody else asks; proof decides when the body has been read.
func (s *Service) feeder(r *http.Request) (*Source, *proof) {
	src, ok := s.sources.Load().named(r.PathValue("source"))
	if !ok || s.feeds == nil {
		return nil, nil
	}
	p := &proof{}
	for _, c := range src.Credentials {
		if !c.Presented(r.Header) {
			continue
		}
		switch c := c.(type) {
		case HMAC:
			p.want, _ = c.signature(r.Header)
			for _, secret := range c.Secrets {
				p.sums = append(p.sums, hmac.New(sha256.New, secret))
			}
		case Bearer, Basic, JWT: // the body takes no part in these; another signature would be one over nothing
			p.sure = c.Admits(r.Header, nil) || p.sure
		}
	}
	if !p.sure && len(p.sums) == 0 {
		return nil, nil
	}
	return src, p
}

// unprovedFeed is the answer to a request that feeder does not admit.
func (s *Service) unprovedFeed(r *http.Request) *refusal {
	if src, ok := s.sources.Load().named(r.PathValue("source")); ok {
		return unproved([]*Source{src}, r.Header)
	}
	return unauthorized
}

// spoolBody writes the body to a file. Each piece may take as long as the whole
// body of an event.
func (s *Service) spoolBody(w http.ResponseWriter, r *http.Request, to *spool, p *proof) *refusal {
	if r.ContentLength > MaxFeedBody {
		return tooLong(MaxFeedBody)
	}
	control := http.NewResponseController(w)
	// Servers in tests have no deadlines to set.
	_ = control.SetWriteDeadline(time.Now().Add(feedTimeout))
	piece := make([]byte, 256<<10)
	for {
		_ = control.SetReadDeadline(time.Now().Add(readTimeout))
		n, err := r.Body.Read(piece)
		_, _ = p.Write(piece[:n]) // hashes do not fail
		if failed := to.write(piece[:n]); failed != nil {
			return unavailable(failed)
		}
		switch {
		case to.size > MaxFeedBody:
			return tooLong(MaxFeedBody)
		case errors.Is(err, io.EOF):
			_ = control.SetReadDeadline(time.Time{})
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return tooSlow
		case err != nil:
			return aborted
		}
	}
}

func feedRequestOf(r *http.Request, arrived time.Time) (feedRequest, *refusal) {
	out := feedRequest{arrived: arrived, allow: r.URL.Query().Get("allow"), dryRun: r.URL.Query().Get("dry_run") == "true"}
	kind, plain := mediaType(r.Header)
	switch format := feed.Format(kind); {
	case r.Header.Get("Content-Encoding") != "" && !strings.EqualFold(r.Header.Get("Content-Encoding"), "identity"):
		return out, compressed
	case !plain || !slices.Contains([]feed.Format{feed.CSV, feed.JSON, feed.Lines}, format):
		return out, wrongFeedType
	default:
		out.format = format
	}
	if text := r.URL.Query().Get("taken"); text != "" {
		var err error
		if out.taken, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return out, &refusal{
				status: http.StatusBadRequest, reason: "feed-taken", title: "Invalid time",
				detail: `The query parameter taken is not a time as RFC 3339 writes it, such as "2026-03-01T09:00:00Z".`,
			}
		}
	}
	return out, nil
}

// FeedState is what is known of a source's snapshots.
type FeedState struct {
	Source string `json:"source"`
	// Last is the last good snapshot, Unfinished one whose run was broken off, and
	// Running how far the one is that is being taken in.
	Last       *Snapshot    `json:"last"`
	Unfinished *Snapshot    `json:"unfinished"`
	Running    *FeedRunning `json:"running"`
}

// FeedRunning is how far a snapshot is.
type FeedRunning struct {
	Phase string `json:"phase"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

func (s *Service) showFeed(w http.ResponseWriter, r *http.Request) {
	src, proof := s.feeder(r)
	if src == nil || !proof.admits() { // a signature here is one over nothing
		write(w, s.unprovedFeed(r))
		return
	}
	m, _, err := s.feeds.manifest(r.Context(), src.Name)
	if err != nil {
		write(w, unavailable(err))
		return
	}
	lease, _, busy, err := s.feeds.busy(r.Context(), src.Name)
	if err != nil {
		write(w, unavailable(err))
		return
	}
	out := FeedState{Source: src.Name, Last: m.Base, Unfinished: m.Open}
	if busy {
		out.Running = &FeedRunning{Phase: lease.Phase, Done: lease.Done, Total: lease.Total}
	}
	document(w, out)
}

// reportFeed is the one wide log line of a snapshot, and its metrics.
func (s *Service) reportFeed(ctx context.Context, v *feedVisit) {
	took := time.Since(v.arrived)
	source, result, level := "unknown", "taken", slog.LevelInfo
	if v.source != nil {
		source = v.source.Name
		s.metrics.bytes.Add(float64(v.bytes), source)
		s.feedRows.Add(float64(v.counts.Rows), source)
	}
	attrs := []slog.Attr{
		slog.String("source", source), slog.Int64("bytes", v.bytes), slog.Float64("seconds", took.Seconds()),
		slog.Int("rows", v.counts.Rows), slog.Int("joined", v.counts.Joined), slog.Int("changed", v.counts.Changed),
		slog.Int("left", v.counts.Left), slog.Int("absent", v.counts.Absent), slog.Int("gone", v.counts.Gone),
	}
	if v.refusal != nil {
		result, level = v.refusal.reason, slog.LevelWarn
		attrs = append(attrs, slog.String("reason", result), slog.Int("status", v.refusal.status))
		if v.refusal.cause != nil {
			attrs = append(attrs, slog.Any("error", v.refusal.cause))
		}
	} else {
		attrs = append(attrs, slog.Bool("dry_run", v.answer.DryRun), slog.Int64("accepted", v.answer.Accepted),
			slog.Int64("duplicates", v.answer.Duplicates), slog.Bool("resumed", v.answer.Resumed))
	}
	s.feedRuns.Add(1, source, result)
	if v.source == nil {
		skipped, write := s.failures.write(v.arrived)
		if !write {
			return
		}
		attrs = append(attrs, slog.Int("skipped", skipped))
	}
	s.tel.Log.LogAttrs(ctx, level, "snapshot received", attrs...)
}
