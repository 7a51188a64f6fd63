package scimhttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"strings"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/scim"
)

// Find searches for resources by one attribute. Only those that really have the
// value are given back: some servers ignore filters and return everybody. Where
// that happened and more may be on later pages, it fails: not found must mean
// that it is not there. Where the profile says that such a search does not work,
// it fails with ErrNotAsked, marked fault.Unsupported, without a request.
func (c *Client) Find(ctx context.Context, kind scim.Kind, attr, value string) ([]scim.Resource, error) {
	if !c.searchable(kind, attr) {
		return nil, fault.Mark(fault.Unsupported, fmt.Errorf("search by %s: %w", attr, ErrNotAsked))
	}
	query := c.first()
	asked := attr
	if attr == "userName" && kind == scim.Users {
		asked = cmp.Or(c.options.Knobs.UserNameAs, attr)
	}
	query.Set("filter", scim.Eq(asked, value).String())
	a, err := c.query(ctx, kind, query)
	if err != nil {
		return nil, err
	}
	page, err := c.page(a)
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

func (c *Client) page(a answer) (scim.Page, error) {
	page, err := scim.ParsePageOf(a.body, c.resourcesKey())
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
// only when two signs agree that there are no more:
//
//	paged by index    the total is reached, and the page is short or the next one empty
//	                  (or refused); without a total, a page is empty
//	paged by cursor   no cursor follows, and the total, where given, is reached
//	not paged         the total, where given, is reached
//
// Anything else (a page that repeats, a total or a cursor that does not move as
// it should, a page cut short) is an error, because what cannot be read must
// never be treated as missing.
func (c *Client) List(ctx context.Context, kind scim.Kind) iter.Seq2[scim.Resource, error] {
	return c.list(ctx, kind, nil)
}

// list reads all resources that a query, in addition to the paging, gives.
func (c *Client) list(ctx context.Context, kind scim.Kind, extra url.Values) iter.Seq2[scim.Resource, error] {
	return func(yield func(scim.Resource, error) bool) {
		l := listing{client: c, kind: kind, extra: extra, seen: map[string]bool{}, total: -1}
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
	extra  url.Values
	seen   map[string]bool
	total  int
	cursor string // of the next page
	done   bool
}

func (l *listing) next(ctx context.Context) ([]scim.Resource, error) {
	a, err := l.client.query(ctx, l.kind, l.query())
	if err != nil && l.reached() && fault.Is(err, fault.Permanent) {
		l.done = true // some refuse to go beyond the end
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	page, err := l.client.page(a)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return l.take(page)
}

func (l *listing) query() url.Values {
	query := l.client.first()
	switch {
	case l.cursor != "":
		query.Del("startIndex")
		query.Set("cursor", l.cursor)
	case query.Has("startIndex"):
		query.Set("startIndex", strconv.Itoa(len(l.seen)+1))
	}
	for name, values := range l.extra {
		query[name] = values
	}
	return query
}

func (l *listing) reached() bool { return l.total >= 0 && len(l.seen) == l.total }

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
	return page.Resources, l.end(page)
}

// end tells whether this page is the last.
func (l *listing) end(page scim.Page) error {
	style, before := l.client.options.Knobs.PageStyle, l.cursor
	l.cursor = page.Next
	switch {
	case l.total >= 0 && len(l.seen) > l.total:
		return fmt.Errorf("%w: more resources than the total says", ErrUnreadable)
	case l.cursor != "" && l.cursor == before:
		return fmt.Errorf("%w: the cursor stays where it is", ErrUnreadable)
	case l.cursor != "":
		return nil // more is promised, however short the page
	case before != "" || style == "cursor" || style == "none" || len(page.Resources) == 0:
		if l.total >= 0 && len(l.seen) < l.total {
			return fmt.Errorf("%w: it ends after %d of %d", ErrUnreadable, len(l.seen), l.total)
		}
		l.done = true
	case l.reached() && len(page.Resources) < l.client.pageSize():
		l.done = true
	}
	return nil
}
