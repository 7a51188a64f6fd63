package profile_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/profile"
)

func catalogue(t *testing.T) profile.Catalogue {
	t.Helper()
	c, err := profile.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryKnobAndFactOfEveryProfileHasASource(t *testing.T) {
	all := catalogue(t).All()
	if len(all) < 43 {
		t.Errorf("there are %d profiles", len(all))
	}
	knobs, facts := 0, 0
	for _, p := range all {
		knobs, facts = knobs+len(p.Sources), facts+len(p.Facts)
		for _, name := range p.Knobs.Differing(profile.Knobs{}) {
			if p.Sources[name].Source == "" {
				t.Errorf("%s: %s stands without a source", p.Name, name)
			}
		}
		for _, doc := range p.Documentation {
			if u, err := url.Parse(strings.Fields(doc)[0]); err != nil || (strings.Contains(doc, "://") && u.Host == "") {
				t.Errorf("%s: %q is no address", p.Name, doc)
			}
		}
	}
	t.Logf("%d profiles, %d sourced knobs, %d sourced facts", len(all), knobs, facts)
}

func TestWhatCannotBeUndoneIsMarkedAndSaid(t *testing.T) {
	c := catalogue(t)
	for name, want := range map[string][2]bool{ // disabling, deleting
		"github-emu": {false, true}, "github-org": {true, true}, "sentry": {true, true},
		"notion": {true, true}, "figma": {false, true}, "slack": {false, false}, "scim2": {false, false},
	} {
		p, _ := c.Get(name)
		if got := [2]bool{p.Knobs.DisableFinal, p.Knobs.DeleteFinal}; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, p := range c.All() {
		if (p.Knobs.DisableFinal || p.Knobs.DeleteFinal) && len(p.Warnings) == 0 {
			t.Errorf("%s does something for good and does not warn", p.Name)
		}
	}
}

func TestAnAliasFindsTheProfileAndListsAreTheCallersOwn(t *testing.T) {
	c := catalogue(t)
	p, ok := c.Get("aws")
	if !ok || p.Name != "aws-identity-center" {
		t.Fatal(p.Name, ok)
	}
	p.Knobs.Required[0] = "changed"
	again, _ := c.Get("aws")
	if diff := cmp.Diff([]string{"userName", "displayName", "name.givenName", "name.familyName"}, again.Knobs.Required); diff != "" {
		t.Error(diff)
	}
	if _, ok := c.Get("nobody"); ok {
		t.Error("a profile is found that does not exist")
	}
}

func TestAFileThatIsWrongIsRefusedWithItsLines(t *testing.T) {
	_, err := profile.Parse("acme.yaml", []byte(`vendor: Acme
confidence: none
documentation: [https://acme.example]
knob: {}
knobs:
  page.max_count:
    value: many
    source: s
  page.style:
    value: indx
    source: s
  patch.frm:
    value: path
    source: s
  bulk:
    value: "no"
facts:
  etag:
    value: "no"
    source: s
  a.fact:
    value: 1
    origin: s
`))
	want := `acme.yaml:4: unknown key "knob" (did you mean knobs?): the keys are aliases, auth, base_url, confidence, documentation, facts, knobs, unknown, vendor, warnings
acme.yaml:6: page.max_count: a whole number is needed here
acme.yaml:9: page.style: "indx" is not allowed here: write index or cursor or none (did you mean index?)
acme.yaml:12: patch.frm: there is no such knob (did you mean patch.form?); see: joinery profiles knobs
acme.yaml:15: bulk stands without a source
acme.yaml:18: etag is a knob: write it under knobs
acme.yaml:23: unknown key "origin": the keys of a.fact are confidence, source, value
acme.yaml:21: a.fact stands without a source`
	if err == nil {
		t.Fatal("it is taken")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	for name, text := range map[string]string{"nothing": "", "a list": "- a", "no YAML": "a: [", "half": "vendor: Acme"} {
		if _, err := profile.Parse("x.yaml", []byte(text)); err == nil {
			t.Error(name, "is taken")
		}
	}
}

func TestQuirksGoOverAProfileAndMistakesAreReportedByName(t *testing.T) {
	p, _ := catalogue(t).Get("slack")
	k, problems := p.Knobs.With(map[string]any{
		"page.max_count": float64(50), "create.on_existing": float64(412), "patch.bool_strings": true, "user.required": []any{"title"},
		"filter.visible_after": "5s", "rate": []any{map[string]any{"requests": float64(3), "per": "1s"}}, "page.over_max": "clamp",
	})
	want := p.Knobs.Clone()
	want.PageMax, want.OnExisting, want.BoolStrings, want.Required = 50, "412", true, []string{"title"}
	want.Visibility, want.Rates, want.PageOver = 5*time.Second, []profile.Rate{{Requests: 3, Per: time.Second}}, ""
	if diff := cmp.Diff(want, k); diff != "" || problems != nil {
		t.Error(diff, problems)
	}
	k, problems = p.Knobs.With(map[string]any{
		"page.max_count": -1.0, "page.stile": "index", "etag": "never", "patch.bool_strings": "yes", "user.required": "title",
		"filter.visible_after": "soon", "rate": []any{"3/1s", "4/1s"}, "create.status": 1.5,
	})
	said := []string{}
	for _, p := range problems {
		said = append(said, p.String())
	}
	if diff := cmp.Diff([]string{
		"create.status: a whole number from 0 to 1000000 is needed here",
		`etag: "never" is not allowed here: write advertised or no`,
		"filter.visible_after: a duration like 500ms, 30s or 1h is needed here, up to 744h0m0s",
		"page.max_count: a whole number from 0 to 1000000 is needed here",
		"page.stile: there is no such knob (did you mean page.style?); see: joinery profiles knobs",
		"patch.bool_strings: true or false is needed here",
		"rate: item 2: there is a limit per 1s already",
		"user.required: a list is needed here",
	}, said); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(p.Knobs, k); diff != "" {
		t.Error("a mistake changed something:", diff)
	}
}

// Text of a knob is what Learned reads, whatever the profile.
func TestWhatIsLearnedIsWrittenAsItIsRead(t *testing.T) {
	for _, p := range catalogue(t).All() {
		var k profile.Knobs
		for _, name := range p.Knobs.Differing(k) {
			var err error
			if k, err = k.Learned(name, p.Knobs.Text(name)); err != nil {
				t.Errorf("%s: %v", p.Name, err)
			}
			again, problems := profile.Knobs{}.With(map[string]any{name: p.Knobs.Value(name)})
			if problems != nil || again.Text(name) != p.Knobs.Text(name) {
				t.Errorf("%s: %s: %v", p.Name, name, problems)
			}
		}
		if diff := cmp.Diff(p.Knobs, k); diff != "" {
			t.Errorf("%s: %s", p.Name, diff)
		}
	}
	if _, err := (profile.Knobs{}).Learned("page.max_count", "many"); err == nil {
		t.Error("a wrong lesson is taken")
	}
}

func TestLessonsOfTheFirstReleaseAreUnderstood(t *testing.T) {
	k, err := profile.Knobs{}.Learned("patch", "refused")
	if err != nil || k.Update != "put" {
		t.Error(k.Update, err)
	}
	for range 2 {
		if k, err = k.Learned("filter.externalId", "refused"); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"externalId"}, k.FilterRefused); diff != "" {
		t.Error(diff)
	}
}

func TestEveryKnobIsDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range profile.Describe() {
		if k.Doc == "" || k.Type == "" || seen[k.Name] || (len(k.Choices) > 0 && k.Default != k.Choices[0] && k.Type == "text") {
			t.Errorf("%+v", k)
		}
		seen[k.Name] = true
	}
}
