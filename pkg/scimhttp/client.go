// Package scimhttp owns the HTTP side of SCIM: it is the client that speaks to a
// target's service provider. Every request waits for its token first, every
// answer is bounded, and every failure is marked by pkg/fault with what it
// means (design section 4).
package scimhttp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/telemetry"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Options say how to reach a service provider.
type Options struct {
	// Endpoint is the base URL, such as https://acme.example/scim/v2.
	Endpoint string
	// Auth signs requests; nil sends none.
	Auth Authenticator
	// Transport replaces the safe one (tests).
	Transport http.RoundTripper
	// TLS is how we and the target know each other; nil is the usual.
	TLS *TLS
	// AllowPrivate lets the endpoint be at a private or loopback address.
	AllowPrivate bool
	// Concurrency bounds idle connections that are kept. Default 8.
	Concurrency int
	// Timeout of one request, from dial to the last byte. Default 30 s.
	Timeout time.Duration
	// Wait returns when a request of this cost may be sent; nil means at once.
	Wait func(ctx context.Context, cost int) error
	// Knobs are how the target differs from the RFCs; the zero value does not.
	Knobs profile.Knobs
	// UserAgent names us. Some targets refuse requests without one.
	UserAgent string
	// Observe is told of every request that got an answer or failed.
	Observe func(Call)
	Tracer  trace.Tracer
}

// Call is one request, for metrics.
type Call struct {
	Method   string
	Kind     scim.Kind
	Status   int // 0: no answer
	Duration time.Duration
	Err      error
}

// Bounds on answers.
const (
	maxBody = 1 << 20
	maxList = 16 << 20
	maxID   = 512
)

// Client is a SCIM client of one service provider. It is safe for concurrent use.
type Client struct {
	base    string
	options Options
	http    *http.Client
	lessons Lessons
	// said is what Discover read last.
	said atomic.Pointer[scim.ServiceProviderConfig]
}

// New makes a client.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the endpoint must be an http or https URL without user, query and fragment")
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	o.Concurrency = max(o.Concurrency, 8)
	if o.UserAgent == "" {
		o.UserAgent = "Joinery/1 (SCIM client)"
	}
	if o.Tracer == nil {
		o.Tracer = noop.NewTracerProvider().Tracer("")
	}
	if o.Transport == nil {
		o.Transport = safeTransport(o)
	}
	return &Client{base: strings.TrimRight(o.Endpoint, "/"), options: o, lessons: &memory{}, http: &http.Client{
		Transport: o.Transport, Timeout: o.Timeout,
		// Nothing is ever sent to where a target points: not the token, not the person.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// request is one exchange with the service provider.
type request struct {
	method string
	kind   scim.Kind
	path   string // below the base
	query  url.Values
	etag   string
	body   any
	limit  int64
	// safe: a POST that changes nothing, and may be repeated.
	safe bool
}

// risk is the method by which a failure is judged.
func (r request) risk() string {
	if r.safe {
		return http.MethodGet
	}
	return r.method
}

// answer is what came back, bounded and read to the end.
type answer struct {
	status int
	header http.Header
	body   []byte
	// credential is the Authorization header that was sent.
	credential string
}

// do sends a request, once more after refreshing a credential that was refused.
func (c *Client) do(ctx context.Context, r request) (answer, error) {
	a, err := c.send(ctx, r)
	if a.status == http.StatusUnauthorized {
		if refresher, ok := c.options.Auth.(Refresher); ok && refresher.Refresh(ctx, a.credential) == nil {
			a, err = c.send(ctx, r)
		}
	}
	return a, err
}

func (c *Client) send(ctx context.Context, r request) (answer, error) {
	if c.options.Wait != nil {
		if err := c.options.Wait(ctx, 1); err != nil {
			return answer{}, fmt.Errorf("take a token: %w", err)
		}
	}
	ctx, span := c.options.Tracer.Start(ctx, "SCIM "+r.method+" "+string(r.kind), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("http.request.method", r.method), attribute.String("scim.kind", string(r.kind))))
	defer span.End()
	start := time.Now()
	a, err := c.exchange(ctx, r)
	span.SetAttributes(attribute.Int("http.response.status_code", a.status))
	if err != nil {
		span.SetStatus(codes.Error, fault.KindOf(err).String())
	}
	if c.options.Observe != nil {
		c.options.Observe(Call{Method: r.method, Kind: r.kind, Status: a.status, Duration: time.Since(start), Err: err})
	}
	return a, err
}

func (c *Client) exchange(ctx context.Context, r request) (answer, error) {
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
	})
	req, err := c.build(ctx, r)
	if err != nil {
		return answer{}, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, lost(r.risk(), sent.Load() || !c.tracesWrites(), plainCause(err))
	}
	defer func() { _ = res.Body.Close() }()
	limit := r.limit
	if limit == 0 {
		limit = maxBody
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	a := answer{status: res.StatusCode, header: res.Header, body: body, credential: req.Header.Get("Authorization")}
	if err != nil {
		return a, lost(r.risk(), true, fmt.Errorf("read the answer: %w", plainCause(err)))
	}
	if int64(len(body)) > limit {
		return a, lost(r.risk(), true, fmt.Errorf("the answer is larger than %d bytes", limit))
	}
	return a, classify(r.risk(), a)
}

// tracesWrites tells whether the transport reports what it wrote. One that does
// not is believed to have written.
func (c *Client) tracesWrites() bool {
	switch c.options.Transport.(type) {
	case *http.Transport, *rotating:
		return true
	default:
		return false
	}
}

func (c *Client) build(ctx context.Context, r request) (*http.Request, error) {
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	var body io.Reader
	if r.body != nil {
		data, err := json.Marshal(r.body)
		if err != nil {
			return nil, fault.Mark(fault.Permanent, errors.New("encode a request body"))
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, fault.Mark(fault.Permanent, errors.New("build a request"))
	}
	req.Header.Set("Accept", "application/scim+json, application/json;q=0.9")
	req.Header.Set("User-Agent", c.options.UserAgent)
	if r.body != nil {
		req.Header.Set("Content-Type", c.contentType())
	}
	if r.etag != "" && c.options.Knobs.ETag != "no" {
		req.Header.Set("If-Match", r.etag)
	}
	telemetry.InjectHTTP(ctx, req.Header)
	if c.options.Auth != nil {
		if err := c.options.Auth.Authorize(ctx, req); err != nil {
			return nil, unauthorized(err)
		}
	}
	return req, nil
}

// Get reads a resource.
func (c *Client) Get(ctx context.Context, kind scim.Kind, id string) (scim.Resource, error) {
	return c.get(ctx, kind, id, nil)
}

// Create makes a resource. The result is nil where the target answered without
// one; then it must be searched for. An error marked fault.Unknown means that
// the resource may have been made; *Existing, that the target gave one that was
// there before.
func (c *Client) Create(ctx context.Context, kind scim.Kind, r scim.Resource) (scim.Resource, error) {
	a, err := c.do(ctx, request{method: http.MethodPost, kind: kind, path: "/" + string(kind), body: complete(kind, r)})
	if err != nil {
		return nil, err
	}
	created, err := a.resource()
	if err != nil {
		return nil, fault.Mark(fault.Unknown, err)
	}
	if c.linked(a) {
		return nil, fault.Mark(fault.Conflict, &Existing{Resource: created})
	}
	if created.ID() == "" {
		id := idFrom(a.header.Get("Location"), kind)
		if id == "" {
			return nil, nil //nolint:nilnil // made, but the target did not say what
		}
		return scim.Resource{"id": id}, nil
	}
	return created, nil
}

// Patch changes a resource. The result is nil where the target answered
// without one.
func (c *Client) Patch(ctx context.Context, kind scim.Kind, id, etag string, ops []scim.Operation) (scim.Resource, error) {
	if c.options.Knobs.PatchBody == "resource" && kind == scim.Users {
		bare, err := bareUser(ops)
		if err != nil {
			return nil, err
		}
		return c.change(ctx, http.MethodPatch, kind, id, etag, complete(kind, bare))
	}
	body := map[string]any{"schemas": []string{scim.PatchSchema}, "Operations": ops}
	return c.change(ctx, http.MethodPatch, kind, id, etag, body)
}

// bareUser is operations as the user they make, for a target that reads a PATCH
// so. One without active would be read as inactive, so it is not sent.
func bareUser(ops []scim.Operation) (scim.Resource, error) {
	r := scim.Resource{}
	for _, op := range ops {
		if op.Path == "" || op.Value == nil || r.Set(op.Path, op.Value) != nil {
			return nil, fault.Mark(fault.Unsupported, errors.New("the target's PATCH has no words for this change"))
		}
	}
	if _, said := r.Active(); !said {
		return nil, fault.Mark(fault.Unsupported, errors.New("the target's PATCH would end the user's access with this change"))
	}
	return r, nil
}

// Replace puts a whole resource in the place of another.
func (c *Client) Replace(ctx context.Context, kind scim.Kind, id, etag string, r scim.Resource) (scim.Resource, error) {
	whole := complete(kind, r)
	if active, said := whole.Active(); said && kind == scim.Users {
		for _, name := range c.options.Knobs.PutActiveAs {
			whole[name] = active
		}
	}
	return c.change(ctx, http.MethodPut, kind, id, etag, whole)
}

func (c *Client) change(ctx context.Context, method string, kind scim.Kind, id, etag string, body any) (scim.Resource, error) {
	path, err := resourcePath(kind, id)
	if err != nil {
		return nil, err
	}
	a, err := c.do(ctx, request{method: method, kind: kind, path: path, etag: etag, body: body})
	if err != nil {
		return nil, err
	}
	r, err := a.resource()
	if err != nil {
		return nil, fault.Mark(fault.Transient, err)
	}
	if r.ID() == "" {
		return nil, nil //nolint:nilnil // changed; an answer without a resource is read back by the caller
	}
	if r.ID() != id {
		return nil, fault.Mark(fault.Transient, errors.New("the target answered with another resource than was changed"))
	}
	return r, nil
}

// Delete removes a resource.
func (c *Client) Delete(ctx context.Context, kind scim.Kind, id, etag string) error {
	path, err := resourcePath(kind, id)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, request{method: http.MethodDelete, kind: kind, path: path, etag: etag})
	return err
}

// Discover reads what the service provider says it can do. Where the profile
// knows that it says nothing, one user is read instead.
func (c *Client) Discover(ctx context.Context) (scim.ServiceProviderConfig, error) {
	if c.options.Knobs.Discovery == "none" {
		return c.presume(ctx)
	}
	a, err := c.do(ctx, request{method: http.MethodGet, kind: "ServiceProviderConfig", path: "/" + cmp.Or(c.options.Knobs.ConfigPath, "ServiceProviderConfig")})
	if err != nil {
		return scim.ServiceProviderConfig{}, err
	}
	config, err := scim.ParseServiceProviderConfig(a.body)
	if err == nil {
		c.said.Store(&config)
	}
	return config, fault.Mark(fault.Transient, err)
}

func resourcePath(kind scim.Kind, id string) (string, error) {
	if id == "" || len(id) > maxID || id == "." || id == ".." {
		return "", fault.Mark(fault.Permanent, errors.New("the target's id for the resource cannot be used in a path"))
	}
	return "/" + string(kind) + "/" + url.PathEscape(id), nil
}

// complete adds the schemas that the attributes need, which several targets
// demand.
func complete(kind scim.Kind, r scim.Resource) scim.Resource {
	out := r.Clone()
	schemas := []any{kind.Schema()}
	for name := range r {
		if strings.HasPrefix(strings.ToLower(name), "urn:") {
			schemas = append(schemas, name)
		}
	}
	out["schemas"] = schemas
	delete(out, "meta")
	return out
}

// resource reads the answer's body. An empty body, or an empty object, is nil.
func (a answer) resource() (scim.Resource, error) {
	if len(bytes.TrimSpace(a.body)) == 0 {
		return nil, nil //nolint:nilnil // success without a resource
	}
	if kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type")); strings.Contains(kind, "html") {
		return nil, errors.New("the target answered with a web page")
	}
	r, err := scim.Parse(a.body)
	if err != nil {
		return nil, fmt.Errorf("read the target's answer: %w", scim.ErrMalformed)
	}
	if isErrorDocument(r) {
		return nil, scim.DecodeError(a.status, a.body)
	}
	return r, nil
}

func isErrorDocument(r scim.Resource) bool {
	v, _ := r.Get("schemas")
	schemas, _ := v.([]any)
	for _, s := range schemas {
		if text, _ := s.(string); strings.EqualFold(text, scim.ErrorSchema) {
			return true
		}
	}
	return false
}

// idFrom is the last segment of a Location that points at a resource of the kind.
func idFrom(location string, kind scim.Kind) string {
	u, err := url.Parse(location)
	if err != nil {
		return ""
	}
	_, id, found := strings.Cut(u.EscapedPath(), "/"+string(kind)+"/")
	id, err = url.PathUnescape(strings.TrimRight(id, "/"))
	if !found || err != nil || strings.Contains(id, "/") {
		return ""
	}
	return id
}
