package scimhttp

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
)

// query asks for resources. A filter holds personal values, which must not be in
// URLs where that can be helped: others log them. Where the target has POST
// /.search (RFC 7644 section 3.4.3), filters go there:
//
//	POST .search gives   then
//	405, 501             it is learned that there is none, and GET asks
//	404                  GET asks; where that finds a list, it is learned likewise
//	anything else        that is the answer
func (c *Client) query(ctx context.Context, kind scim.Kind, values url.Values) (answer, error) {
	get := request{method: http.MethodGet, kind: kind, path: "/" + string(kind), query: values, limit: maxList}
	if !values.Has("filter") || c.options.Knobs.SearchBy != "post" || c.lessons.Knows(searchBy, "get") {
		return c.do(ctx, get)
	}
	a, err := c.do(ctx, request{
		method: http.MethodPost, kind: kind, path: "/" + string(kind) + "/.search", body: searchRequest(values), limit: maxList, safe: true,
	})
	status := a.status
	switch status {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		c.lessons.Learn(ctx, searchBy, "get", fmt.Sprintf("POST /%s/.search: %d", kind, status))
		return c.do(ctx, get)
	case http.StatusNotFound:
		if a, err = c.do(ctx, get); err == nil {
			c.lessons.Learn(ctx, searchBy, "get", fmt.Sprintf("POST /%s/.search: %d", kind, status))
		}
	}
	return a, err
}

// searchRequest is a query as the body of a search (RFC 7644 section 3.4.3).
func searchRequest(values url.Values) map[string]any {
	body := map[string]any{"schemas": []string{scim.SearchSchema}}
	for name := range values {
		text := values.Get(name)
		switch name {
		case "startIndex", "count":
			if n, err := strconv.Atoi(text); err == nil {
				body[name] = n
			}
		case "attributes", "excludedAttributes":
			body[name] = strings.Split(text, ",")
		default:
			body[name] = text
		}
	}
	return body
}
