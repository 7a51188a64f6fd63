package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
)

// nobody is a value that no user has.
const nobody = "joinery-probe-nobody"

// reach makes sure that there is somebody to ask, who knows us.
func (s *session) reach(ctx context.Context) error {
	x := s.get(ctx, "/Users", "startIndex", "1", "count", "1")
	switch {
	case x.err != nil:
		return fmt.Errorf("%w: %w", ErrUnreachable, x.err)
	case x.is(http.StatusUnauthorized, http.StatusForbidden):
		return fmt.Errorf("%w: it refuses the credential (%d)", ErrUnreachable, x.answer.Status)
	case x.is(http.StatusNotFound):
		return fmt.Errorf("%w: there is no /Users (404); is the endpoint right?", ErrUnreachable)
	}
	if page, ok := x.page(); ok && len(page.Resources) > 0 {
		s.somebody = page.Resources[0]
	}
	return nil
}

// discovery reads what the provider says of itself.
func (s *session) discovery(ctx context.Context) {
	x := s.get(ctx, "/ServiceProviderConfig")
	ok := s.judge(Check{
		ID: "discovery.config", Clause: "RFC 7644 section 4", Title: "ServiceProviderConfig is served",
		Advice: "Serve /ServiceProviderConfig: clients learn from it what they may ask.",
	}, x.is(http.StatusOK) && x.resource() != nil, x)
	if ok {
		s.keep("ServiceProviderConfig", x)
		s.config, _ = scim.ParseServiceProviderConfig(x.answer.Body)
		s.judge(Check{
			ID: "discovery.config.complete", Clause: "RFC 7643 section 5", Title: "it says of patch, bulk, filter, sort, etag and changePassword whether they are supported",
			Advice: "Name every feature with supported: true or false.",
		}, complete(x.resource()), x)
	} else {
		s.quirk("discovery", "none", "there is no ServiceProviderConfig")
	}
	for _, d := range []struct{ id, path, clause, title string }{
		{"discovery.types", "/ResourceTypes", "RFC 7643 section 6", "ResourceTypes lists User with its endpoint and schema"},
		{"discovery.schemas", "/Schemas", "RFC 7643 section 7", "Schemas lists the User schema with its attributes"},
	} {
		x := s.get(ctx, d.path)
		s.judge(Check{ID: d.id, Clause: d.clause, Title: d.title, Advice: "Serve " + d.path + "."}, describes(x, d.path), x)
		if x.is(http.StatusOK) {
			s.keep(strings.TrimPrefix(d.path, "/"), x)
		}
	}
	x = s.send(ctx, scimhttp.Raw{Method: http.MethodGet, Path: "/Users", Anonymous: true, Query: map[string][]string{"count": {"1"}}})
	s.judge(Check{
		ID: "auth.required", Clause: "RFC 7644 section 2", Title: "a request without a credential is answered 401",
		Advice: "Answer 401 with WWW-Authenticate where no credential is sent.",
	}, x.is(http.StatusUnauthorized), x)
	s.judge(Check{
		ID: "auth.challenge", Clause: "RFC 7235 section 4.1", Title: "a 401 names the scheme in WWW-Authenticate", Optional: true,
		Advice: "Send WWW-Authenticate with a 401.",
	}, x.answer.Header.Get("WWW-Authenticate") != "", x)
	x = s.get(ctx, "/Me")
	s.offered(Check{ID: "me", Clause: "RFC 7644 section 3.11", Title: "/Me is served, or refused with 501", Optional: true},
		x.is(http.StatusOK, http.StatusNotImplemented, http.StatusPermanentRedirect), false, x)
}

// keep stores a discovery document for comparing.
func (s *session) keep(name string, x exchange) {
	if json.Valid(x.answer.Body) {
		s.report.Documents[name] = json.RawMessage(x.answer.Body)
	}
}

func complete(r scim.Resource) bool {
	return !slices.ContainsFunc([]string{"patch", "bulk", "filter", "sort", "etag", "changePassword"}, func(name string) bool {
		_, said := r.Get(name + ".supported")
		return !said
	})
}

// describes tells whether a discovery list holds what concerns users.
func describes(x exchange, path string) bool {
	page, ok := x.page()
	if !ok {
		return false
	}
	return slices.ContainsFunc(page.Resources, func(r scim.Resource) bool {
		if path == "/ResourceTypes" {
			schema, _ := r.Get("schema")
			endpoint, _ := r.Get("endpoint")
			return schema == scim.UserSchema && endpoint != nil
		}
		_, attributes := r.Get("attributes")
		return r.ID() == scim.UserSchema && attributes
	})
}

// reading looks at one resource, and at one that is not there.
func (s *session) reading(ctx context.Context) {
	x := s.get(ctx, "/Users/"+nobody)
	missing := s.judge(Check{
		ID: "read.missing", Clause: "RFC 7644 section 3.12", Title: "a user that does not exist is 404",
		Advice: "Answer 404 where the resource does not exist: any other status is taken for a failure.",
	}, x.is(http.StatusNotFound), x)
	doc, err := scim.Parse(x.answer.Body)
	shaped := err == nil && errorDocument(doc)
	s.judge(Check{
		ID: "error.document", Clause: "RFC 7644 section 3.12", Title: "refusals are SCIM error documents",
		Advice: "Send schemas [\"urn:ietf:params:scim:api:messages:2.0:Error\"] with status and detail.",
	}, missing && shaped, x)
	status, _ := doc.Get("status")
	_, text := status.(string)
	s.judge(Check{
		ID: "error.status", Clause: "RFC 7644 section 3.12", Title: "the status in an error document is a string", Optional: true,
		Advice: "Write the status as a JSON string.",
	}, text, x)
	if s.somebody == nil {
		return
	}
	x = s.get(ctx, "/Users/"+s.somebody.ID())
	r := x.resource()
	if !s.judge(Check{
		ID: "read.user", Clause: "RFC 7644 section 3.4.1", Title: "a user is read by its id",
		Advice: "Answer GET /Users/{id} with the resource.",
	}, r != nil && r.ID() == s.somebody.ID(), x) {
		return
	}
	kind, _, _ := mime.ParseMediaType(x.answer.Header.Get("Content-Type"))
	s.judge(Check{
		ID: "read.type", Clause: "RFC 7644 section 3.1", Title: "answers are application/scim+json", Optional: true,
		Advice: "Send Content-Type: application/scim+json.",
	}, kind == "application/scim+json", x)
	_, located := r.Get("meta.location")
	resourceType, _ := r.Get("meta.resourceType")
	s.judge(Check{
		ID: "read.meta", Clause: "RFC 7643 section 3.1", Title: "a resource has meta.resourceType and meta.location",
		Advice: "Fill meta.resourceType and meta.location.",
	}, located && resourceType == "User", x)
	schemas, _ := r.Get("schemas")
	listed, _ := schemas.([]any)
	s.judge(Check{
		ID: "read.schemas", Clause: "RFC 7643 section 3", Title: "a resource names its schemas",
		Advice: "Send schemas with every resource.",
	}, slices.Contains(listed, any(scim.UserSchema)), x)
	s.versions(ctx, x, r)
	s.selections(ctx, r)
}

func errorDocument(doc scim.Resource) bool {
	schemas, _ := doc.Get("schemas")
	listed, _ := schemas.([]any)
	return slices.Contains(listed, any(scim.ErrorSchema))
}

// versions looks at ETags.
func (s *session) versions(ctx context.Context, x exchange, r scim.Resource) {
	version := x.answer.Header.Get("ETag")
	if version == "" {
		version = r.Version()
	}
	ok := s.offered(Check{
		ID: "etag.version", Clause: "RFC 7644 section 3.14", Title: "a resource has a version",
		Advice: "Send ETag and meta.version, or say etag: unsupported.",
	}, version != "", s.config.ETag, x)
	if !ok {
		if s.config.ETag {
			s.quirk("etag", "no", "versions are advertised and not sent")
		}
		return
	}
	again := s.send(ctx, scimhttp.Raw{Method: http.MethodGet, Path: x.request.Path, Header: http.Header{"If-None-Match": {version}}})
	s.offered(Check{
		ID: "etag.unchanged", Clause: "RFC 7644 section 3.14", Title: "If-None-Match of the version is answered 304",
	}, again.is(http.StatusNotModified), false, again)
}

// selections ask for parts of a resource.
func (s *session) selections(ctx context.Context, r scim.Resource) {
	path := "/Users/" + r.ID()
	x := s.get(ctx, path, "attributes", "userName")
	got := x.resource()
	_, name := got.Get("userName")
	_, display := got.Get("name")
	_, mails := got.Get("emails")
	s.judge(Check{
		ID: "select.attributes", Clause: "RFC 7644 section 3.9", Title: "attributes gives only what was asked for, and the id",
		Advice: "Support attributes.", Optional: true,
	}, got != nil && got.ID() == r.ID() && name && !display && !mails, x)
	x = s.get(ctx, path, "excludedAttributes", "userName,emails,name")
	got = x.resource()
	_, mails = got.Get("emails")
	_, display = got.Get("name")
	ok := s.judge(Check{
		ID: "select.excluded", Clause: "RFC 7644 section 3.9", Title: "excludedAttributes leaves out what was named",
		Advice: "Support excludedAttributes: members of large groups are left out by it.", Optional: true,
	}, got != nil && !mails && !display, x)
	if !ok {
		s.quirk("query.excluded_attributes", "unsupported", x.evidence())
	}
}
