package scim_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The list of clauses names tests that exist, and counts without a gap.
func TestEveryClauseIsShownByATestThatExists(t *testing.T) {
	data, err := os.ReadFile("../../docs/scim-clauses.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("^\\| ([0-9]+) \\| RFC (7643|7644|9865) section [0-9., -]+ \\| [^|]+ \\| `([a-z/]+)` ((?:Test|Fuzz)[A-Za-z0-9]+) \\|$")
	n := 0
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| no.") {
			continue
		}
		n++
		cells := row.FindStringSubmatch(line)
		if cells == nil {
			t.Errorf("cannot be read: %s", line)
			continue
		}
		if cells[1] != strconv.Itoa(n) {
			t.Errorf("%s stands where %d is due", cells[1], n)
		}
		if !declared(t, cells[3], cells[4]) {
			t.Errorf("%s: there is no %s in %s", cells[1], cells[4], cells[3])
		}
	}
	if n < 60 {
		t.Errorf("%d clauses", n)
	}
}

// declared tells whether a package has the test.
func declared(t *testing.T, pkg, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
