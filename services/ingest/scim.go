package ingest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/services/ingest/directory"
	"github.com/joinery/joinery/services/ingest/provider"
)

const (
	// maxSCIM bounds the SCIM requests at work at a time, and maxScans those of
	// them that look through all resources of a source.
	maxSCIM  = 64
	maxScans = 2
	// scimTimeout bounds one SCIM request: identity providers give up after 30 s
	// or later, and one that we have given up they may send again.
	scimTimeout = 25 * time.Second
)

// scimDoor is what the door for identity providers works with.
type scimDoor struct {
	keep     directory.Keep
	debts    *directory.Debts
	places   chan struct{}
	scans    chan struct{}
	lists    *directory.Lists
	requests *telemetry.Counter
}

func newSCIMDoor(keep directory.Keep, m *telemetry.Metrics) *scimDoor {
	if keep == nil {
		return nil
	}
	owed := m.Gauge("joinery_ingest_scim_owed",
		"Changes of identity providers that are stored and not yet told to the rest of Joinery.")
	return &scimDoor{
		keep: keep, debts: directory.NewDebts(keep, func(n int) { owed.Set(float64(n)) }),
		places: make(chan struct{}, maxSCIM), scans: make(chan struct{}, maxScans), lists: &directory.Lists{},
		requests: m.Counter("joinery_ingest_scim_requests_total",
			"Requests of identity providers by source, endpoint, method and status.", "source", "endpoint", "method", "status"),
	}
}

// scimVisit is one request of an identity provider.
type scimVisit struct {
	arrived time.Time
	source  *Source
	ask     provider.Ask
	bytes   int
	reply   provider.Reply
	refusal *refusal
}

// serveSCIM answers an identity provider. Whatever it is answered with success is
// on disk, and so are the events that follow from it.
func (s *Service) serveSCIM(w http.ResponseWriter, r *http.Request) {
	v := &scimVisit{arrived: time.Now()}
	ctx := telemetry.ExtractHTTP(r.Context(), r.Header)
	v.refusal = s.receiveSCIM(ctx, w, r, v)
	if v.refusal != nil {
		v.reply = provider.Reply{Status: v.refusal.status, Body: &scim.Error{Status: v.refusal.status, Detail: v.refusal.detail}}
		for name, value := range v.refusal.header {
			w.Header().Set(name, value)
		}
	}
	writeSCIM(w, v.reply)
	s.reportSCIM(ctx, v)
}

// receiveSCIM takes one request in. What costs more comes later.
func (s *Service) receiveSCIM(ctx context.Context, w http.ResponseWriter, r *http.Request, v *scimVisit) *refusal {
	src, no := s.identityProvider(r)
	if no != nil {
		return no
	}
	v.source = src
	v.ask = provider.Ask{
		Method: r.Method, Path: r.PathValue("path"), ContentType: r.Header.Get("Content-Type"), Query: r.URL.Query(),
		IfMatch: r.Header.Get("If-Match"), IfNoneMatch: r.Header.Get("If-None-Match"),
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return compressed
	}
	select {
	case s.scim.places <- struct{}{}:
		defer func() { <-s.scim.places }()
	default:
		return overloaded
	}
	if r.Method != http.MethodGet && r.Method != http.MethodDelete {
		body, no := s.read(w, r, provider.MaxBody)
		if no != nil {
			return no
		}
		defer body.release()
		v.ask.Body, v.bytes = body.data, len(body.data)
	}
	// What has begun is done to its end, whether or not the sender still listens.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), scimTimeout)
	defer cancel()
	var err error
	base := s.scimBase(r, src)
	v.reply, err = provider.Provider{Directory: s.directoryOf(src, base), Base: base}.Answer(ctx, v.ask)
	if err != nil {
		return scimUnavailable(err)
	}
	return nil
}

// identityProvider is the source named in the path, where a credential admits the
// request whose proof the body takes no part in: a signature over no body would be
// good for every other request without one.
func (s *Service) identityProvider(r *http.Request) (*Source, *refusal) {
	src, ok := s.sources.Load().named(r.PathValue("source"))
	if !ok || s.scim == nil {
		return nil, unauthorized
	}
	for _, c := range src.Credentials {
		switch c.(type) {
		case Bearer, Basic, JWT:
			if c.Presented(r.Header) && c.Admits(r.Header, nil) {
				return src, nil
			}
		}
	}
	return nil, unproved([]*Source{src}, r.Header)
}

// scimBase is the URL under which the source sees its endpoints. Headers of
// proxies are not believed.
func (s *Service) scimBase(r *http.Request, src *Source) string {
	public := src.PublicURL
	if public == "" {
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		public = scheme + "://" + r.Host
	}
	return strings.TrimRight(public, "/") + "/scim/v2/" + src.Name
}

func (s *Service) directoryOf(src *Source, base string) directory.Directory {
	t := &teller{service: s, source: *src, base: base}
	d := directory.Directory{Source: src.Name, Keep: s.scim.keep, Scans: s.scim.scans, Lists: s.scim.lists, Teller: t}
	t.person = d.Person
	return d
}

// scimUnavailable is the answer where it is not certain that what was asked is done.
func scimUnavailable(err error) *refusal {
	if errors.Is(err, stream.ErrRefused) {
		return &refusal{
			status: http.StatusRequestEntityTooLarge, reason: string(tooLarge),
			detail: "The resource would be too large to be stored.", cause: err,
		}
	}
	no := unavailable(err)
	no.detail = "The request could not be done for certain. Send it again."
	return no
}

func writeSCIM(w http.ResponseWriter, reply provider.Reply) {
	text, err := reply.Encode()
	if err != nil {
		reply = provider.Reply{Status: http.StatusInternalServerError}
	}
	for name, value := range map[string]string{"ETag": reply.ETag, "Location": reply.Location, "Allow": reply.Allow} {
		if value != "" {
			w.Header().Set(name, value)
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	if len(text) > 0 {
		w.Header().Set("Content-Type", "application/scim+json")
	}
	w.WriteHeader(reply.Status)
	// What is done is done; who does not listen asks again.
	_, _ = w.Write(text)
}

// endpoints are the names that metrics know; all others are one.
func endpoints() []string {
	return []string{"Users", "Groups", "ServiceProviderConfig", "ResourceTypes", "Schemas", "Bulk", "Me", ".search"}
}

func (v *scimVisit) labels() (endpoint, method string) {
	endpoint, _, _ = strings.Cut(strings.Trim(v.ask.Path, "/"), "/")
	if !slices.Contains(endpoints(), endpoint) {
		endpoint = "other"
	}
	if method = v.ask.Method; !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, method) {
		method = "other"
	}
	return endpoint, method
}

// reportSCIM is the one wide log line of a request, and its metrics.
func (s *Service) reportSCIM(ctx context.Context, v *scimVisit) {
	took := time.Since(v.arrived)
	endpoint, method := v.labels()
	source, level, reason := "unknown", slog.LevelInfo, ""
	if v.source != nil {
		source = v.source.Name
		s.metrics.bytes.Add(float64(v.bytes), source)
		s.metrics.seconds.Observe(took.Seconds(), source)
		s.scim.requests.Add(1, source, endpoint, method, strconv.Itoa(v.reply.Status))
	}
	attrs := []slog.Attr{
		slog.String("source", source), slog.String("endpoint", endpoint), slog.String("method", method),
		slog.Int("status", v.reply.Status), slog.Int("bytes", v.bytes), slog.Float64("seconds", took.Seconds()),
	}
	if e, refused := v.reply.Body.(*scim.Error); refused {
		level, reason = slog.LevelWarn, "scim_"+strconv.Itoa(e.Status)
		if e.Status == http.StatusNotFound {
			level = slog.LevelInfo // identity providers ask to find out
		}
		attrs = append(attrs, slog.String("scim_type", e.ScimType), slog.Any("attributes", e.Attributes))
	}
	if v.refusal != nil {
		reason = v.refusal.reason
		if v.refusal.cause != nil {
			attrs = append(attrs, slog.Any("error", v.refusal.cause))
		}
	}
	if reason != "" {
		s.metrics.refused.Add(1, source, reason)
		attrs = append(attrs, slog.String("reason", reason))
	}
	if v.source == nil {
		skipped, write := s.failures.write(v.arrived)
		if !write {
			return
		}
		attrs = append(attrs, slog.Int("skipped", skipped))
	}
	s.tel.Log.LogAttrs(ctx, level, "scim request answered", attrs...)
}

// Settle tells, until ctx ends, what changes at the SCIM door owe whose process
// died, or could not reach the broker. It returns at once where there is no door.
func (s *Service) Settle(ctx context.Context) error {
	if s.scim == nil {
		return nil
	}
	of := func(source string) (directory.Directory, bool) {
		src, ok := s.sources.Load().named(source)
		if !ok {
			return directory.Directory{}, false
		}
		return s.directoryOf(src, "/scim/v2/"+source), true
	}
	return s.scim.debts.Run(ctx, of, func(source string, err error) {
		s.tel.Log.WarnContext(ctx, "a change stays owed", "source", source, "error", err)
	})
}
