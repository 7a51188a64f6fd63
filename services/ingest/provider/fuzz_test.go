package provider

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/services/ingest/directory"
	"golang.org/x/tools/txtar"
)

// bodies are what the files of testdata send by a method.
func bodies(f *testing.F, method string) (out []string) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, section := range txtar.Parse(text).Files {
			if i := strings.IndexByte(string(section.Data), '{'); strings.HasPrefix(section.Name, method+" ") && i >= 0 {
				out = append(out, string(section.Data[i:]))
			}
		}
	}
	return out
}

// kept checks what must hold of everything that is taken in.
func kept(t *testing.T, kind scim.Kind, r scim.Resource) {
	for _, problem := range scim.Validate(kind, r) {
		if !problem.Unknown() {
			t.Fatalf("kept in spite of %s", problem)
		}
	}
	for name := range r {
		switch strings.ToLower(name) {
		case "id", "meta", "password":
			t.Fatalf("kept with %s", name)
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	back, err := scim.Parse(text)
	if err != nil {
		t.Fatalf("what is stored cannot be read: %v", err)
	}
	again, err := accepted(kind, back)
	if err != nil {
		t.Fatalf("what was taken is refused the next time: %v", err)
	}
	if diff := cmp.Diff(r, again); diff != "" {
		t.Fatalf("what was taken is another the next time (-first +second)\n%s", diff)
	}
}

func FuzzBody(f *testing.F) {
	for _, body := range append(bodies(f, "POST"), bodies(f, "PUT")...) {
		f.Add(body)
	}
	f.Add(`{"userName":"x","ACTIVE":[{"Value":"true"}],"emails":[null,{},"a"],"manager":{"value":{"value":""}}}`)
	f.Fuzz(func(t *testing.T, body string) {
		for _, kind := range []scim.Kind{scim.Users, scim.Groups} {
			r, err := parsed([]byte(body))
			if err == nil {
				r, err = accepted(kind, r)
			}
			if err == nil {
				kept(t, kind, r)
			} else if scim.As(err) == nil {
				t.Fatalf("refused with %v", err)
			}
		}
	})
}

func FuzzPatch(f *testing.F) {
	for _, body := range bodies(f, "PATCH") {
		f.Add(body)
	}
	f.Add(`{"Operations":[{"op":"add","path":"members","value":{"value":"a"}},{"op":"replace","value":{"emails[type eq \"work\"].value":1}}]}`)
	user, err := scim.Parse([]byte(`{"schemas":["` + scim.UserSchema + `"],"userName":"ann","active":true,"emails":[{"type":"work","value":"a@x"}],"name":{"givenName":"A"}}`))
	if err != nil {
		f.Fatal(err)
	}
	group, err := scim.Parse([]byte(`{"schemas":["` + scim.GroupSchema + `"],"displayName":"g","members":[{"value":"a"},{"value":"b"}]}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for kind, now := range map[scim.Kind]scim.Resource{scim.Users: user, scim.Groups: group} {
			before := now.Clone()
			r, err := patched([]byte(body), directory.Resource{Kind: kind, Body: now})
			if err == nil {
				r, err = accepted(kind, r)
			}
			if err == nil {
				kept(t, kind, r)
			} else if scim.As(err) == nil {
				t.Fatalf("refused with %v", err)
			}
			if diff := cmp.Diff(before, now); diff != "" {
				t.Fatalf("the resource itself was changed\n%s", diff)
			}
		}
	})
}
