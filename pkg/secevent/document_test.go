package secevent_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/secevent"
)

// page is the document for users.
func page(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/security-event-tokens.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var (
	tableHead = regexp.MustCompile("^\\| `((?:urn|https):[^`]+)`[^|]*\\| becomes \\|")
	tableRow  = regexp.MustCompile("^\\| `([^`]+)` \\| ([^|]+) \\|")
)

func TestTablesOfTheDocumentAreTrue(t *testing.T) {
	prefix, rows := "", map[string]int{}
	for line := range strings.Lines(page(t)) {
		if m := tableHead.FindStringSubmatch(line); m != nil {
			prefix = m[1]
			continue
		}
		m := tableRow.FindStringSubmatch(line)
		if m == nil || prefix == "" {
			if !strings.HasPrefix(line, "|") {
				prefix = ""
			}
			continue
		}
		rows[prefix]++
		payload := `{"data":{"userName":"ann","Operations":[{"op":"add","path":"title","value":"x"}]}}`
		fact := one(t, token(t, prefix+m[1], payload, nil))
		e := canonical(t, fact, mapping.SourceSpec{})
		said := []string{"recorded"}
		if fact.Acts {
			said[0] = identity.KindName(e.GetKind())
		}
		if e.GetFull() {
			said = append(said, "whole")
		}
		if e.GetUrgent() {
			said = append(said, "urgent")
		}
		if got := strings.Join(said, ", "); got != strings.TrimSpace(m[2]) {
			t.Errorf("%s becomes %s; the document says %s", m[1], got, m[2])
		}
	}
	if diff := cmp.Diff(map[string]int{scim: 12, risc: 10, caep: 2}, rows); diff != "" {
		t.Errorf("the document leaves events out: %s", diff)
	}
}

func TestSourceOfTheDocumentIsValid(t *testing.T) {
	_, text, _ := strings.Cut(page(t), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sources"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sources", "idp.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	folder, err := config.Load(dir, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"https://joinery.example/v1/sets/idp"}, folder.Sources["idp"].Auth.JWKS.Audience); diff != "" {
		t.Error(diff)
	}
	source := event.Source{Name: "idp", Rules: secevent.Rules{Rules: folder.Sources["idp"].Rules}}
	for claims, want := range map[string]map[string]any{
		string(token(t, scim+"prov:put:full", `{"data":{"userName":"ann@example.com","department":"Sales","title":"x"}}`, nil)):                              {"email": "ann@example.com", "department": "Sales"},
		string(token(t, scim+"prov:patch:full", `{"data":{"Operations":[{"op":"add","path":"title","value":"x"}]}}`, nil)):                                   {},
		string(token(t, scim+"prov:patch:full", `{"data":{"Operations":[{"op":"replace","path":"name.givenName","value":"x"}]}}`, nil)):                      {},
		string(token(t, scim+"prov:patch:full", `{"data":{"Operations":[{"op":"remove","path":"userName"},{"op":"add","path":"title","value":"x"}]}}`, nil)): {"cleared": "email"},
		string(token(t, scim+"prov:delete", `{}`, nil)): {},
	} {
		e, err := source.Interpret(one(t, []byte(claims)).Event, now)
		if err != nil {
			t.Errorf("%s: %v", claims, err)
			continue
		}
		got := e.GetAttributes().AsMap()
		for _, name := range e.GetCleared() {
			got["cleared"] = name
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(claims, diff)
		}
	}
}
