// Package simulator owns a simulated SCIM 2.0 service provider: strict about
// what it is sent, exact about what it did, and able to misbehave on request.
// It serves tests, the demo and `joinery sim`. It shares the SCIM engine with
// the product, but its log of what was committed is its own.
package simulator

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/scim"
)

// Options say what the service provider is like.
type Options struct {
	// Token that callers must present; empty asks for none.
	Token string
	// Base is the path in front of every endpoint, such as /scim/v2.
	Base string
	// Prefix of the ids it gives, so that two providers' ids differ.
	Prefix string
	// Seed makes its faults repeatable.
	Seed uint64
	// Rate is how many requests it takes per window; 0 takes all.
	Rate   int
	Window time.Duration
	// PageMax is the most resources it gives at a time. Default 100.
	PageMax int
	// NoPatch refuses PATCH with 501.
	NoPatch bool
	// Visibility is how long a new resource stays invisible to filters.
	Visibility time.Duration
	// Journal keeps what was committed, one JSON line each, so that a provider
	// can be started again as it was. See Replay.
	Journal io.Writer
	// Control serves /_sim/.
	Control bool
}

// Server is one service provider.
type Server struct {
	options Options
	mu      sync.Mutex
	store   *store
	faults  *faults
	record  []Request
	taken   []time.Time // arrivals in the current window
	refused int
	most    int
}

// maxRecord bounds the log of requests.
const maxRecord = 100_000

// Request is one request as it came.
type Request struct {
	At          time.Time       `json:"at"`
	Method      string          `json:"method"`
	Path        string          `json:"path"`
	Query       string          `json:"query,omitempty"`
	Traceparent string          `json:"traceparent,omitempty"`
	UserAgent   string          `json:"user_agent,omitempty"`
	IfMatch     string          `json:"if_match,omitempty"`
	Body        json.RawMessage `json:"body,omitempty"`
	Status      int             `json:"status"` // 0: the answer was lost
	Fault       string          `json:"fault,omitempty"`
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
	return &Server{options: o, store: newStore(o), faults: newFaults(o.Seed)}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.options.Control && strings.HasPrefix(r.URL.Path, "/_sim/") {
		s.control(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return // the caller is gone
	}
	seen := Request{
		At: time.Now(), Method: r.Method, Path: strings.TrimPrefix(r.URL.Path, s.options.Base), Query: r.URL.RawQuery,
		Traceparent: r.Header.Get("Traceparent"), UserAgent: r.UserAgent(), IfMatch: r.Header.Get("If-Match"),
	}
	if json.Valid(body) {
		seen.Body = body
	}
	reply := s.answer(r, body, &seen)
	if reply.delay > 0 {
		select {
		case <-time.After(reply.delay):
		case <-r.Context().Done():
		}
	}
	s.mu.Lock()
	if !reply.lost {
		seen.Status = reply.status
	}
	if len(s.record) < maxRecord {
		s.record = append(s.record, seen)
	}
	s.mu.Unlock()
	reply.write(w)
}

// reply is what goes back.
type reply struct {
	status  int
	body    any
	header  map[string]string
	raw     string
	lost    bool
	delay   time.Duration
	forHTML bool
}

func (p reply) write(w http.ResponseWriter) {
	if p.lost {
		panic(http.ErrAbortHandler) // net/http ends the connection without an answer
	}
	for name, value := range p.header {
		w.Header().Set(name, value)
	}
	switch {
	case p.forHTML:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(p.status)
		_, _ = io.WriteString(w, p.raw)
	case p.body == nil:
		w.WriteHeader(p.status)
	default:
		w.Header().Set("Content-Type", "application/scim+json")
		w.WriteHeader(p.status)
		_ = json.NewEncoder(w).Encode(p.body)
	}
}

func failure(status int, scimType, detail string) reply {
	return reply{status: status, body: &scim.Error{Status: status, ScimType: scimType, Detail: detail}}
}

func failed(err error) reply {
	var e *scim.Error
	if errors.As(err, &e) {
		return failure(e.Status, e.ScimType, e.Detail)
	}
	return failure(http.StatusInternalServerError, "", "the simulator failed")
}

// answer decides about one request: who asks, how often, what fault is due, and
// then what was asked.
func (s *Server) answer(r *http.Request, body []byte, seen *Request) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token := s.options.Token; token != "" {
		got := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(got), []byte(token)) != 1 {
			return failure(http.StatusUnauthorized, "", "the bearer token is missing or wrong")
		}
	}
	if wait := s.limit(seen.At); wait > 0 {
		p := failure(http.StatusTooManyRequests, "", "too many requests")
		p.header = map[string]string{"Retry-After": strconv.Itoa(int((wait + time.Second - 1) / time.Second))}
		return p
	}
	fault := s.faults.due(r.Method, seen.Path, seen.At)
	if fault == nil {
		return s.route(r, seen.Path, body)
	}
	seen.Fault = fault.Name
	return fault.apply(func() reply { return s.route(r, seen.Path, body) })
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

func (s *Server) route(r *http.Request, path string, body []byte) reply {
	kind, id, _ := strings.Cut(strings.Trim(path, "/"), "/")
	switch kind {
	case "Users", "Groups":
		return s.resources(r, scim.Kind(kind), id, body)
	case "ServiceProviderConfig", "Schemas", "ResourceTypes":
		if r.Method != http.MethodGet {
			return failure(http.StatusMethodNotAllowed, "", "read only")
		}
		return s.discovery(kind, id)
	case "Me":
		return failure(http.StatusNotImplemented, "", "there is no /Me here")
	}
	return failure(http.StatusNotFound, "", "there is no such endpoint")
}

func (s *Server) resources(r *http.Request, kind scim.Kind, id string, body []byte) reply {
	switch {
	case id == ".search" && r.Method == http.MethodPost:
		return s.search(kind, body)
	case id == "" && r.Method == http.MethodGet:
		q := r.URL.Query()
		return s.list(kind, q.Get("filter"), q.Get("startIndex"), q.Get("count"))
	case id == "" && r.Method == http.MethodPost:
		return s.create(kind, body)
	case id == "":
		return failure(http.StatusMethodNotAllowed, "", "a collection takes GET and POST")
	}
	current, ok := s.store.get(kind, id)
	if !ok {
		return failure(http.StatusNotFound, "", fmt.Sprintf("%s %s was not found", kind, id))
	}
	if r.Method == http.MethodGet {
		return s.shown(http.StatusOK, current)
	}
	if want := r.Header.Get("If-Match"); want != "" && want != "*" && want != current.Version() {
		return failure(http.StatusPreconditionFailed, "", "the resource was changed in the meantime")
	}
	return s.change(r.Method, kind, current, body)
}

func (s *Server) change(method string, kind scim.Kind, current scim.Resource, body []byte) reply {
	switch method {
	case http.MethodDelete:
		if err := s.store.remove(kind, current); err != nil {
			return failed(err)
		}
		return reply{status: http.StatusNoContent}
	case http.MethodPut:
		next, err := s.read(kind, body)
		if err != nil {
			return failed(err)
		}
		return s.put(kind, current, next)
	case http.MethodPatch:
		if s.options.NoPatch {
			return failure(http.StatusNotImplemented, "", "PATCH is not supported")
		}
		ops, err := scim.ParsePatch(body)
		if err != nil {
			return failed(err)
		}
		next, err := current.Apply(ops)
		if err != nil {
			return failed(err)
		}
		return s.put(kind, current, declared(next))
	}
	return failure(http.StatusMethodNotAllowed, "", "a resource takes GET, PUT, PATCH and DELETE")
}

func (s *Server) put(kind scim.Kind, current, next scim.Resource) reply {
	if problems := scim.Validate(kind, next); len(problems) > 0 {
		return failure(http.StatusBadRequest, scim.InvalidValue, problems[0].String())
	}
	stored, err := s.store.update(kind, current, next)
	if err != nil {
		return failed(err)
	}
	return s.shown(http.StatusOK, stored)
}

func (s *Server) read(kind scim.Kind, body []byte) (scim.Resource, error) {
	r, err := scim.Parse(body)
	if err != nil {
		return nil, &scim.Error{Status: http.StatusBadRequest, ScimType: scim.InvalidSyntax, Detail: err.Error()}
	}
	if problems := scim.Validate(kind, r); len(problems) > 0 {
		return nil, &scim.Error{Status: http.StatusBadRequest, ScimType: scim.InvalidValue, Detail: problems[0].String()}
	}
	return r, nil
}

// declared names the extensions that a PATCH has added among the schemas.
func declared(r scim.Resource) scim.Resource {
	schemas, _ := r["schemas"].([]any)
	for name := range r {
		if !strings.HasPrefix(strings.ToLower(name), "urn:") {
			continue
		}
		known := false
		for _, s := range schemas {
			text, _ := s.(string)
			known = known || strings.EqualFold(text, name)
		}
		if !known {
			schemas = append(schemas, name)
		}
	}
	r["schemas"] = schemas
	return r
}

func (s *Server) create(kind scim.Kind, body []byte) reply {
	r, err := s.read(kind, body)
	if err != nil {
		return failed(err)
	}
	stored, err := s.store.create(kind, r)
	if err != nil {
		return failed(err)
	}
	return s.shown(http.StatusCreated, stored)
}

// shown is a resource on its way out: without what is never returned.
func (s *Server) shown(status int, r scim.Resource) reply {
	out := r.Clone()
	delete(out, "password")
	header := map[string]string{"ETag": r.Version()}
	if location, ok := r.Get("meta.location"); ok {
		header["Location"], _ = location.(string)
	}
	return reply{status: status, body: out, header: header}
}

func (s *Server) search(kind scim.Kind, body []byte) reply {
	r, err := scim.Parse(body)
	if err != nil {
		return failure(http.StatusBadRequest, scim.InvalidSyntax, err.Error())
	}
	filter, _ := r["filter"].(string)
	text := func(name string) string {
		if n, ok := r[name].(json.Number); ok {
			return n.String()
		}
		return ""
	}
	return s.list(kind, filter, text("startIndex"), text("count"))
}

func (s *Server) list(kind scim.Kind, filter, startIndex, count string) reply {
	start, errStart := atLeast(startIndex, 1)
	size, errCount := atLeast(count, s.options.PageMax)
	if errStart != nil || errCount != nil {
		return failure(http.StatusBadRequest, scim.InvalidValue, "startIndex and count must be numbers")
	}
	var f scim.Filter
	if filter != "" {
		var err error
		if f, err = scim.ParseFilter(filter); err != nil {
			return failed(err)
		}
	}
	all := s.store.matching(kind, f)
	size = min(max(size, 0), s.options.PageMax)
	from := min(max(start, 1)-1, len(all))
	page := all[from:min(from+size, len(all))]
	out := make([]any, 0, len(page))
	for _, r := range page {
		out = append(out, s.shown(0, r).body)
	}
	return reply{status: http.StatusOK, body: map[string]any{
		"schemas": []string{scim.ListSchema}, "totalResults": len(all), "startIndex": max(start, 1),
		"itemsPerPage": len(out), "Resources": out,
	}}
}

func atLeast(s string, otherwise int) (int, error) {
	if s == "" {
		return otherwise, nil
	}
	return strconv.Atoi(s)
}
