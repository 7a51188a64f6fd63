// Package simulator owns a simulated SCIM 2.0 service provider: strict about
// what it is sent, exact about what it did, and able to misbehave on request.
// It serves tests, the demo and `joinery sim`. It shares the SCIM engine with
// the product, but its log of what was committed is its own.
package simulator

import (
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say what the service provider is like.
type Options struct {
	// Token that callers must present; empty asks for none.
	Token string
	// Base is the path in front of every endpoint, such as /scim/v2.
	Base string
	// Public is what stands before Base in locations, such as
	// https://acme.example; empty makes them relative to the host.
	Public string
	// Prefix of the ids it gives, so that two providers' ids differ.
	Prefix string
	// Seed makes its faults repeatable.
	Seed uint64
	// Rate is how many requests it takes per window; 0 takes all.
	Rate   int
	Window time.Duration
	// PageMax is the most resources it gives at a time. Default 100.
	PageMax int
	// Bulk is the most operations of a bulk request; 0 supports none.
	Bulk int
	// NoPatch refuses PATCH with 501.
	NoPatch bool
	// Visibility is how long a new resource stays invisible to filters.
	Visibility time.Duration
	// Behaviour holds the quirks of a vendor.
	Behaviour Behaviour
	// Journal keeps what was committed, one JSON line each, so that a provider
	// can be started again as it was. See Replay.
	Journal io.Writer
	// Control serves /_sim/.
	Control bool
}

// Server is one service provider. It is safe for concurrent use, and answers
// one request at a time, except for waiting.
type Server struct {
	options Options
	mu      sync.Mutex
	store   *store
	faults  *faults
	// bent is the behaviour of the request at hand: the options', changed by
	// the fault that strikes it.
	bent     Behaviour
	record   []Request
	requests int
	taken    []time.Time // arrivals in the current window
	refused  int
	most     int
}

const (
	// maxRecord bounds the log of requests; later ones are only counted.
	maxRecord = 100_000
	// maxBody is far above any honest request: 10,000 members take 1 MB.
	maxBody = 8 << 20
)

// Request is one request as it came.
type Request struct {
	At          time.Time       `json:"at"`
	Method      string          `json:"method"`
	Path        string          `json:"path"` // below Base
	Query       string          `json:"query,omitempty"`
	Traceparent string          `json:"traceparent,omitempty"`
	UserAgent   string          `json:"user_agent,omitempty"`
	IfMatch     string          `json:"if_match,omitempty"`
	ContentType string          `json:"content_type,omitempty"`
	Body        json.RawMessage `json:"body,omitempty"`
	Status      int             `json:"status"` // 0: the answer was lost
	Fault       string          `json:"fault,omitempty"`
	// Committed tells whether it changed anything, whatever was answered.
	Committed bool `json:"committed,omitempty"`
}

// New makes a service provider that holds nothing.
func New(o Options) *Server {
	if o.PageMax == 0 {
		o.PageMax = 100
	}
	if o.Window == 0 {
		o.Window = time.Second
	}
	o.Base = strings.TrimRight(o.Base, "/")
	o.Public = strings.TrimRight(o.Public, "/")
	o.Behaviour.NoPatch = o.Behaviour.NoPatch || o.NoPatch
	if o.Behaviour.PageMax > 0 {
		o.PageMax = o.Behaviour.PageMax
	}
	if o.Behaviour.BulkMax > 0 && o.Bulk > 0 {
		o.Bulk = min(o.Bulk, o.Behaviour.BulkMax)
	}
	o.Behaviour.Visibility = max(o.Behaviour.Visibility, o.Visibility)
	return &Server{options: o, store: newStore(o), faults: newFaults(o.Seed), bent: o.Behaviour}
}

// ask is a request, or one operation of a bulk request.
type ask struct {
	method, path, contentType string
	query                     url.Values
	ifMatch, ifNoneMatch      string
	body                      []byte
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.options.Control && strings.HasPrefix(r.URL.Path, "/_sim/") {
		s.control(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return // the caller is gone
	}
	seen := Request{
		At: time.Now(), Method: r.Method, Path: strings.TrimPrefix(r.URL.Path, s.options.Base), Query: r.URL.RawQuery,
		Traceparent: r.Header.Get("Traceparent"), UserAgent: r.UserAgent(), IfMatch: r.Header.Get("If-Match"),
		ContentType: r.Header.Get("Content-Type"),
	}
	if json.Valid(body) {
		seen.Body = body
	}
	reply := s.answer(r, body, &seen)
	if reply.delay > 0 {
		wait(r, reply.delay)
	}
	s.mu.Lock()
	if !reply.lost {
		seen.Status = reply.status
	}
	s.requests++
	if len(s.record) < maxRecord {
		s.record = append(s.record, seen)
	}
	s.mu.Unlock()
	reply.write(w, r)
}

// wait lets time pass, or the caller go.
func wait(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

// answer decides about one request: who asks, how often, what fault is due, and
// then what was asked.
func (s *Server) answer(r *http.Request, body []byte, seen *Request) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused := s.admit(r, body, seen); refused != nil {
		return s.bent.shape(*refused)
	}
	a := ask{
		method: r.Method, path: s.below(r.URL.Path), contentType: seen.ContentType, query: r.URL.Query(), body: body,
		ifMatch: seen.IfMatch, ifNoneMatch: r.Header.Get("If-None-Match"),
	}
	before := s.store.committed
	defer func() {
		seen.Committed = s.store.committed > before
		s.bent = s.options.Behaviour
	}()
	fault := s.faults.due(r.Method, seen.Path, seen.At)
	if fault == nil {
		return s.bent.shape(s.route(a))
	}
	seen.Fault = fault.Name
	s.bent = fault.bend(s.bent)
	return s.bent.shape(fault.apply(func() reply { return s.route(a) }))
}

// below gives the part of a path below Base; what is elsewhere is no endpoint.
func (s *Server) below(path string) string {
	rest, ok := strings.CutPrefix(path, s.options.Base)
	if !ok || !strings.HasPrefix(rest, "/") {
		return ""
	}
	return rest
}

// admit refuses what is not even looked at, or gives nil.
func (s *Server) admit(r *http.Request, body []byte, seen *Request) *reply {
	var p reply
	switch {
	case !s.authentic(r):
		p = failure(http.StatusUnauthorized, "", "the bearer token is missing or wrong")
		p.header = map[string]string{"WWW-Authenticate": "Bearer"}
	case s.bent.UserAgentRequired && seen.UserAgent == "":
		p = failure(http.StatusForbidden, "", "the User-Agent header is missing")
	case len(body) > maxBody:
		p = failure(http.StatusRequestEntityTooLarge, "", "the body is too large")
	default:
		left := s.limit(seen.At)
		if left <= 0 {
			return nil
		}
		p = failure(http.StatusTooManyRequests, "", "too many requests")
		p.header = map[string]string{"Retry-After": seconds(left)}
	}
	return &p
}

func (s *Server) authentic(r *http.Request) bool {
	if s.options.Token == "" {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(token), []byte(s.options.Token)) == 1
}

// seconds rounds up: who waits so long has waited long enough.
func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// limit counts arrivals in a sliding window, and gives the time until the next
// may come.
func (s *Server) limit(now time.Time) time.Duration {
	if s.options.Rate == 0 {
		return 0
	}
	for len(s.taken) > 0 && now.Sub(s.taken[0]) >= s.options.Window {
		s.taken = s.taken[1:]
	}
	if len(s.taken) >= s.options.Rate {
		s.refused++
		return s.options.Window - now.Sub(s.taken[0])
	}
	s.taken = append(s.taken, now)
	s.most = max(s.most, len(s.taken))
	return 0
}
