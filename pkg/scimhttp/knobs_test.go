package scimhttp_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/simulator"
)

// knowing is a client that knows these knobs of a target.
func knowing(t testing.TB, h http.Handler, k profile.Knobs) *scimhttp.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := scimhttp.New(scimhttp.Options{Endpoint: s.URL, AllowPrivate: true, Knobs: k})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// people is a simulated target with n users.
func people(t testing.TB, n int, o simulator.Options) *simulator.Server {
	t.Helper()
	sim := simulator.New(o)
	for i := range n {
		if err := sim.Seed(scim.Users, scim.Resource{"schemas": []any{scim.UserSchema}, "userName": fmt.Sprintf("u%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	return sim
}

func TestAListIsReadWholeOnlyInTheStyleOfItsTarget(t *testing.T) {
	for name, row := range map[string]struct {
		behaviour simulator.Behaviour
		knobs     profile.Knobs
		calls     int
	}{
		"pages by cursor":     {simulator.Behaviour{Paging: "cursor"}, profile.Knobs{PageStyle: "cursor"}, 3},
		"no pages":            {simulator.Behaviour{Paging: "none"}, profile.Knobs{PageStyle: "none"}, 1},
		"another name":        {simulator.Behaviour{ResourcesKey: "users"}, profile.Knobs{ResourcesKey: "users"}, 3},
		"large pages refused": {simulator.Behaviour{PageOver: "refuse"}, profile.Knobs{PageMax: 10, PageOver: "refuse"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			sim := people(t, 25, simulator.Options{PageMax: 10, Behaviour: row.behaviour})
			if n, err := list(t.Context(), knowing(t, sim, row.knobs)); n != 25 || err != nil {
				t.Error(n, err)
			}
			if n := len(sim.Requests()); n != row.calls {
				t.Errorf("%d calls", n)
			}
			n, err := list(t.Context(), knowing(t, sim, profile.Knobs{}))
			if wrong := name == "another name" || name == "large pages refused"; wrong != (err != nil) {
				t.Error("without the knob:", n, err)
			}
		})
	}
}

func TestAFullLastPageIsNotBelievedToBeTheLast(t *testing.T) {
	full := func(from int) string {
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, `,{"id":"%d"}`, from+i)
		}
		return `{"totalResults":100,"Resources":[` + b.String()[1:] + `]}`
	}
	if n, err := list(t.Context(), client(t, pages(full))); err == nil {
		t.Errorf("a total that is only the page's was believed: %d", n)
	}
	refusing := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("startIndex") != "1" {
			w.WriteHeader(400)
			return
		}
		fmt.Fprint(w, full(1))
	}
	if n, err := list(t.Context(), client(t, http.HandlerFunc(refusing))); n != 100 || err != nil {
		t.Error("a target that refuses to go beyond its end:", n, err)
	}
}

func TestACursorListThatCannotBeTrustedIsAnError(t *testing.T) {
	for name, body := range map[string]string{
		"stands still":   `{"nextCursor":"a","Resources":[]}`,
		"ends too early": `{"totalResults":3,"Resources":[{"id":"1"}]}`,
		"is null":        `{"Resources":null}`,
		"is absent":      `{}`,
	} {
		if n, err := list(t.Context(), knowing(t, answering(200, body), profile.Knobs{PageStyle: "cursor"})); err == nil {
			t.Errorf("%s: believed %d", name, n)
		}
	}
}

func TestASearchThatCannotWorkIsNotAsked(t *testing.T) {
	sim := people(t, 2, simulator.Options{Behaviour: simulator.Behaviour{FilterAttributes: []string{"userName"}}})
	for _, k := range []profile.Knobs{{UserFilters: []string{"username"}}, {FilterRefused: []string{"ExternalId"}}} {
		before := len(sim.Requests())
		c := knowing(t, sim, k)
		_, err := c.Find(t.Context(), scim.Users, "externalId", "x")
		if !errors.Is(err, scimhttp.ErrNotAsked) || !fault.Is(err, fault.Unsupported) || len(sim.Requests()) != before {
			t.Error(err)
		}
		if found, err := c.Find(t.Context(), scim.Users, "userName", "u1"); err != nil || len(found) != 1 {
			t.Error(found, err)
		}
	}
	if _, err := knowing(t, sim, profile.Knobs{}).Find(t.Context(), scim.Users, "externalId", "x"); !fault.Is(err, fault.Permanent) {
		t.Error("without the knob:", err)
	}
}

func TestAResourceThatWasThereIsNotTakenForANewOne(t *testing.T) {
	for _, b := range []string{"link", "412", "409-bare"} {
		sim := people(t, 1, simulator.Options{Behaviour: simulator.Behaviour{OnExisting: b}})
		taken := scim.Resource{"userName": "u0"}
		_, err := knowing(t, sim, profile.Knobs{OnExisting: b}).Create(t.Context(), scim.Users, taken)
		var existing *scimhttp.Existing
		if !fault.Is(err, fault.Conflict) || errors.As(err, &existing) != (b == "link") {
			t.Errorf("%s: %v", b, err)
		}
		if b != "link" {
			continue
		}
		if existing.Resource.ID() == "" {
			t.Error("it is not named")
		}
		if made, err := knowing(t, sim, profile.Knobs{}).Create(t.Context(), scim.Users, taken); err != nil || made.ID() != existing.Resource.ID() {
			t.Error("without the knob it looks new:", made, err)
		}
	}
}

func TestWithoutDiscoveryOneUserIsRead(t *testing.T) {
	hidden := people(t, 1, simulator.Options{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/ServiceProviderConfig") {
			w.WriteHeader(404)
			return
		}
		hidden.ServeHTTP(w, r)
	})
	if c, err := knowing(t, h, profile.Knobs{Discovery: "none"}).Discover(t.Context()); err != nil || !c.Patch {
		t.Error(c, err)
	}
	if _, err := knowing(t, h, profile.Knobs{}).Discover(t.Context()); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

func TestRequestsAreWrittenAsTheTargetWants(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("If-Match") != "" {
			w.WriteHeader(415)
			return
		}
		fmt.Fprint(w, `{"id":"1"}`)
	})
	ops := []scim.Operation{{Op: "replace", Path: "title", Value: "x"}}
	if _, err := knowing(t, h, profile.Knobs{ContentType: "application/json", ETag: "no"}).Patch(t.Context(), scim.Users, "1", `W/"1"`, ops); err != nil {
		t.Error(err)
	}
	for _, k := range []profile.Knobs{{ETag: "no"}, {ContentType: "application/json"}} {
		if _, err := knowing(t, h, k).Patch(t.Context(), scim.Users, "1", `W/"1"`, ops); err == nil {
			t.Errorf("%+v was enough", k)
		}
	}
}

func TestAListOfTenThousandTakesAHundredCallsAndOne(t *testing.T) {
	sim := people(t, 10_000, simulator.Options{PageMax: 100})
	if n, err := list(t.Context(), knowing(t, sim, profile.Knobs{})); n != 10_000 || err != nil {
		t.Fatal(n, err)
	}
	if n := len(sim.Requests()); n != 101 {
		t.Errorf("%d calls", n)
	}
}

// told is a target that answers everything with one user, and remembers what it
// was sent.
func told(t *testing.T, k profile.Knobs) (c *scimhttp.Client, last func() (line string, body scim.Resource)) {
	t.Helper()
	var line string
	var body scim.Resource
	c = knowing(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line = r.Method + " " + r.URL.Path + " " + r.URL.Query().Get("filter")
		data, _ := io.ReadAll(r.Body)
		body, _ = scim.Parse(data)
		_, _ = w.Write([]byte(`{"id":"7","userName":"ann@example.com","active":true}`))
	}), k)
	return c, func() (string, scim.Resource) { return line, body }
}

func TestAPatchThatIsReadAsTheUserNeverLeavesActiveOut(t *testing.T) {
	c, last := told(t, profile.Knobs{PatchBody: "resource"})
	_, err := c.Patch(t.Context(), scim.Users, "7", "", []scim.Operation{{Op: "replace", Path: "active", Value: false}})
	if _, body := last(); err != nil || body["Operations"] != nil || body["active"] != false {
		t.Error(err, body)
	}
	for _, ops := range [][]scim.Operation{
		{{Op: "replace", Path: "title", Value: "Lead"}},
		{{Op: "remove", Path: "title"}, {Op: "replace", Path: "active", Value: true}},
	} {
		if _, err := c.Patch(t.Context(), scim.Users, "7", "", ops); !fault.Is(err, fault.Unsupported) {
			t.Error(ops, err)
		}
	}
}

func TestAPutSaysActiveUnderEveryName(t *testing.T) {
	c, last := told(t, profile.Knobs{PutActiveAs: []string{"enabled"}})
	_, err := c.Replace(t.Context(), scim.Users, "7", "", scim.Resource{"userName": "ann@example.com", "active": true})
	if _, body := last(); err != nil || body["enabled"] != true || body["active"] != true {
		t.Error(err, body)
	}
}

func TestNamesThatDifferAreUsed(t *testing.T) {
	c, last := told(t, profile.Knobs{UserNameAs: "email", ConfigPath: "ServiceProviderConfigs"})
	_, _ = c.Find(t.Context(), scim.Users, "userName", "ann@example.com")
	if line, _ := last(); line != `GET /Users email eq "ann@example.com"` {
		t.Error(line)
	}
	_, _ = c.Discover(t.Context())
	if line, _ := last(); line != "GET /ServiceProviderConfigs " {
		t.Error(line)
	}
}
