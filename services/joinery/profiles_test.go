package joinery

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/target"
	"github.com/joinery/joinery/services/deadletter"
)

// updating tells whether the expected pages and the table of docs/profiles.md
// are to be written: the scenarios' flag.
func updating() bool { return flag.Lookup("update").Value.String() == "true" }

// said is what a command line prints.
func said(t *testing.T, args ...string) (string, int) {
	t.Helper()
	var out, errs bytes.Buffer
	code := Main(args, nil, &out, &errs)
	return out.String() + errs.String(), code
}

func TestAProfileIsShownAsAPageWithSources(t *testing.T) {
	got, code := said(t, "profiles", "show", "slack")
	file := filepath.Join("testdata", "profile-slack.txt")
	if updating() {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" || code != ExitOK {
		t.Error(code, diff)
	}
}

func TestProfilesAreListedAndShownForMachines(t *testing.T) {
	got, _ := said(t, "profiles", "list", "--json")
	var views []struct {
		Name  string
		Knobs map[string]struct{ Source string }
	}
	if err := json.Unmarshal([]byte(got), &views); err != nil || len(views) < 43 {
		t.Fatal(len(views), err)
	}
	for _, v := range views {
		for name, k := range v.Knobs {
			if k.Source == "" {
				t.Error(v.Name, name)
			}
		}
	}
	got, _ = said(t, "profiles", "list")
	if !strings.Contains(got, "github-emu") || !strings.Contains(got, "sentry ") {
		t.Error(got)
	}
	got, _ = said(t, "profiles", "show", "aws", "--yaml")
	if !strings.Contains(got, "members.max_per_request:\n    source: ") && !strings.Contains(got, "members.max_per_request:\n    value: 100") {
		t.Error(got)
	}
}

func TestAProfileThatDoesNotExistIsAMistakeOfTheCommandLine(t *testing.T) {
	got, code := said(t, "profiles", "show", "slak")
	if want := "joinery: there is no profile \"slak\" (did you mean slack?); see: joinery profiles list\n"; got != want || code != ExitUsage {
		t.Error(code, got)
	}
}

func TestTheDocumentationHasEveryKnob(t *testing.T) {
	got, _ := said(t, "profiles", "knobs", "--markdown")
	const file, begin = "../../docs/profiles.md", "<!-- joinery profiles knobs --markdown -->\n"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, table, ok := strings.Cut(string(data), begin)
	if !ok {
		t.Fatal("the mark of the table is gone")
	}
	if updating() {
		if err := os.WriteFile(file, []byte(before+begin+got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(table, got); diff != "" {
		t.Error("run the test with -update:", diff)
	}
	if plain, _ := said(t, "profiles", "knobs"); strings.Count(plain, "\n") != len(profile.Names())+1 {
		t.Error(plain)
	}
}

func TestATargetShowsItsProfileAndWhatItTaughtReadyToPaste(t *testing.T) {
	v := deadletter.TargetView{
		Target: "acme", Mode: "live", Open: true, Profile: "slack", Quirks: map[string]string{"page.max_count": "50", "etag": "no"},
		State: target.State{Quirks: map[string]target.Quirk{
			"patch":             {Value: "refused", Evidence: "501 to PATCH /Users", At: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)},
			"filter.externalId": {Value: "refused", At: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)},
			"weather":           {Value: "rain"},
		}},
	}
	var b bytes.Buffer
	if err := writeQuirks(&b, v); err != nil {
		t.Fatal(err)
	}
	want := `quirks:
  etag: "no"
  filter.refused: [externalId] # taught 2026-01-03: -
  page.max_count: 50
  update.style: put # taught 2026-01-02: 501 to PATCH /Users
  # not a knob: weather: rain
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	writeTarget(&b, v)
	for _, part := range []string{"Profile\tslack", "page.max_count\t50", "patch\trefused", "501 to PATCH /Users"} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("%q is missing in %s", part, b.String())
		}
	}
	b.Reset()
	if err := writeQuirks(&b, deadletter.TargetView{}); err != nil || b.String() != "quirks: {}\n" {
		t.Error(b.String(), err)
	}
}
