package mapping

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the library's tables into docs/mapping.md")

const document = "../../docs/mapping.md"

// tables are the functions as the document shows them.
func tables() string {
	var b strings.Builder
	group := ""
	for _, f := range Functions() {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&b, "\n### %s%s\n\n| function | gives | example |\n|---|---|---|\n", strings.ToUpper(group[:1]), group[1:])
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` → `%s` |\n", f.Signature, f.Doc, f.Example, f.Gives)
	}
	return b.String() + "\n"
}

// manual is the document: before, within and behind the library's tables.
func manual(t *testing.T) (before, within, behind string) {
	t.Helper()
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), "<!-- functions -->\n")
	within, behind, ended := strings.Cut(rest, "<!-- end -->")
	if !found || !ended {
		t.Fatal("the document has no place for the functions")
	}
	return before, within, behind
}

func TestTheDocumentHasEveryFunction(t *testing.T) {
	before, within, behind := manual(t)
	if *update {
		text := before + "<!-- functions -->\n" + tables() + "<!-- end -->" + behind
		if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if within != tables() {
		t.Error("docs/mapping.md does not show the library as it is: run this test with -update")
	}
}

func TestEveryExampleOfTheDocumentGivesWhatItSays(t *testing.T) {
	before, within, behind := manual(t)
	examples := regexp.MustCompile("`([^`]+)` → `([^`]+)`").FindAllStringSubmatch(before+within+behind, -1)
	if len(examples) < len(Functions())+40 {
		t.Errorf("only %d examples", len(examples))
	}
	for _, e := range examples {
		if got := evaluated(t, e[1], Person{Active: true}); got != e[2] {
			t.Errorf("%s gives %s, not %s", e[1], got, e[2])
		}
	}
}

func TestTheDocumentKnowsEveryEntraFunction(t *testing.T) {
	_, _, behind := manual(t)
	for name := range strings.FieldsSeq(`Append AppRoleAssignmentsComplex BitAnd CBool CDate Coalesce ConvertToBase64
		ConvertToUTF8Hex Count CStr DateAdd DateDiff DateFromNum DefaultDomain FormatDateTime Guid IgnoreFlowIfNullOrEmpty IIF
		InStr IsNull IsNullOrEmpty IsPresent IsString Item Join Left Len Mid NormalizeDiacritics Not Now NumFromDate PCase
		RandomString Redact RemoveDuplicates Replace SelectUniqueValue SingleAppRoleAssignment Split StripSpaces Switch ToLower
		ToUpper Word`) {
		if !strings.Contains(behind, "\n| "+name+" | ") {
			t.Errorf("%s is missing", name)
		}
	}
}
