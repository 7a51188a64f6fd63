// Package probe owns the question how a service provider keeps to SCIM 2.0: it
// asks, notes clause by clause what was kept, with the evidence, and concludes
// the quirks that a target's configuration needs. It changes nothing unless it
// is told to, and then only resources of its own, which it removes again.
package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
)

// Provider is the service provider that is asked.
type Provider interface {
	Raw(ctx context.Context, r scimhttp.Raw) (scimhttp.RawAnswer, error)
}

// Verdict is what became of one check.
type Verdict string

// The verdicts.
const (
	Kept    Verdict = "kept"
	Broken  Verdict = "not kept"
	Absent  Verdict = "not offered" // optional, and the provider does not say that it does it
	Unknown Verdict = "not known"   // it could not be asked
)

// Check is one clause and how the provider keeps it.
type Check struct {
	// ID is stable: reports are compared by it.
	ID string `json:"id"`
	// Clause is where it is written, as in RFC 7644 section 3.4.2.
	Clause string `json:"clause"`
	Title  string `json:"title"`
	// Optional clauses are no fault where they are not kept.
	Optional bool    `json:"optional,omitempty"`
	Verdict  Verdict `json:"verdict"`
	// Evidence is the request and the answer, without attribute values of people.
	Evidence string `json:"evidence,omitempty"`
	// Advice is what to tell the vendor, where it is not kept.
	Advice string `json:"advice,omitempty"`
}

// Quirk is a setting that the configuration needs, and why.
type Quirk struct {
	Value any    `json:"value"`
	Why   string `json:"why"`
}

// Report is everything that was found out.
type Report struct {
	Target   string           `json:"target"`
	Endpoint string           `json:"endpoint"`
	At       time.Time        `json:"at"`
	Wrote    bool             `json:"wrote"`
	Requests int              `json:"requests"`
	Checks   []Check          `json:"checks"`
	Quirks   map[string]Quirk `json:"quirks"`
	// Documents are the discovery documents as they were, for comparing.
	Documents map[string]json.RawMessage `json:"documents,omitempty"`
	// Left are resources of the probe that could not be removed.
	Left []string `json:"left,omitempty"`
}

// Options say what may be done.
type Options struct {
	Target, Endpoint string
	// Write allows throw-away resources to be made, changed and removed.
	Write bool
	// Mark makes the names of throw-away resources: unlikely to be anybody's.
	Mark string
	// Progress is told of each check as it ends; nil tells nobody.
	Progress func(Check)
	// Settle bounds the wait for a new resource to be found by a search.
	Settle time.Duration
}

// ErrUnreachable: the provider does not answer, or not as one.
var ErrUnreachable = errors.New("no service provider answers there")

// Run asks everything. It fails only where nothing can be asked; what was made is
// removed also when ctx ends on the way.
func Run(ctx context.Context, p Provider, o Options) (Report, error) {
	if o.Settle == 0 {
		o.Settle = 30 * time.Second
	}
	s := &session{provider: p, options: o, report: Report{
		Target: o.Target, Endpoint: o.Endpoint, At: time.Now().UTC(), Wrote: o.Write,
		Checks: []Check{}, Quirks: map[string]Quirk{}, Documents: map[string]json.RawMessage{},
	}}
	if err := s.reach(ctx); err != nil {
		return s.report, err
	}
	s.discovery(ctx)
	s.reading(ctx)
	s.searching(ctx)
	s.paging(ctx)
	if o.Write {
		s.writing(ctx)
	}
	return s.report, ctx.Err()
}

// session is one run.
type session struct {
	provider Provider
	options  Options
	report   Report
	config   scim.ServiceProviderConfig
	// somebody is a user that is there already; nil where there is none.
	somebody scim.Resource
	made     []string // paths of throw-away resources
}

// exchange is one request with its answer.
type exchange struct {
	request scimhttp.Raw
	answer  scimhttp.RawAnswer
	err     error
}

func (s *session) send(ctx context.Context, r scimhttp.Raw) exchange {
	s.report.Requests++
	answer, err := s.provider.Raw(ctx, r)
	return exchange{r, answer, err}
}

func (s *session) get(ctx context.Context, path string, query ...string) exchange {
	values := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		values.Set(query[i], query[i+1])
	}
	return s.send(ctx, scimhttp.Raw{Method: http.MethodGet, Path: path, Query: values})
}

// search asks for users by a filter, as few as answer the question.
func (s *session) search(ctx context.Context, filter string) exchange {
	return s.get(ctx, "/Users", "filter", filter, "startIndex", "1", "count", "10")
}

// is tells whether the answer has one of the statuses.
func (x exchange) is(statuses ...int) bool {
	for _, status := range statuses {
		if x.err == nil && x.answer.Status == status {
			return true
		}
	}
	return false
}

// page reads the answer as a list.
func (x exchange) page() (scim.Page, bool) {
	if !x.is(http.StatusOK) {
		return scim.Page{}, false
	}
	page, err := scim.ParsePage(x.answer.Body)
	return page, err == nil
}

// resource reads the answer as a resource; nil where it is none.
func (x exchange) resource() scim.Resource {
	if x.err != nil || x.answer.Status >= http.StatusMultipleChoices {
		return nil
	}
	r, err := scim.Parse(x.answer.Body)
	if err != nil {
		return nil
	}
	return r
}

// evidence is the exchange without the values of people: of a filter only its
// form, of an answer its status, its kind and its scimType.
func (x exchange) evidence() string {
	line := x.request.Method + " " + shape(x.request.Path)
	if f := x.request.Query.Get("filter"); f != "" {
		line += "?filter=" + form(f)
	}
	for _, name := range []string{"startIndex", "count", "cursor", "attributes", "excludedAttributes", "sortBy"} {
		if v, ok := x.request.Query[name]; ok {
			line += " " + name + "=" + v[0]
		}
	}
	if x.err != nil {
		return line + " -> no answer: " + x.err.Error()
	}
	line += fmt.Sprintf(" -> %d", x.answer.Status)
	if kind := x.answer.Header.Get("Content-Type"); kind != "" {
		line += " " + kind
	}
	if x.answer.Status >= http.StatusBadRequest {
		if said := scim.DecodeError(x.answer.Status, x.answer.Body); said.ScimType != "" {
			line += " " + said.ScimType
		}
	} else if page, ok := x.page(); ok {
		line += fmt.Sprintf(" totalResults=%d resources=%d", page.Total, len(page.Resources))
	}
	return line
}

// shape is a path without the id in it.
func shape(path string) string {
	parts := strings.Split(path, "/")
	if len(parts) == 3 {
		parts[2] = "{id}"
	}
	return strings.Join(parts, "/")
}

// form is a filter without its values.
func form(filter string) string {
	parts := strings.Split(filter, `"`)
	for i := 1; i < len(parts); i += 2 {
		parts[i] = "…"
	}
	return strings.Join(parts, `"`)
}

// note adds a check.
func (s *session) note(c Check) {
	if c.Verdict == Kept {
		c.Advice = ""
	}
	s.report.Checks = append(s.report.Checks, c)
	if s.options.Progress != nil {
		s.options.Progress(c)
	}
}

// judge adds a check that is kept where ok.
func (s *session) judge(c Check, ok bool, x exchange) bool {
	c.Verdict, c.Evidence = Broken, x.evidence()
	switch {
	case ok:
		c.Verdict = Kept
	case x.err != nil:
		c.Verdict = Unknown
	}
	s.note(c)
	return ok
}

// offered adds an optional check: what is neither advertised nor kept is absent.
func (s *session) offered(c Check, ok, advertised bool, x exchange) bool {
	c.Optional = !advertised
	if !ok && !advertised && x.err == nil {
		c.Verdict, c.Evidence, c.Advice = Absent, x.evidence(), ""
		s.note(c)
		return false
	}
	return s.judge(c, ok, x)
}

// quirk concludes a setting.
func (s *session) quirk(name string, value any, why string) {
	s.report.Quirks[name] = Quirk{value, why}
}
