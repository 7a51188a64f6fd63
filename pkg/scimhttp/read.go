package scimhttp

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/scim"
)

// pageSize is what a list asks for; servers give less as they like.
const pageSize = 100

// Find searches for resources by one attribute. Only those that really have the
// value are given back: some servers ignore filters and return everybody. Where
// that happened and more may be on later pages, it fails: not found must mean
// that it is not there.
func (c *Client) Find(ctx context.Context, kind scim.Kind, attr, value string) ([]scim.Resource, error) {
	filter := scim.Eq(attr, value)
	a, err := c.do(ctx, request{
		method: http.MethodGet, kind: kind, path: "/" + string(kind), limit: maxList,
		query: url.Values{"filter": {filter.String()}, "startIndex": {"1"}, "count": {strconv.Itoa(pageSize)}},
	})
	if err != nil {
		return nil, err
	}
	page, err := a.page()
	if err != nil {
		return nil, fault.Mark(fault.Transient, fmt.Errorf("search by %s: %w", attr, err))
	}
	found := []scim.Resource{}
	for _, r := range page.Resources {
		if has(r, attr, value) {
			found = append(found, r)
		}
	}
	if len(found) == 0 && (len(page.Resources) > 0 || page.Total > 0) {
		return nil, fault.Mark(fault.Permanent, fmt.Errorf("search by %s: %w", attr, ErrFilterIgnored))
	}
	return found, nil
}

// ErrFilterIgnored: the target answered a search with resources that do not
// have the value.
var ErrFilterIgnored = errors.New("the target ignores the filter")

// has tells whether the resource has the value, in any element of a
// multi-valued attribute; text compares without case, as most servers' filters do.
func has(r scim.Resource, attr, value string) bool {
	v, ok := r.Get(attr)
	if !ok {
		return false
	}
	many, isList := v.([]any)
	if !isList {
		many = []any{v}
	}
	for _, e := range many {
		if s, isText := e.(string); isText && strings.EqualFold(s, value) {
			return true
		}
	}
	return false
}

func (a answer) page() (scim.Page, error) {
	page, err := scim.ParsePage(a.body)
	if err != nil {
		// The parser's words may hold values; its kind is enough.
		return page, scim.ErrNotAList
	}
	return page, nil
}

// ErrUnreadable: a listing cannot be trusted to be complete.
var ErrUnreadable = errors.New("the target's listing cannot be read to its end")

// maxPages bounds a listing: ten million resources at the usual page size.
const maxPages = 100_000

// List reads all resources of a kind, page by page. It ends without an error
// only when two signs agree that there are no more: the server's total is
// reached, and a page beyond it is empty or was not promised. Anything else (a
// page that repeats, a total that changes, a page cut short) is an error,
// because what cannot be read must never be treated as missing.
func (c *Client) List(ctx context.Context, kind scim.Kind) iter.Seq2[scim.Resource, error] {
	return func(yield func(scim.Resource, error) bool) {
		l := listing{client: c, kind: kind, seen: map[string]bool{}, total: -1}
		for range maxPages {
			page, err := l.next(ctx)
			if err != nil {
				yield(nil, fault.Mark(fault.KindOf(err), fmt.Errorf("list %s: %w", kind, err)))
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
			if l.done {
				return
			}
		}
		yield(nil, fmt.Errorf("list %s: %w: it does not end", kind, ErrUnreadable))
	}
}

type listing struct {
	client *Client
	kind   scim.Kind
	seen   map[string]bool
	total  int
	cursor string
	done   bool
}

func (l *listing) next(ctx context.Context) ([]scim.Resource, error) {
	query := url.Values{"startIndex": {strconv.Itoa(len(l.seen) + 1)}, "count": {strconv.Itoa(pageSize)}}
	if l.cursor != "" {
		query = url.Values{"cursor": {l.cursor}, "count": {strconv.Itoa(pageSize)}}
	}
	a, err := l.client.do(ctx, request{method: http.MethodGet, kind: l.kind, path: "/" + string(l.kind), query: query, limit: maxList})
	if err != nil {
		return nil, err
	}
	page, err := a.page()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return l.take(page)
}

// take checks a page against what came before.
func (l *listing) take(page scim.Page) ([]scim.Resource, error) {
	if l.total >= 0 && page.Total >= 0 && page.Total != l.total {
		return nil, fmt.Errorf("%w: the total changed from %d to %d", ErrUnreadable, l.total, page.Total)
	}
	l.total = max(l.total, page.Total)
	for _, r := range page.Resources {
		id := r.ID()
		if id == "" {
			return nil, fmt.Errorf("%w: a resource has no id", ErrUnreadable)
		}
		if l.seen[id] {
			return nil, fmt.Errorf("%w: a resource came twice", ErrUnreadable)
		}
		l.seen[id] = true
	}
	l.cursor = page.Next
	switch {
	case l.cursor != "":
		return page.Resources, nil // more is promised, however short the page
	case l.total >= 0 && len(l.seen) > l.total:
		return nil, fmt.Errorf("%w: more resources than the total says", ErrUnreadable)
	case len(page.Resources) == 0 && l.total >= 0 && len(l.seen) < l.total:
		return nil, fmt.Errorf("%w: it ends after %d of %d", ErrUnreadable, len(l.seen), l.total)
	case len(page.Resources) == 0, l.total >= 0 && len(l.seen) == l.total:
		l.done = true
	}
	return page.Resources, nil
}
