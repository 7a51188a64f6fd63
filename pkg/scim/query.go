package scim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Query is what a list is asked for (RFC 7644 section 3.4.2).
type Query struct {
	// Filter is nil where everything is asked for.
	Filter     Filter
	SortBy     string
	Descending bool
	// Start is 1 for the first; Count may be 0. Neither is negative.
	Start, Count int
	// CountSaid tells whether the client gave a count.
	CountSaid bool
	// Cursor goes on from a page; CursorSaid tells that paging by cursor was asked
	// for, with an empty cursor for the first page (RFC 9865).
	Cursor     string
	CursorSaid bool
	Selection  Selection
}

// QueryOf reads the parameters of a list; standard is the count where none is
// given. The error is an *Error.
func QueryOf(values map[string][]string, standard int) (Query, error) {
	get := func(name string) string {
		if all := values[name]; len(all) > 0 {
			return all[0]
		}
		return ""
	}
	q := Query{Start: 1, Count: standard, SortBy: get("sortBy"), Cursor: get("cursor")}
	_, q.CursorSaid = values["cursor"]
	for name, n := range map[string]*int{"startIndex": &q.Start, "count": &q.Count} {
		text := get(name)
		if text == "" {
			continue
		}
		var err error
		if *n, err = strconv.Atoi(text); err != nil {
			return q, invalid(InvalidValue, name+" must be a number")
		}
		q.CountSaid = q.CountSaid || name == "count"
	}
	q.Start, q.Count = max(q.Start, 1), max(q.Count, 0)
	switch order := get("sortOrder"); order {
	case "", "ascending":
	case "descending":
		q.Descending = true
	default:
		return q, invalid(InvalidValue, "sortOrder must be ascending or descending")
	}
	if q.SortBy != "" {
		if _, err := ParsePath(q.SortBy); err != nil {
			return q, invalid(InvalidPath, "sortBy is no path")
		}
	}
	var err error
	if q.Selection, err = SelectionOf(values["attributes"], values["excludedAttributes"]); err != nil {
		return q, err
	}
	if text := get("filter"); text != "" {
		q.Filter, err = ParseFilter(text)
	}
	return q, err
}

// SearchValues reads the body of a POST to .search (RFC 7644 section 3.4.3) as
// the parameters of a list. strict insists on the schema of the message; a wrong
// one is refused anyway. The error is an *Error.
func SearchValues(body []byte, strict bool) (map[string][]string, error) {
	r, err := Parse(body)
	if err != nil {
		return nil, invalid(InvalidSyntax, err.Error())
	}
	if v, said := r["schemas"]; (said || strict) && !Names(v, SearchSchema) {
		return nil, invalid(InvalidSyntax, "schemas does not name "+SearchSchema)
	}
	values := map[string][]string{}
	for name, v := range r {
		switch v := v.(type) {
		case string:
			values[name] = []string{v}
		case json.Number:
			values[name] = []string{v.String()}
		case []any:
			for _, e := range v {
				values[name] = append(values[name], fmt.Sprint(e))
			}
		}
	}
	return values, nil
}

// Sort orders by the attribute, text without case; what lacks it comes last, or
// first where descending (RFC 7644 section 3.4.2.3). Without an attribute it
// leaves the order as it is.
func (q Query) Sort(all []Resource) {
	if q.SortBy == "" {
		return
	}
	slices.SortStableFunc(all, func(a, b Resource) int {
		order := cmp.Compare(sortKey(a, q.SortBy), sortKey(b, q.SortBy))
		if q.Descending {
			return -order
		}
		return order
	})
}

func sortKey(r Resource, path string) string {
	v, ok := r.Get(path)
	if many, isList := v.([]any); isList && len(many) > 0 {
		v = many[0]
	}
	if m, isMap := v.(map[string]any); isMap {
		v = m["value"]
	}
	if !ok || v == nil {
		return "\U0010FFFF"
	}
	return strings.ToLower(fmt.Sprint(v))
}

// Cut gives the bounds, in a list of so many, of the page that was asked for.
func (q Query) Cut(total int) (from, to int) {
	from = min(q.Start-1, total)
	return from, min(from+q.Count, total)
}

// Listing is a list response (RFC 7644 section 3.4.2) of one page.
func Listing[T any](page []T, total, start int) map[string]any {
	if page == nil {
		page = []T{}
	}
	return map[string]any{
		"schemas": []string{ListSchema}, "totalResults": total, "startIndex": start,
		"itemsPerPage": len(page), "Resources": page,
	}
}
