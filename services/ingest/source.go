package ingest

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/services/ingest/feed"
)

// Source is one configured sender.
type Source struct {
	// Name is lower-case letters, digits, dash and underscore: it becomes part
	// of subjects.
	Name string
	// Credentials admit the source's requests; any one of them does.
	Credentials []Credential
	// Events says what its events mean.
	Events event.Source
	// Feed says what its snapshots may do.
	Feed feed.Settings
	// PublicURL is what stands before /scim/v2 where the source sees it, as in
	// https://joinery.example; without it, what the request says.
	PublicURL string
}

var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// Validate reports everything that is wrong with the source.
func (s Source) Validate() error {
	var errs []error
	if !sourceName.MatchString(s.Name) {
		errs = append(errs, fmt.Errorf("source %q: the name must be lower-case letters, digits, dashes and underscores, at most 63", s.Name))
	}
	if len(s.Credentials) == 0 {
		errs = append(errs, fmt.Errorf("source %q: no credential: anybody could send in its name", s.Name))
	}
	if s.Events.Rules == nil {
		errs = append(errs, fmt.Errorf("source %q: no rules", s.Name))
	}
	for _, c := range s.Credentials {
		if err := c.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("source %q: %w", s.Name, err))
		}
	}
	return errors.Join(errs...)
}

// registry is the sources in force.
type registry struct{ sources []*Source }

func newRegistry(sources []Source) (*registry, error) {
	r := &registry{}
	var errs []error
	for _, s := range sources {
		errs = append(errs, s.Validate())
		if _, twice := r.named(s.Name); twice {
			errs = append(errs, fmt.Errorf("source %q: there are two of that name", s.Name))
		}
		s.Events.Name = s.Name
		r.sources = append(r.sources, &s)
	}
	return r, errors.Join(errs...)
}

func (r *registry) named(name string) (*Source, bool) {
	for _, s := range r.sources {
		if s.Name == name {
			return s, true
		}
	}
	return nil, false
}

// candidates are the sources that a request may come from, judged before its
// body is read: the one that it names, in the header X-Joinery-Source or else
// the query parameter source, or all of them; of these, the ones whose
// credential it presents.
func (r *registry) candidates(req *http.Request) []*Source {
	name := req.Header.Get("X-Joinery-Source")
	if name == "" {
		name = req.URL.Query().Get("source")
	}
	var out []*Source
	for _, s := range r.sources {
		if (name == "" || name == s.Name) && s.presented(req.Header) {
			out = append(out, s)
		}
	}
	return out
}

func (s *Source) presented(h http.Header) bool {
	return slices.ContainsFunc(s.Credentials, func(c Credential) bool { return c.Presented(h) })
}

func (s *Source) admits(h http.Header, body []byte) bool {
	return slices.ContainsFunc(s.Credentials, func(c Credential) bool { return c.Admits(h, body) })
}

// admitting is the candidates that the request is proved to come from.
func admitting(candidates []*Source, h http.Header, body []byte) []*Source {
	var out []*Source
	for _, s := range candidates {
		if s.admits(h, body) {
			out = append(out, s)
		}
	}
	return out
}
