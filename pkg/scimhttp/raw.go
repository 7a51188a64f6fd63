package scimhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/joinery/joinery/pkg/fault"
)

// Raw is a request as it is, for whoever must know exactly what a service
// provider answers. It waits for its token, and goes through the same dialer.
type Raw struct {
	Method string
	// Path is below the endpoint, as in /Users.
	Path  string
	Query url.Values
	// Header is added to the usual ones, in their place where they have one.
	Header http.Header
	// Body is sent as JSON; nil sends none.
	Body any
	// Anonymous sends no credential.
	Anonymous bool
}

// RawAnswer is what came back, whatever it means.
type RawAnswer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Raw sends a request and gives the answer, also where it is a refusal. It fails
// only where there is no answer, or one that is larger than 16 MiB.
func (c *Client) Raw(ctx context.Context, r Raw) (RawAnswer, error) {
	if c.options.Wait != nil {
		if err := c.options.Wait(ctx, 1); err != nil {
			return RawAnswer{}, fmt.Errorf("take a token: %w", err)
		}
	}
	req, err := c.rawRequest(ctx, r)
	if err != nil {
		return RawAnswer{}, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return RawAnswer{}, fault.Mark(fault.Transient, plainCause(err))
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxList+1))
	if err == nil && len(body) > maxList {
		err = fmt.Errorf("the answer is larger than %d bytes", maxList)
	}
	if err != nil {
		return RawAnswer{}, fault.Mark(fault.Transient, fmt.Errorf("read the answer: %w", plainCause(err)))
	}
	return RawAnswer{Status: res.StatusCode, Header: res.Header, Body: body}, nil
}

func (c *Client) rawRequest(ctx context.Context, r Raw) (*http.Request, error) {
	target := c.base + r.Path
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	var body io.Reader
	if r.Body != nil {
		data, err := json.Marshal(r.Body)
		if err != nil {
			return nil, fault.Mark(fault.Permanent, errors.New("encode a request body"))
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, body)
	if err != nil {
		return nil, fault.Mark(fault.Permanent, errors.New("build a request"))
	}
	req.Header.Set("Accept", "application/scim+json, application/json;q=0.9")
	req.Header.Set("User-Agent", c.options.UserAgent)
	if r.Body != nil {
		req.Header.Set("Content-Type", "application/scim+json")
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	if !r.Anonymous && c.options.Auth != nil {
		if err := c.options.Auth.Authorize(ctx, req); err != nil {
			return nil, unauthorized(err)
		}
	}
	return req, nil
}
