package probe_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/probe"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/simulator"
)

var update = flag.Bool("update", false, "write the report of a strict provider, for a person to read")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// provider is a simulated one with two people in it.
func provider(t *testing.T, o simulator.Options) (*simulator.Server, *scimhttp.Client) {
	t.Helper()
	o.Token = "secret"
	sim := simulator.New(o)
	for _, name := range []string{"ann", "bob"} {
		must(t, sim.Seed(scim.Users, scim.Resource{
			"schemas": []any{scim.UserSchema}, "userName": name + "@canary.example", "externalId": name + "-canary", "active": true,
			"emails": []any{map[string]any{"value": name + "@canary.example", "type": "work"}},
		}))
	}
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	client, err := scimhttp.New(scimhttp.Options{
		Endpoint: server.URL, AllowPrivate: true, Auth: scimhttp.Bearer{Token: func() (string, error) { return "secret", nil }},
	})
	must(t, err)
	return sim, client
}

func run(t *testing.T, c probe.Provider, write bool) probe.Report {
	t.Helper()
	r, err := probe.Run(t.Context(), c, probe.Options{Target: "acme", Endpoint: "https://acme.example", Write: write, Mark: "m4rk", Settle: time.Second})
	must(t, err)
	return r
}

func broken(r probe.Report) []string {
	out := []string{}
	for _, c := range r.Checks {
		if c.Verdict != probe.Kept {
			out = append(out, c.ID+" "+string(c.Verdict)+" "+c.Evidence)
		}
	}
	return out
}

// The simulator and the probe check each other: a strict provider keeps
// everything, and nothing of the probe remains.
func TestAStrictProviderKeepsEverything(t *testing.T) {
	sim, client := provider(t, simulator.Options{Bulk: 100})
	r := run(t, client, true)
	allowed := map[string]bool{"page.cursor": true}
	for _, line := range broken(r) {
		if id, _, _ := strings.Cut(line, " "); !allowed[id] {
			t.Error(line)
		}
	}
	if len(r.Quirks) > 0 || len(r.Left) > 0 || len(r.Checks) < 60 {
		t.Error(len(r.Checks), r.Quirks, r.Left)
	}
	if users, groups := len(sim.Resources(scim.Users)), len(sim.Resources(scim.Groups)); users != 2 || groups != 0 {
		t.Errorf("%d users and %d groups remain", users, groups)
	}
	if len(r.Documents) != 3 {
		t.Error(len(r.Documents), "documents")
	}
}

func TestReadingChangesNothing(t *testing.T) {
	sim, client := provider(t, simulator.Options{})
	before := len(sim.Commits())
	r := run(t, client, false)
	if after := len(sim.Commits()); after != before || r.Wrote {
		t.Errorf("%d commits", after-before)
	}
	for _, q := range sim.Requests() {
		if q.Method != http.MethodGet && !strings.HasSuffix(q.Path, "/.search") {
			t.Error(q.Method, q.Path)
		}
	}
}

func TestEachBentProviderIsFoundOut(t *testing.T) {
	for _, row := range []struct {
		name   string
		bend   simulator.Behaviour
		quirks map[string]any
	}{
		{"no PATCH", simulator.Behaviour{NoPatch: true}, map[string]any{"update.style": "put"}},
		{"204", simulator.Behaviour{PatchSuccess: "204"}, map[string]any{"patch.answer": "none"}},
		{"one operation", simulator.Behaviour{PatchMaxOps: 1}, map[string]any{"patch.max_ops": 1}},
		{"409 without a type", simulator.Behaviour{OnExisting: "409-bare"}, map[string]any{"create.on_existing": "409-bare"}},
		{"412", simulator.Behaviour{OnExisting: "412"}, map[string]any{"create.on_existing": "412"}},
		{"small pages", simulator.Behaviour{PageDefault: 1}, nil},
		{"no paging", simulator.Behaviour{Paging: "repeats"}, map[string]any{"page.style": "none"}},
		{"refuses a large count", simulator.Behaviour{PageOver: "refuse"}, map[string]any{"page.over_max": "refuse"}},
		{"filters ignored", simulator.Behaviour{FilterAttributes: []string{"nothing"}, FilterUnsupported: "everything"}, map[string]any{"filter.unsupported": "everything"}},
		{"no externalId filter", simulator.Behaviour{FilterAttributes: []string{"userName", "id", "emails.value"}}, map[string]any{"filter.refused": []any{"externalId"}}},
		{"delete deactivates", simulator.Behaviour{DeleteMeans: "deactivate"}, map[string]any{"delete.means": "deactivate"}},
		{"inactive is gone", simulator.Behaviour{DeactivateMeans: "gone"}, map[string]any{"disable.means": "gone"}},
		{"title ignored", simulator.Behaviour{IgnoredPaths: []string{"title"}}, map[string]any{"patch.ignored": []any{"displayName", "title"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, client := provider(t, simulator.Options{Behaviour: row.bend})
			r := run(t, client, true)
			data, err := json.Marshal(r.Quirks)
			must(t, err)
			var quirks map[string]probe.Quirk
			must(t, json.Unmarshal(data, &quirks))
			for name, want := range row.quirks {
				if n, isInt := want.(int); isInt {
					want = float64(n)
				}
				got, found := quirks[name]
				if !found || !cmp.Equal(want, got.Value) || got.Why == "" {
					t.Errorf("%s is %v, want %v; %v", name, got, want, broken(r))
				}
			}
			if len(r.Left) > 0 {
				t.Error("left behind:", r.Left)
			}
		})
	}
}

// What is made is removed, whenever the person at the terminal has had enough.
func TestAnInterruptedProbeCleansUp(t *testing.T) {
	for after := 30; after < 110; after += 8 {
		sim, client := provider(t, simulator.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		counting := &interrupted{client, after, cancel}
		_, err := probe.Run(ctx, counting, probe.Options{Write: true, Mark: "m4rk", Settle: time.Second})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if users, groups := len(sim.Resources(scim.Users)), len(sim.Resources(scim.Groups)); users != 2 || groups != 0 {
			t.Errorf("interrupted after %d requests: %d users and %d groups remain", after, users, groups)
		}
	}
}

type interrupted struct {
	probe.Provider
	left   int
	cancel func()
}

func (i *interrupted) Raw(ctx context.Context, r scimhttp.Raw) (scimhttp.RawAnswer, error) {
	if i.left--; i.left == 0 {
		i.cancel()
	}
	return i.Provider.Raw(ctx, r)
}

func TestWhoeverDoesNotAnswerIsSaidSo(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"401":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
		"404":   http.NotFound,
		"a cut": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		server := httptest.NewServer(h)
		client, err := scimhttp.New(scimhttp.Options{Endpoint: server.URL, AllowPrivate: true})
		must(t, err)
		if _, err := probe.Run(t.Context(), client, probe.Options{}); !errors.Is(err, probe.ErrUnreachable) {
			t.Error(name, err)
		}
		server.Close()
	}
}

func TestTheReportHoldsNobodysValues(t *testing.T) {
	_, client := provider(t, simulator.Options{Behaviour: simulator.Behaviour{ErrorShape: "html", NoPatch: true}})
	r := run(t, client, true)
	r.Documents = nil
	data, err := json.Marshal(r)
	must(t, err)
	for _, text := range []string{string(data), r.Markdown(), r.YAML()} {
		if strings.Contains(text, "canary") {
			t.Error("a value of somebody is in the report")
		}
	}
}

func TestTheReportReadsWell(t *testing.T) {
	_, client := provider(t, simulator.Options{Behaviour: simulator.Behaviour{PatchSuccess: "204", OnExisting: "409-bare"}})
	r := run(t, client, true)
	r.At = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	got := r.Markdown()
	if *update {
		must(t, os.WriteFile("testdata/report.md", []byte(got), 0o600))
	}
	want, err := os.ReadFile("testdata/report.md")
	must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatChangedSinceTheLastReportIsNamed(t *testing.T) {
	_, strict := provider(t, simulator.Options{})
	_, bent := provider(t, simulator.Options{Behaviour: simulator.Behaviour{NoPatch: true}})
	before, now := run(t, strict, true), run(t, bent, true)
	if changes := probe.Compare(before, before); len(changes) > 0 {
		t.Error(changes)
	}
	seen := map[string]string{}
	for _, c := range probe.Compare(before, now) {
		seen[c.What] = c.Before + " -> " + c.Now
	}
	for what, want := range map[string]string{
		"clause patch.replace": "kept -> not kept", "quirk update.style": `none -> "put"`, "clause patch.add": "kept -> not asked",
	} {
		if seen[what] != want {
			t.Errorf("%s: %q, want %q", what, seen[what], want)
		}
	}
	reading := run(t, strict, false)
	for _, c := range probe.Compare(before, reading) {
		t.Error("reading only is no change:", c)
	}
}
