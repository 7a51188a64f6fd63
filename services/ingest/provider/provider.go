// Package provider owns the protocol of the SCIM 2.0 service provider that an
// identity provider finds at the door (RFC 7643, RFC 7644, RFC 9865): what it may
// ask of its directory, and how it is answered. It reads generously what identity
// providers are known to write, and answers strictly. It must not know how
// requests come, who sends them, or what becomes of people.
package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/services/ingest/directory"
)

// The bounds.
const (
	// MaxBody of a request in bytes.
	MaxBody = 1 << 20
	// MaxBulk is the most operations of a bulk request: each waits for the disk,
	// and all of them for one answer.
	MaxBulk = 200
	// MaxPage is the most resources in a page, StandardPage how many there are
	// where nobody says.
	MaxPage      = 500
	StandardPage = 100
	// maxProblems is how many problems a refusal names.
	maxProblems = 5
)

// Provider is the service provider of one source.
type Provider struct {
	Directory directory.Directory
	// Base is the URL before every endpoint, as locations show it.
	Base string
}

// Ask is a request, or one operation of a bulk request.
type Ask struct {
	Method string
	// Path is below Base: /Users/1.
	Path                              string
	ContentType, IfMatch, IfNoneMatch string
	Query                             url.Values
	Body                              []byte
}

// Reply is what goes back.
type Reply struct {
	Status int
	// Body is nil where there is none.
	Body any
	// ETag, Location and Allow are headers, where they are not empty.
	ETag, Location, Allow string
}

// Answer does what is asked. A refusal is a Reply with an *scim.Error; an error
// means that the directory failed, and that the same request should come again.
func (p Provider) Answer(ctx context.Context, a Ask) (Reply, error) {
	reply, err := p.route(ctx, a)
	if errors.Is(err, directory.ErrNotFound) {
		err = &scim.Error{Status: http.StatusNotFound, Detail: "There is no resource with this id."}
	}
	if e := scim.As(err); e != nil {
		return Reply{Status: e.Status, Body: e}, nil
	}
	return reply, err
}

// refuse is a refusal.
func refuse(status int, scimType, detail string) error {
	return &scim.Error{Status: status, ScimType: scimType, Detail: detail}
}

func (p Provider) route(ctx context.Context, a Ask) (Reply, error) {
	endpoint, id, _ := strings.Cut(strings.Trim(a.Path, "/"), "/")
	switch endpoint {
	case string(scim.Users), string(scim.Groups):
		return p.resources(ctx, a, scim.Kind(endpoint), id)
	case "ServiceProviderConfig", "Schemas", "ResourceTypes":
		if a.Method != http.MethodGet {
			return notAllowed(http.MethodGet), nil
		}
		return p.discovery(endpoint, id)
	case ".search":
		if a.Method != http.MethodPost {
			return notAllowed(http.MethodPost), nil
		}
		return p.search(ctx, a, scim.Users, scim.Groups)
	case "Bulk":
		return p.bulk(ctx, a)
	case "Me": // RFC 7644 section 3.11: whoever asks here is no user
		return Reply{}, refuse(http.StatusNotImplemented, "", "The credential belongs to an identity provider, which is no user: there is no /Me.")
	}
	return Reply{}, refuse(http.StatusNotFound, "", "There is no such endpoint. There are Users, Groups, Bulk, .search, ServiceProviderConfig, ResourceTypes and Schemas.")
}

// notAllowed is the answer to a method that an endpoint does not take.
func notAllowed(methods ...string) Reply {
	allow := strings.Join(methods, ", ")
	return Reply{
		Status: http.StatusMethodNotAllowed, Allow: allow,
		Body: &scim.Error{Status: http.StatusMethodNotAllowed, Detail: "The endpoint takes " + allow + "."},
	}
}

var errMediaType = refuse(http.StatusUnsupportedMediaType, "", "The Content-Type must be application/scim+json.")

func (p Provider) resources(ctx context.Context, a Ask, kind scim.Kind, id string) (Reply, error) {
	if a.Method != http.MethodGet && a.Method != http.MethodDelete && !scim.IsMediaType(a.ContentType) {
		return Reply{}, errMediaType
	}
	switch {
	case id == ".search" && a.Method == http.MethodPost:
		return p.search(ctx, a, kind)
	case id == "" && a.Method == http.MethodGet:
		return p.list(ctx, a.Query, kind)
	case id == "" && a.Method == http.MethodPost:
		return p.create(ctx, a, kind)
	case id == ".search":
		return notAllowed(http.MethodPost), nil
	case id == "":
		return notAllowed(http.MethodGet, http.MethodPost), nil
	}
	sel, err := scim.SelectionOf(a.Query["attributes"], a.Query["excludedAttributes"])
	if err != nil {
		return Reply{}, err
	}
	switch a.Method {
	case http.MethodGet:
		return p.get(ctx, a, kind, id, sel)
	case http.MethodPut:
		return p.change(ctx, a, kind, id, sel, replaced)
	case http.MethodPatch:
		return p.change(ctx, a, kind, id, sel, patched)
	case http.MethodDelete:
		err := p.Directory.Delete(ctx, kind, id, func(r directory.Resource) error { return matches(a, r) })
		return Reply{Status: http.StatusNoContent}, err
	}
	return notAllowed(http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete), nil
}

func (p Provider) get(ctx context.Context, a Ask, kind scim.Kind, id string, sel scim.Selection) (Reply, error) {
	r, err := p.Directory.Get(ctx, kind, id)
	if err != nil {
		return Reply{}, err
	}
	if a.IfNoneMatch != "" && r.View().HasVersion(a.IfNoneMatch) {
		return Reply{Status: http.StatusNotModified, ETag: r.ETag()}, nil
	}
	return p.shown(http.StatusOK, r, sel), nil
}

// matches refuses a change of another version than the client has seen (RFC 7644
// section 3.14).
func matches(a Ask, r directory.Resource) error {
	if a.IfMatch != "" && !r.View().HasVersion(a.IfMatch) {
		return refuse(http.StatusPreconditionFailed, "", "The resource was changed in the meantime. Read it again.")
	}
	return nil
}

func (p Provider) create(ctx context.Context, a Ask, kind scim.Kind) (Reply, error) {
	sel, err := scim.SelectionOf(a.Query["attributes"], a.Query["excludedAttributes"])
	if err != nil {
		return Reply{}, err
	}
	body, err := parsed(a.Body)
	if err == nil {
		body, err = accepted(kind, body)
	}
	if err != nil {
		return Reply{}, err
	}
	if _, said := body.Active(); kind == scim.Users && !said {
		body["active"] = true
	}
	made, err := p.Directory.Create(ctx, kind, body)
	if err != nil {
		return Reply{}, err
	}
	return p.shown(http.StatusCreated, made, sel), nil
}

// change does a PUT or a PATCH: next gives the body as it is to be.
func (p Provider) change(
	ctx context.Context, a Ask, kind scim.Kind, id string, sel scim.Selection,
	next func(body []byte, now directory.Resource) (scim.Resource, error),
) (Reply, error) {
	changed, err := p.Directory.Update(ctx, kind, id, func(now directory.Resource) (scim.Resource, error) {
		if err := matches(a, now); err != nil {
			return nil, err
		}
		body, err := next(a.Body, now)
		if err != nil {
			return nil, err
		}
		return accepted(kind, body)
	})
	if err != nil {
		return Reply{}, err
	}
	return p.shown(http.StatusOK, changed, sel), nil
}

// replaced is the body of a PUT. What it does not say of active stays as it is:
// a profile that is sent without it must let nobody in again.
func replaced(body []byte, now directory.Resource) (scim.Resource, error) {
	next, err := parsed(body)
	if err != nil {
		return nil, err
	}
	if _, _, said := active(next); now.Kind == scim.Users && !said {
		next["active"] = now.Body["active"]
	}
	return next, nil
}

// active is the attribute, however it is spelled.
func active(r scim.Resource) (name string, value any, said bool) {
	for name, value := range r {
		if strings.EqualFold(name, "active") && value != nil {
			return name, value, true
		}
	}
	return "active", nil, false
}

// patched is what a PATCH makes of a resource.
func patched(body []byte, now directory.Resource) (scim.Resource, error) {
	ops, err := scim.ParsePatch(body)
	if err != nil {
		return nil, err
	}
	for i, op := range ops {
		ops[i] = understood(now.Kind, op)
	}
	return now.Body.Apply(ops)
}

// understood is an operation as RFC 7644 has it. Identity providers replace what
// is not there yet (Entra ID does so for one e-mail of several), and name members
// with more than their ids.
func understood(kind scim.Kind, op scim.Operation) scim.Operation {
	path, err := scim.ParsePath(op.Path)
	if err == nil && kind == scim.Users && path.Filter != nil && strings.EqualFold(op.Op, "replace") {
		op.Op = "add"
	}
	if kind != scim.Groups {
		return op
	}
	if err == nil && strings.EqualFold(path.Attr, "members") && path.Filter == nil {
		op.Value = onlyIDs(op.Value)
	}
	if m, isMap := op.Value.(map[string]any); isMap && op.Path == "" {
		for name, v := range m {
			if strings.EqualFold(name, "members") {
				m[name] = onlyIDs(v)
			}
		}
	}
	return op
}

func onlyIDs(v any) any {
	elements, isList := v.([]any)
	if !isList {
		if m, isMap := v.(map[string]any); isMap && scim.Resource(m).Text("value") != "" {
			return []any{map[string]any{"value": scim.Resource(m).Text("value")}}
		}
		return v
	}
	out := make([]any, len(elements))
	for i, e := range elements {
		out[i] = e
		if m, isMap := e.(map[string]any); isMap {
			out[i] = map[string]any{"value": scim.Resource(m).Text("value")}
		}
	}
	return out
}

func parsed(body []byte) (scim.Resource, error) {
	r, err := scim.Parse(body)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, scim.InvalidSyntax, err.Error())
	}
	return r, nil
}

// accepted gives a body as it is kept, or says why it is refused. Attributes that
// no schema knows are kept: a mapping may want them. A password never is.
func accepted(kind scim.Kind, r scim.Resource) (scim.Resource, error) {
	r = scim.Conform(kind, r)
	r.Drop("password")
	var problems []string
	for _, problem := range append(scim.Validate(kind, r), scim.Primaries(r)...) {
		if !problem.Unknown() {
			problems = append(problems, problem.String())
		}
	}
	if len(problems) > 0 {
		return nil, refuse(http.StatusBadRequest, scim.InvalidValue, strings.Join(problems[:min(len(problems), maxProblems)], "; "))
	}
	return scim.Writable(kind, r), nil
}

// shown is a resource on its way out.
func (p Provider) shown(status int, r directory.Resource, sel scim.Selection) Reply {
	return Reply{Status: status, Body: sel.Of(p.view(r)), ETag: r.ETag(), Location: p.location(r.Kind, r.ID)}
}

func (p Provider) view(r directory.Resource) scim.Resource {
	out := r.View()
	if meta, ok := out["meta"].(map[string]any); ok {
		meta["location"] = p.location(r.Kind, r.ID)
	}
	for _, m := range out.Members() {
		m["$ref"], m["type"] = p.location(scim.Users, scim.Resource(m).Text("value")), scim.Users.ResourceType()
	}
	return out
}

func (p Provider) location(kind scim.Kind, id string) string {
	return p.Base + "/" + string(kind) + "/" + id
}

// bulk does what a bulk request holds (RFC 7644 section 3.7). An operation that
// the directory failed at is answered 503: it alone should come again.
func (p Provider) bulk(ctx context.Context, a Ask) (Reply, error) {
	if a.Method != http.MethodPost {
		return notAllowed(http.MethodPost), nil
	}
	if !scim.IsMediaType(a.ContentType) {
		return Reply{}, errMediaType
	}
	run, err := scim.ParseBulk(a.Body, MaxBulk)
	if err != nil {
		return Reply{}, err
	}
	return Reply{Status: http.StatusOK, Body: run.Run(func(op scim.BulkOperation) scim.BulkResult {
		reply, err := p.Answer(ctx, Ask{Method: op.Method, Path: op.Path, IfMatch: op.Version, Body: op.Data})
		if err != nil {
			e := &scim.Error{Status: http.StatusServiceUnavailable, Detail: "The operation could not be done for certain. Send it again."}
			return scim.BulkResult{Status: e.Status, Refusal: e}
		}
		made, _ := reply.Body.(scim.Resource)
		return scim.BulkResult{Status: reply.Status, Location: reply.Location, Version: reply.ETag, Made: made.ID(), Refusal: reply.Body}
	})}, nil
}

// discovery answers what RFC 7644 section 4 asks for.
func (p Provider) discovery(endpoint, id string) (Reply, error) {
	if endpoint == "ServiceProviderConfig" {
		return Reply{Status: http.StatusOK, Body: p.config()}, nil
	}
	documents, kind := scim.SchemaDocuments(), "Schema"
	if endpoint == "ResourceTypes" {
		documents, kind = scim.ResourceTypeDocuments(), "ResourceType"
	}
	for _, document := range documents {
		document["meta"] = map[string]any{"resourceType": kind, "location": fmt.Sprintf("%s/%s/%s", p.Base, endpoint, document["id"])}
		if document["id"] == id {
			return Reply{Status: http.StatusOK, Body: document}, nil
		}
	}
	if id != "" {
		return Reply{}, refuse(http.StatusNotFound, "", "There is none of this id.")
	}
	return Reply{Status: http.StatusOK, Body: scim.Listing(documents, len(documents), 1)}, nil
}

func (p Provider) config() map[string]any {
	out := scim.ServiceProviderConfig{
		Patch: true, Bulk: true, Filter: true, Sort: true, ETag: true,
		MaxResults: MaxPage, MaxOperations: MaxBulk, MaxPayload: MaxBody,
	}.Document()
	out["pagination"] = map[string]any{ // RFC 9865 section 4
		"cursor": true, "index": true, "defaultPaginationMethod": "index", "defaultPageSize": StandardPage, "maxPageSize": MaxPage,
	}
	out["meta"] = map[string]any{"resourceType": "ServiceProviderConfig", "location": p.Base + "/ServiceProviderConfig"}
	return out
}

// Encode is the text of a reply's body; nil where there is none.
func (r Reply) Encode() ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	text, err := json.Marshal(r.Body)
	if err != nil {
		return nil, fmt.Errorf("encode an answer: %w", err)
	}
	return text, nil
}
