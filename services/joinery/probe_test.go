package joinery

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
)

// command runs a command line.
func command(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = Main(args, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

func TestATargetIsProbedFromTheCommandLine(t *testing.T) {
	t.Setenv("ACME_TOKEN", "secret")
	sim := simulator.New(simulator.Options{Token: "secret", Behaviour: simulator.Behaviour{PatchSuccess: "204"}})
	server := httptest.NewServer(sim)
	defer server.Close()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "targets"), 0o700); err != nil {
		t.Fatal(err)
	}
	target := fmt.Sprintf(`target: acme
endpoint: %s
allow_private: true
auth: { bearer: { env: ACME_TOKEN } }
rate: [{ requests: 100000, per: 1s }]
assign: identity.active
users: [{ to: userName, from: identity.email }]
`, server.URL)
	if err := os.WriteFile(filepath.Join(dir, "targets", "acme.yaml"), []byte(target), 0o600); err != nil {
		t.Fatal(err)
	}
	save, markdown := filepath.Join(dir, "acme.json"), filepath.Join(dir, "acme.md")
	code, out, errs := command("probe", "acme", "--config", dir, "--write", "--save", save, "--markdown", markdown)
	if code != ExitOK || !strings.Contains(out, `patch.answer: "none"`) || !strings.Contains(errs, "PATCH replaces an attribute") {
		t.Error(code, out, errs)
	}
	if text, err := os.ReadFile(markdown); err != nil || !strings.Contains(string(text), "# SCIM 2.0 conformance of acme") {
		t.Error(err, string(text))
	}
	if n := len(sim.Resources(scim.Users)); n != 0 {
		t.Errorf("%d users remain", n)
	}
	if code, out, errs := command("probe", "acme", "--config", dir, "--write", "--compare", save); code != ExitOK || !strings.Contains(out, "Nothing changed.") {
		t.Error(code, out, errs)
	}
	for _, wrong := range [][]string{
		{"probe"}, {"probe", "globex", "--config", dir}, {"probe", "acme", "--config", dir, "--compare", markdown}, {"probe", "acme", "--config", dir + "/no"},
	} {
		if code, _, errs := command(wrong...); code != ExitUsage || errs == "" {
			t.Error(wrong, code, errs)
		}
	}
	server.Close()
	if code, _, errs := command("probe", "acme", "--config", dir); code != ExitFailed || !strings.Contains(errs, "no service provider answers there") {
		t.Error(code, errs)
	}
}
