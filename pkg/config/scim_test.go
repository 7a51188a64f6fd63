package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestThePublicURLIsOneToWhichPathsCanBeAdded(t *testing.T) {
	for text, problem := range map[string]string{
		"": "", "https://joinery.example": "", "https://example.com/joinery/": "",
		"joinery.example":               "https://",
		"ftp://joinery.example":         "https://",
		"https://joinery.example?a=b":   "no query",
		"https://u:p@joinery.example/x": "no password",
	} {
		dir := t.TempDir()
		source := "source: idp\nauth: { bearer: { env: HR_SECRET } }\nidentity_key: event.data.person.id\nscim: { public_url: " + `"` + text + `"` + " }\n"
		for name, data := range map[string]string{"joinery.yaml": "{}\n", "sources/idp.yaml": source} {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f, err := Load(dir, environment)
		switch {
		case problem == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case problem == "" && f.Sources["idp"].SCIM.PublicURL != text:
			t.Errorf("%q became %q", text, f.Sources["idp"].SCIM.PublicURL)
		case problem != "" && (err == nil || !strings.Contains(err.Error(), problem) || !strings.Contains(err.Error(), "sources/idp.yaml:4")):
			t.Errorf("%q: %v", text, err)
		}
	}
}
