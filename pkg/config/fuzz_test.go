package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

// FuzzLoad: whatever a file holds, it is read or refused with places that exist,
// in bounded time, and no secret is repeated.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"testdata/example.txtar", "testdata/wrong.txtar"} {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			f.Add(filepath.Dir(file.Name) == "targets", file.Data)
		}
	}
	for _, seed := range []string{
		"a: &a [*a]", "? {a: b} : c", "{", "[", "- - - -", "a: |\n b\n  c", "a: >-\n\n\n b", "%YAML 1.2\n---\n", "\t", "a: !!binary x",
		"users: [{to: userName, from: \"\\u00e9\"}]", "a: 'x\n\n y'", "<<: *x", "&a a: b", "--- a\n--- b", "a: 0x_1", "a: .nan", "a: -.inf",
	} {
		f.Add(true, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, isTarget bool, data []byte) {
		name := "joinery.yaml"
		if isTarget {
			name = "targets/x.yaml"
		}
		dir := files(t, map[string]string{name: string(data)})
		begun := time.Now()
		folder, err := Load(dir, func(string) (string, bool) { return "canary7731", true })
		if took := time.Since(begun); took > 10*time.Second {
			t.Fatalf("took %v", took)
		}
		if (folder == nil) == (err == nil) {
			t.Fatalf("neither read nor refused: %v, %v", folder, err)
		}
		if err == nil {
			_ = folder.RunTests()
			return
		}
		var problems Problems
		if !errors.As(err, &problems) {
			t.Fatalf("not Problems: %v", err)
		}
		lines := strings.Count(string(data), "\n") + 1
		for _, p := range problems {
			if p.File == "" || p.Message == "" || p.Line < 0 || p.Line > lines || (p.Line > 0 && p.Column < 1) {
				t.Errorf("a problem without a place: %+v", p)
			}
			if strings.ContainsAny(p.String(), "\n") {
				t.Errorf("a problem of several lines: %q", p)
			}
		}
		if strings.Contains(err.Error(), "canary7731") && !strings.Contains(string(data), "canary7731") {
			t.Errorf("a secret is repeated: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	})
}
