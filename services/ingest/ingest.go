// Package ingest owns the door: it authenticates sources, turns what they send
// into canonical lifecycle events, and answers only when those are stored. It
// decides nothing about people; it must not know what an event leads to.
//
// An answer of 2xx means that every event of the request is on disk at the
// broker. An answer of 4xx means that none of them is, and never will be as it
// stands. An answer of 5xx, or none, means that the sender should send the same
// request again: what was stored after all is recognised and answered as a
// duplicate.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/ingest/directory"
	"golang.org/x/sync/semaphore"
)

// Journal is where accepted events are kept. Its calls return when the broker
// has the events on disk. An error that is not ErrStored means that nothing is
// known: they may be stored or not.
type Journal interface {
	// Add stores one event, unless its id is there already.
	Add(ctx context.Context, e *joineryv1.LifecycleEvent) (stored bool, err error)
	// AddAll stores all entries or none. It fails with ErrStored, and stores
	// none, where the id of any of them is there already.
	AddAll(ctx context.Context, entries []Entry) error
	// Find is the event that is stored under the id of e, or ErrNotStored.
	Find(ctx context.Context, e *joineryv1.LifecycleEvent) (Stored, error)
}

// Entry is an event with the trace that it travels in.
type Entry struct {
	Context context.Context
	Event   *joineryv1.LifecycleEvent
}

// Stored is an event as the journal holds it.
type Stored struct {
	Event *joineryv1.LifecycleEvent
	// Trace is the W3C trace id under which it was accepted, or "".
	Trace string
}

// What a Journal says of ids.
var (
	ErrStored    = errors.New("an event of that id is stored already")
	ErrNotStored = errors.New("no event of that id is stored")
)

// Deps are what the service works with.
type Deps struct {
	Journal   Journal
	Telemetry *telemetry.Telemetry
	// Feeds keeps the last good snapshots; without it none are taken in.
	Feeds *FeedStore
	// Cases puts refused snapshots before a person.
	Cases Cases
	// Spool is the folder in which snapshots lie while they are taken in; empty is
	// the system's for temporary files.
	Spool string
	// Directory keeps the resources of identity providers; without it none is
	// served.
	Directory directory.Keep
}

// Cases puts what the door refuses before a person.
type Cases interface {
	DeadLetter(ctx context.Context, d *joineryv1.DeadLetter) error
}

// Service is the door. It is safe for concurrent use.
type Service struct {
	journal Journal
	tel     *telemetry.Telemetry
	metrics metrics
	sources atomic.Pointer[registry]
	// held is the room left for request bodies, batches the places left for
	// batches on their way to the broker, sets those for security event tokens.
	held     *semaphore.Weighted
	batches  chan struct{}
	sets     chan struct{}
	failures *sampler

	feeds *FeedStore
	cases Cases
	// spoolDir holds snapshots, feedPlaces bounds how many.
	spoolDir   string
	feedPlaces chan struct{}
	feedRuns   *telemetry.Counter
	feedRows   *telemetry.Counter

	// scim is nil where no identity provider is served.
	scim *scimDoor
}

// maxHeld bounds the bodies held in memory at a time, over all requests. Read
// into an event, a body takes up to ten times its size. Beyond it requests are
// answered 503.
const maxHeld = 32 << 20

// maxBatches bounds the batches on their way to the broker, which takes 50 at a
// time for a stream from all replicas together and refuses the next.
const maxBatches = 12

// New makes a door for the sources. It fails with everything that is wrong with them.
func New(sources []Source, deps Deps) (*Service, error) {
	s := &Service{
		journal: deps.Journal, tel: deps.Telemetry, metrics: newMetrics(deps.Telemetry.Metrics),
		held: semaphore.NewWeighted(maxHeld), batches: make(chan struct{}, maxBatches),
		sets: make(chan struct{}, maxSETs), failures: &sampler{every: time.Second},
		feeds: deps.Feeds, cases: deps.Cases, spoolDir: deps.Spool, feedPlaces: make(chan struct{}, maxFeeds),
		feedRuns: deps.Telemetry.Metrics.Counter("joinery_ingest_feeds_total",
			"Snapshots by source and what became of them: taken, or why they were refused.", "source", "result"),
		feedRows: deps.Telemetry.Metrics.Counter("joinery_ingest_feed_rows_total", "Rows of snapshots read, by source.", "source"),
		scim:     newSCIMDoor(deps.Directory, deps.Telemetry.Metrics),
	}
	if err := s.Reload(sources); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload puts other sources in force, all or none: where anything is wrong with
// them, it fails with all of it and changes nothing. Requests that have begun
// end as they began.
func (s *Service) Reload(sources []Source) error {
	r, err := newRegistry(sources)
	if err != nil {
		return fmt.Errorf("take over sources: %w", err)
	}
	s.sources.Store(r)
	return nil
}

// Handler serves the HTTP doors: POST /v1/events, /v1/sets/{source} for
// security event tokens, PUT /v1/feeds/{source} for whole snapshots, and
// /scim/v2/{source}/ for identity providers.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/events", s.serveEvents)
	mux.HandleFunc("/v1/sets/{source}", s.serveSET)
	mux.HandleFunc("/v1/feeds/{source}", s.serveFeed)
	mux.HandleFunc("/scim/v2/{source}/{path...}", s.serveSCIM)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { write(w, noSuchPath) })
	return mux
}

// Status is what became of an accepted event.
type Status string

const (
	// Accepted means that the event is stored now.
	Accepted Status = "accepted"
	// Duplicate means that the event was stored before.
	Duplicate Status = "duplicate"
)

// Result is the answer for one accepted event.
type Result struct {
	// ID is Joinery's id of the event.
	ID string `json:"id"`
	// Trace is the W3C trace id under which the event is followed.
	Trace  string `json:"trace,omitempty"`
	Status Status `json:"status"`
}

// ErrUnknownSource is returned for a source that is not configured.
var ErrUnknownSource = errors.New("source is not configured")

// Accept stores the events of an authenticated source, all or none, and says
// for each, in order, what became of it. It serves every door. It fails with
// event.Problems where the source must change something; with any other error
// the same events should be sent again.
func (s *Service) Accept(ctx context.Context, source string, events []event.Event) ([]Result, error) {
	src, ok := s.sources.Load().named(source)
	if !ok {
		return nil, fmt.Errorf("accept events of %q: %w", source, ErrUnknownSource)
	}
	return s.accept(ctx, src, events, time.Now())
}
