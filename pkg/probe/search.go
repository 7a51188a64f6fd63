package probe

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
)

// searching asks filters: those that provisioning lives by first.
func (s *session) searching(ctx context.Context) {
	x := s.search(ctx, scim.Eq("userName", nobody).String())
	page, ok := x.page()
	s.judge(Check{
		ID: "filter.nobody", Clause: "RFC 7644 section 3.4.2", Title: "a search that finds nobody is an empty list",
		Advice: "Answer 200 with totalResults 0, not 404.",
	}, ok && len(page.Resources) == 0 && page.Total <= 0, x)
	if ok && len(page.Resources) > 0 {
		s.quirk("filter.unsupported", "everything", "a search that can find nobody gives everybody")
	}
	bad := s.search(ctx, `userName ?? "x"`)
	s.judge(Check{
		ID: "filter.invalid", Clause: "RFC 7644 section 3.4.2.2", Title: "a filter that cannot be read is 400 invalidFilter", Optional: true,
		Advice: "Answer 400 with scimType invalidFilter.",
	}, bad.is(http.StatusBadRequest) && scim.DecodeError(400, bad.answer.Body).ScimType == scim.InvalidFilter, bad)
	if s.somebody != nil {
		s.filters(ctx, s.somebody)
	}
	x = s.send(ctx, scimhttp.Raw{Method: http.MethodPost, Path: "/Users/.search", Body: map[string]any{
		"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:SearchRequest"}, "filter": scim.Eq("userName", nobody).String(), "count": 1,
	}})
	_, ok = x.page()
	s.offered(Check{ID: "search.post", Clause: "RFC 7644 section 3.4.3", Title: "POST /Users/.search keeps values out of addresses"}, ok, false, x)
	x = s.get(ctx, "/Users", "sortBy", "userName", "count", "2")
	_, ok = x.page()
	s.offered(Check{ID: "sort", Clause: "RFC 7644 section 3.4.2.3", Title: "sortBy is understood, or ignored"}, ok, s.config.Sort, x)
	x = s.get(ctx, "/Groups", "count", "1")
	_, ok = x.page()
	if !s.offered(Check{ID: "groups.list", Clause: "RFC 7643 section 4.2", Title: "groups are served"}, ok, false, x) {
		s.quirk("group.supported", "no", x.evidence())
	}
}

// filters searches for somebody who is there in every way that finds them.
func (s *session) filters(ctx context.Context, who scim.Resource) {
	name := who.UserName()
	quoted := strconv.Quote(name)
	var refused []string
	for _, f := range []struct {
		id, attr, filter string
		optional         bool
		advice           string
	}{
		{"filter.userName", "userName", scim.Eq("userName", name).String(), false, "Support userName eq: nothing can be provisioned safely without it."},
		{"filter.case.attribute", "", "USERNAME eq " + quoted, true, "Attribute names compare without case."},
		{"filter.case.operator", "", "userName EQ " + quoted, true, "Operators compare without case."},
		{"filter.case.value", "", "userName eq " + strconv.Quote(swapCase(name)), true, "userName compares without case (caseExact false)."},
		{"filter.externalId", "externalId", withValue("externalId", who.ExternalID()), false, "Support externalId eq: it is how accounts are matched for ever."},
		{"filter.id", "id", scim.Eq("id", who.ID()).String(), true, "Support id eq."},
		{"filter.mail", "emails.value", withValue("emails.value", mailOf(who)), true, "Support emails.value eq."},
		{"filter.valuepath", "", valuePath(who), true, "Support value paths in filters."},
		{"filter.sw", "", "userName sw " + strconv.Quote(firstLetters(name)), true, "Support sw."},
		{"filter.co", "", "userName co " + quoted, true, "Support co."},
		{"filter.pr", "", "userName pr", true, "Support pr."},
		{"filter.and", "", "userName eq " + quoted + " and userName pr", true, "Support and."},
		{"filter.or", "", "userName eq " + quoted + ` or userName eq "` + nobody + `"`, true, "Support or."},
		{"filter.not", "", "userName eq " + quoted + ` and not (userName eq "` + nobody + `")`, true, "Support not."},
	} {
		if f.filter == "" {
			continue // they have no such value
		}
		x := s.search(ctx, f.filter)
		found := finds(x, who.ID(), f.id == "filter.pr" || f.id == "filter.sw")
		s.judge(Check{
			ID: f.id, Clause: "RFC 7644 section 3.4.2.2", Title: "finds them by " + form(f.filter), Optional: f.optional, Advice: f.advice,
		}, found, x)
		if !found && f.attr != "" {
			refused = append(refused, f.attr)
		}
	}
	if len(refused) > 0 {
		s.quirk("filter.refused", refused, "searches by these do not find somebody who is there")
	}
}

// finds tells whether the answer holds the one who was asked for, and, unless
// others may have the same, nobody else.
func finds(x exchange, id string, others bool) bool {
	page, ok := x.page()
	if !ok {
		return false
	}
	there := slices.ContainsFunc(page.Resources, func(r scim.Resource) bool { return r.ID() == id })
	return (there && len(page.Resources) == 1) || (others && len(page.Resources) > 0)
}

func withValue(attr, value string) string {
	if value == "" {
		return ""
	}
	return scim.Eq(attr, value).String()
}

func mailOf(r scim.Resource) string {
	v, _ := r.Get("emails")
	mails, _ := v.([]any)
	for _, m := range mails {
		if one, ok := m.(map[string]any); ok {
			if value, ok := one["value"].(string); ok {
				return value
			}
		}
	}
	return ""
}

func valuePath(r scim.Resource) string {
	if mail := mailOf(r); mail != "" {
		return "emails[value eq " + strconv.Quote(mail) + "]"
	}
	return ""
}

func swapCase(s string) string {
	if up := strings.ToUpper(s); up != s {
		return up
	}
	return strings.ToLower(s)
}

func firstLetters(s string) string {
	runes := []rune(s)
	return string(runes[:min(len(runes), 3)])
}

// paging asks for lists in pieces.
func (s *session) paging(ctx context.Context) {
	x := s.get(ctx, "/Users", "startIndex", "1", "count", "0")
	page, ok := x.page()
	s.judge(Check{
		ID: "page.none", Clause: "RFC 7644 section 3.4.2.4", Title: "count=0 gives totalResults and no resources", Optional: true,
		Advice: "Answer count=0 with the total alone.",
	}, ok && len(page.Resources) == 0 && page.Total >= 0, x)
	first := s.get(ctx, "/Users", "startIndex", "1", "count", "1")
	one, ok := first.page()
	s.judge(Check{
		ID: "page.count", Clause: "RFC 7644 section 3.4.2.4", Title: "count=1 gives one resource at most",
		Advice: "Give no more resources than count.",
	}, ok && len(one.Resources) <= 1, first)
	s.judge(Check{
		ID: "page.total", Clause: "RFC 7644 section 3.4.2", Title: "a list says totalResults",
		Advice: "Send totalResults: without it a client cannot tell the end from a failure.",
	}, ok && one.Total >= len(one.Resources), first)
	zero := s.get(ctx, "/Users", "startIndex", "0", "count", "1")
	same, ok := zero.page()
	s.judge(Check{
		ID: "page.zero", Clause: "RFC 7644 section 3.4.2.4", Title: "startIndex below 1 counts as 1", Optional: true,
		Advice: "Take a startIndex below 1 as 1.",
	}, ok && sameFirst(one, same), zero)
	if one.Total >= 2 {
		s.second(ctx, one)
	}
	beyond := s.get(ctx, "/Users", "startIndex", strconv.Itoa(max(one.Total, 0)+1), "count", "1")
	page, ok = beyond.page()
	s.judge(Check{
		ID: "page.beyond", Clause: "RFC 7644 section 3.4.2.4", Title: "a page beyond the end is empty",
		Advice: "Answer with no resources beyond the end; repeating the last page makes a list endless.",
	}, ok && len(page.Resources) == 0, beyond)
	s.largest(ctx)
	s.cursor(ctx)
}

func sameFirst(a, b scim.Page) bool {
	if len(a.Resources) == 0 || len(b.Resources) == 0 {
		return len(a.Resources) == len(b.Resources)
	}
	return a.Resources[0].ID() == b.Resources[0].ID()
}

// second asks for the second page.
func (s *session) second(ctx context.Context, first scim.Page) {
	x := s.get(ctx, "/Users", "startIndex", "2", "count", "1")
	page, ok := x.page()
	moved := ok && len(page.Resources) == 1 && len(first.Resources) == 1 && page.Resources[0].ID() != first.Resources[0].ID()
	if !s.judge(Check{
		ID: "page.second", Clause: "RFC 7644 section 3.4.2.4", Title: "startIndex=2 gives the second resource",
		Advice: "Obey startIndex: where it is ignored a client reads the first page for ever.",
	}, moved, x) && ok {
		s.quirk("page.style", "none", "startIndex is ignored")
	}
}

// largest finds how large pages are.
func (s *session) largest(ctx context.Context) {
	x := s.get(ctx, "/Users", "startIndex", "1", "count", "1000")
	page, ok := x.page()
	s.judge(Check{
		ID: "page.large", Clause: "RFC 7644 section 3.4.2.4", Title: "a count that is too large is answered with fewer", Optional: true,
		Advice: "Give fewer resources than asked for rather than refuse.",
	}, ok, x)
	switch {
	case !ok:
		s.quirk("page.over_max", "refuse", x.evidence())
	case page.Total > len(page.Resources) && len(page.Resources) > 0:
		s.quirk("page.max_count", len(page.Resources), fmt.Sprintf("1000 were asked for, %d of %d came", len(page.Resources), page.Total))
	}
}

// cursor tries RFC 9865.
func (s *session) cursor(ctx context.Context) {
	x := s.get(ctx, "/Users", "cursor", "", "count", "1")
	page, ok := x.page()
	works := ok && (page.Next != "" || page.Total <= 1)
	if !s.offered(Check{
		ID: "page.cursor", Clause: "RFC 9865 section 2", Title: "lists can be read by cursor",
		Advice: "Send nextCursor until the last page.",
	}, works && page.Next != "", s.config.Cursor, x) {
		return
	}
	next := s.get(ctx, "/Users", "cursor", page.Next, "count", "1")
	second, ok := next.page()
	s.judge(Check{
		ID: "page.cursor.next", Clause: "RFC 9865 section 2", Title: "the cursor leads to other resources", Optional: true,
	}, ok && !sameFirst(page, second), next)
	bad := s.get(ctx, "/Users", "cursor", "joinery-probe-no-cursor", "count", "1")
	s.judge(Check{
		ID: "page.cursor.invalid", Clause: "RFC 9865 section 2.1", Title: "a cursor that was never given is 400", Optional: true,
	}, bad.is(http.StatusBadRequest), bad)
}
