package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
)

// search answers POST .search; no kind means all of them.
func (s *Server) search(body []byte, kinds ...scim.Kind) reply {
	values, err := scim.SearchValues(body, s.bent.SchemasRequired)
	if err != nil {
		return failed(err)
	}
	return s.list(values, kinds...)
}

func (s *Server) list(values map[string][]string, kinds ...scim.Kind) reply {
	q, err := s.query(values)
	if err != nil {
		return failed(err)
	}
	if q.Filter != nil {
		refused, everything := s.bent.refusal(q.Filter, kinds...)
		if refused != nil {
			return *refused
		}
		if everything {
			q.Filter = nil
		} else if q.Filter, err = s.bent.meant(q.Filter); err != nil {
			return failed(err)
		}
	}
	var all []scim.Resource
	for _, kind := range kinds {
		all = append(all, s.matching(kind, q.Filter)...)
	}
	q.Sort(all)
	return s.page(all, q)
}

func (s *Server) query(values map[string][]string) (scim.Query, error) {
	standard := s.options.PageMax
	if s.bent.PageDefault > 0 {
		standard = s.bent.PageDefault
	}
	q, err := scim.QueryOf(values, standard)
	if err != nil {
		return q, err
	}
	if q.CountSaid && q.Count > s.options.PageMax && s.bent.PageOver == "refuse" {
		return q, bad(scim.InvalidValue, fmt.Sprintf("count must not be above %d", s.options.PageMax))
	}
	q.Count = min(q.Count, s.options.PageMax)
	q.CursorSaid = s.bent.Paging == "cursor"
	if q.CursorSaid {
		q.Start, err = startOf(q.Cursor)
	}
	return q, err
}

// startOf is where a cursor stands; an empty one starts.
func startOf(cursor string) (int, error) {
	if cursor == "" {
		return 1, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(cursor, "c"), 36, 31)
	if err != nil || !strings.HasPrefix(cursor, "c") {
		return 1, bad(scim.InvalidValue, "cursor is none that was given")
	}
	return int(n), nil
}

// page cuts a page out of what was found.
func (s *Server) page(all []scim.Resource, q scim.Query) reply {
	switch s.bent.Paging {
	case "none":
		q.Start, q.Count = 1, len(all)
	case "repeats":
		q.Start = 1
	case "endless":
		return reply{status: http.StatusOK, body: s.bent.page(madeUp(q), q.Start+2*q.Count, q.Start)}
	}
	from, to := q.Cut(len(all))
	out := make([]any, 0, to-from)
	for _, r := range all[from:to] {
		out = append(out, q.Selection.Of(s.view(r)))
	}
	body := s.bent.page(out, len(all), q.Start)
	if q.CursorSaid {
		delete(body, "startIndex")
		if to < len(all) && q.Count > 0 {
			body["nextCursor"] = "c" + strconv.FormatInt(int64(to+1), 36)
		}
	}
	return reply{status: http.StatusOK, body: body}
}

// madeUp are resources that do not exist, a full page of them.
func madeUp(q scim.Query) []any {
	out := make([]any, 0, q.Count)
	for i := range q.Count {
		id := fmt.Sprintf("made-up-%d", q.Start+i)
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
// where it asks for one in an attribute that is looked up by, else all.
func (s *Server) candidates(kind scim.Kind, f scim.Filter) []scim.Resource {
	for _, eq := range scim.Equalities(f) {
		if keyed := strings.EqualFold(eq.Attr, kind.NameAttribute()) || strings.EqualFold(eq.Attr, "externalId"); keyed && eq.Value != "" {
			return s.store.withKey(kind, eq.Attr, eq.Value)
		}
	}
	return s.store.all(kind)
}
