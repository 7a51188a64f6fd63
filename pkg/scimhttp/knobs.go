package scimhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/scim"
)

// ErrNotAsked: the profile says that the target cannot be searched by this
// attribute, so it was not asked.
var ErrNotAsked = errors.New("the target cannot be searched by this attribute")

// Existing is the error of a create that made nothing, because the target gave
// the resource that has the name already (create.on_existing: link). It is
// marked fault.Conflict.
type Existing struct {
	// Resource is the one that exists, as the target showed it.
	Resource scim.Resource
}

// Error does not show the resource.
func (*Existing) Error() string { return "the target already has this resource, and gave it" }

// Pages are as large as the profile says, at most this: larger ones take longer
// than a request may, and more memory than an answer may.
const maxPageSize = 1000

// pageSize is what a list asks for where nothing is known; servers give less as
// they like.
const pageSize = 100

func (c *Client) pageSize() int {
	if known := c.options.Knobs.PageMax; known > 0 {
		return min(known, maxPageSize)
	}
	return pageSize
}

// contentType is the media type of request bodies.
func (c *Client) contentType() string {
	if known := c.options.Knobs.ContentType; known != "" {
		return known
	}
	return "application/scim+json"
}

// searchable tells whether the target can be searched by the attribute, as far
// as is known.
func (c *Client) searchable(kind scim.Kind, attr string) bool {
	k := c.options.Knobs
	known := k.UserFilters
	if kind == scim.Groups {
		known = k.GroupFilters
	}
	return !named(k.FilterRefused, attr) && (len(known) == 0 || named(known, attr))
}

func named(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// resourcesKey is the name of the list of resources.
func (c *Client) resourcesKey() string {
	if known := c.options.Knobs.ResourcesKey; known != "" {
		return known
	}
	return "Resources"
}

// first is the query of the first page.
func (c *Client) first() url.Values {
	switch c.options.Knobs.PageStyle {
	case "none":
		return url.Values{}
	case "cursor":
		return url.Values{"cursor": {""}, "count": {strconv.Itoa(c.pageSize())}}
	}
	return url.Values{"startIndex": {"1"}, "count": {strconv.Itoa(c.pageSize())}}
}

// presume stands for discovery where there is none: a list of one user shows
// that the target answers, and what it can do is the profile's to say.
func (c *Client) presume(ctx context.Context) (scim.ServiceProviderConfig, error) {
	query := c.first()
	if query.Has("count") {
		query.Set("count", "1")
	}
	a, err := c.do(ctx, request{method: http.MethodGet, kind: scim.Users, path: "/Users", query: query, limit: maxList})
	if err != nil {
		return scim.ServiceProviderConfig{}, err
	}
	if _, err := c.page(a); err != nil {
		return scim.ServiceProviderConfig{}, fault.Mark(fault.Transient, fmt.Errorf("read one user: %w", err))
	}
	k := c.options.Knobs
	return scim.ServiceProviderConfig{
		Patch: k.Update == "" || k.Update == "patch", Filter: true, MaxResults: k.PageMax, Cursor: k.PageStyle == "cursor",
	}, nil
}

// linked tells a create that was answered with a resource that was there before.
func (c *Client) linked(a answer) bool {
	k := c.options.Knobs
	return k.OnExisting == "link" && a.status == http.StatusOK && k.CreateStatus != http.StatusOK
}
