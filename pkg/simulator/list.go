package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
)

// query is what a list is asked for (RFC 7644 section 3.4.2).
type query struct {
	filter            scim.Filter
	sortBy            string
	descending        bool
	start, count      int
	countSaid, cursor bool
	selection         selection
}

// search answers POST .search; no kind means all of them.
func (s *Server) search(body []byte, kinds ...scim.Kind) reply {
	r, err := scim.Parse(body)
	if err != nil {
		return failure(http.StatusBadRequest, scim.InvalidSyntax, err.Error())
	}
	if v, said := r["schemas"]; (said || s.bent.SchemasRequired) && !names(v, scim.SearchSchema) {
		return failure(http.StatusBadRequest, scim.InvalidSyntax, "schemas does not name "+scim.SearchSchema)
	}
	values := url.Values{}
	for name, v := range r {
		switch v := v.(type) {
		case string:
			values.Set(name, v)
		case json.Number:
			values.Set(name, v.String())
		case []any:
			for _, e := range v {
				values.Add(name, fmt.Sprint(e))
			}
		}
	}
	return s.list(values, kinds...)
}

func (s *Server) list(values url.Values, kinds ...scim.Kind) reply {
	q, err := s.query(values)
	if err != nil {
		return failed(err)
	}
	if q.filter != nil {
		refused, everything := s.bent.refusal(q.filter, kinds...)
		if refused != nil {
			return *refused
		}
		if everything {
			q.filter = nil
		} else if q.filter, err = s.bent.meant(q.filter); err != nil {
			return failed(err)
		}
	}
	var all []scim.Resource
	for _, kind := range kinds {
		all = append(all, s.matching(kind, q.filter)...)
	}
	sorted(all, q)
	return s.page(all, q)
}

func (s *Server) query(values url.Values) (query, error) {
	q := query{start: 1, count: s.options.PageMax, sortBy: values.Get("sortBy")}
	if s.bent.PageDefault > 0 {
		q.count = s.bent.PageDefault
	}
	for name, n := range map[string]*int{"startIndex": &q.start, "count": &q.count} {
		text := values.Get(name)
		if text == "" {
			continue
		}
		var err error
		if *n, err = strconv.Atoi(text); err != nil {
			return q, bad(scim.InvalidValue, name+" must be a number")
		}
		q.countSaid = q.countSaid || name == "count"
	}
	if q.countSaid && q.count > s.options.PageMax && s.bent.PageOver == "refuse" {
		return q, bad(scim.InvalidValue, fmt.Sprintf("count must not be above %d", s.options.PageMax))
	}
	q.start, q.count = max(q.start, 1), min(max(q.count, 0), s.options.PageMax)
	switch order := values.Get("sortOrder"); order {
	case "", "ascending":
	case "descending":
		q.descending = true
	default:
		return q, bad(scim.InvalidValue, "sortOrder must be ascending or descending")
	}
	if q.sortBy != "" {
		if _, err := scim.ParsePath(q.sortBy); err != nil {
			return q, bad(scim.InvalidPath, "sortBy is no path")
		}
	}
	if s.bent.Paging == "cursor" {
		if err := q.readCursor(values.Get("cursor")); err != nil {
			return q, err
		}
	}
	return q.narrow(values)
}

func (q query) narrow(values url.Values) (_ query, err error) {
	if q.selection, err = selectionOf(values); err != nil {
		return q, err
	}
	if text := values.Get("filter"); text != "" {
		q.filter, err = scim.ParseFilter(text)
	}
	return q, err
}

// readCursor goes on where the cursor stands; an empty one starts.
func (q *query) readCursor(cursor string) error {
	q.cursor, q.start = true, 1
	if cursor == "" {
		return nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(cursor, "c"), 36, 31)
	if err != nil || !strings.HasPrefix(cursor, "c") {
		return bad(scim.InvalidValue, "cursor is none that was given")
	}
	q.start = int(n)
	return nil
}

// page cuts a page out of what was found.
func (s *Server) page(all []scim.Resource, q query) reply {
	switch s.bent.Paging {
	case "none":
		q.start, q.count = 1, len(all)
	case "repeats":
		q.start = 1
	case "endless":
		return reply{status: http.StatusOK, body: s.bent.page(madeUp(q), q.start+2*q.count, q.start)}
	}
	from := min(q.start-1, len(all))
	to := min(from+q.count, len(all))
	out := make([]any, 0, to-from)
	for _, r := range all[from:to] {
		out = append(out, q.selection.of(s.view(r)))
	}
	body := s.bent.page(out, len(all), q.start)
	if q.cursor {
		delete(body, "startIndex")
		if to < len(all) && q.count > 0 {
			body["nextCursor"] = "c" + strconv.FormatInt(int64(to+1), 36)
		}
	}
	return reply{status: http.StatusOK, body: body}
}

// madeUp are resources that do not exist, a full page of them.
func madeUp(q query) []any {
	out := make([]any, 0, q.count)
	for i := range q.count {
		id := fmt.Sprintf("made-up-%d", q.start+i)
		out = append(out, scim.Resource{"schemas": []any{scim.UserSchema}, "id": id, "userName": id})
	}
	return out
}

// matching gives the resources that a filter finds; a new one is not found
// before its time, but is listed.
func (s *Server) matching(kind scim.Kind, f scim.Filter) []scim.Resource {
	if f == nil {
		return s.store.all(kind)
	}
	all := s.candidates(kind, f)
	computed := strings.Contains(strings.ToLower(f.String()), "groups")
	return slices.DeleteFunc(all, func(r scim.Resource) bool {
		if fresh(r, s.bent.Visibility) {
			return true
		}
		if computed {
			r = s.view(r)
		}
		return !f.Match(r)
	})
}

// candidates are the resources that a filter may find: those with the value
// where it is one equality of an attribute that is looked up by, else all.
func (s *Server) candidates(kind scim.Kind, f scim.Filter) []scim.Resource {
	attr, rest, _ := strings.Cut(f.String(), " eq ")
	var value string
	keyed := strings.EqualFold(attr, nameOf(kind)) || strings.EqualFold(attr, "externalId")
	if !keyed || json.Unmarshal([]byte(rest), &value) != nil || value == "" {
		return s.store.all(kind)
	}
	return s.store.withKey(kind, attr, value)
}

// sorted orders by the attribute, text without case; what lacks it comes last,
// or first where descending (RFC 7644 section 3.4.2.3).
func sorted(all []scim.Resource, q query) {
	if q.sortBy == "" {
		return
	}
	slices.SortStableFunc(all, func(a, b scim.Resource) int {
		order := cmp.Compare(sortKey(a, q.sortBy), sortKey(b, q.sortBy))
		if q.descending {
			return -order
		}
		return order
	})
}

func sortKey(r scim.Resource, path string) string {
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
