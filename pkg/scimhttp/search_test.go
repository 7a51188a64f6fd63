package scimhttp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/simulator"
)

// heard is a simulator behind a front that may answer itself, and the URLs that
// were asked.
type heard struct {
	urls  []string
	front func(r *http.Request) int
	sim   http.Handler
}

func (h *heard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.urls = append(h.urls, r.Method+" "+r.URL.String())
	if h.front != nil {
		if status := h.front(r); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	h.sim.ServeHTTP(w, r)
}

func searching(t *testing.T, h *heard, k profile.Knobs) *scimhttp.Client {
	t.Helper()
	sim := simulator.New(simulator.Options{Behaviour: simulator.FromKnobs(k)})
	for _, r := range []scim.Resource{
		{"schemas": []any{scim.UserSchema}, "userName": secretName}, {"schemas": []any{scim.UserSchema}, "userName": "other"},
	} {
		if err := sim.Seed(scim.Users, r); err != nil {
			t.Fatal(err)
		}
	}
	h.sim = sim
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	k.SearchBy = "post"
	c, err := scimhttp.New(scimhttp.Options{Endpoint: s.URL, AllowPrivate: true, Knobs: k})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// lessons are what was learned.
type lessons map[string]string

func (l lessons) Knows(knob, value string) bool { return strings.HasPrefix(l[knob], value+" ") }

func (l lessons) Learn(_ context.Context, knob, value, evidence string) {
	l[knob] = value + " (" + evidence + ")"
}

func TestPersonalValuesStayOutOfURLs(t *testing.T) {
	h := &heard{}
	c := searching(t, h, profile.Knobs{})
	found, err := c.Find(t.Context(), scim.Users, "userName", secretName)
	if err != nil || len(found) != 1 || found[0].UserName() != secretName {
		t.Fatal(found, err)
	}
	if found, err = c.Find(t.Context(), scim.Users, "userName", "nobody@x"); err != nil || len(found) != 0 {
		t.Error(found, err)
	}
	if n, err := list(t.Context(), c); n != 2 || err != nil {
		t.Error(n, err)
	}
	if diff := cmp.Diff([]string{"POST /Users/.search", "POST /Users/.search", "GET /Users?count=100&startIndex=1"}, h.urls); diff != "" {
		t.Error(diff)
	}
}

func TestASearchOverSeveralPagesGoesByPostWhole(t *testing.T) {
	h := &heard{}
	c := searching(t, h, profile.Knobs{PageMax: 2})
	for i := range 5 {
		_, err := c.Create(t.Context(), scim.Groups, scim.Resource{"displayName": fmt.Sprint("g", i), "members": []any{map[string]any{"value": "000001"}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	h.urls = nil
	if ids, err := c.Groups().Of(t.Context(), "000001"); err != nil || len(ids) != 5 {
		t.Error(ids, err)
	}
	for _, url := range h.urls {
		if url != "POST /Groups/.search" {
			t.Error(url)
		}
	}
	if len(h.urls) != 3 {
		t.Error(h.urls)
	}
}

func TestATargetWithoutPostSearchIsAskedByGetAndThatIsLearned(t *testing.T) {
	for _, status := range []int{404, 405, 501} {
		h := &heard{front: func(r *http.Request) int {
			if r.Method == http.MethodPost {
				return status
			}
			return 0
		}}
		c, learned := searching(t, h, profile.Knobs{}), lessons{}
		c.Remember(learned)
		for range 2 {
			if found, err := c.Find(t.Context(), scim.Users, "userName", "other"); err != nil || len(found) != 1 {
				t.Error(status, found, err)
			}
		}
		get := `GET /Users?count=100&filter=userName+eq+%22other%22&startIndex=1`
		if diff := cmp.Diff([]string{"POST /Users/.search", get, get}, h.urls); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(lessons{"search.by": fmt.Sprintf("get (POST /Users/.search: %d)", status)}, learned); diff != "" {
			t.Error(diff)
		}
	}
	// Without anybody who remembers, the client does.
	h := &heard{front: func(r *http.Request) int { return map[string]int{http.MethodPost: 501}[r.Method] }}
	c := searching(t, h, profile.Knobs{})
	for range 3 {
		if _, err := c.Find(t.Context(), scim.Users, "userName", "other"); err != nil {
			t.Error(err)
		}
	}
	if len(h.urls) != 4 {
		t.Error(h.urls)
	}
}

func TestWhatSaysNothingOfPostSearchIsNotLearned(t *testing.T) {
	for status, want := range map[int]fault.Kind{
		404: fault.NotFound, 401: fault.TargetDown, 429: fault.Throttled, 500: fault.Transient, 400: fault.Permanent, 302: fault.TargetDown,
	} {
		h := &heard{front: func(*http.Request) int { return status }} // GET says so as well
		c, learned := searching(t, h, profile.Knobs{}), lessons{}
		c.Remember(learned)
		_, err := c.Find(t.Context(), scim.Users, "userName", secretName)
		quiet(t, err)
		if !fault.Is(err, want) {
			t.Errorf("%d: %v", status, fault.KindOf(err))
		}
		if len(learned) > 0 {
			t.Error(status, learned)
		}
	}
}

func TestALostSearchMayBeRepeated(t *testing.T) {
	h := &heard{front: func(*http.Request) int { panic(http.ErrAbortHandler) }}
	_, err := searching(t, h, profile.Knobs{}).Find(t.Context(), scim.Users, "userName", "a")
	if !fault.Is(err, fault.Transient) {
		t.Errorf("a search whose answer was lost is %v", fault.KindOf(err))
	}
}
