package joinery

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/simulator"
)

func TestTheSimulatorPlaysAProfileWithItsQuirks(t *testing.T) {
	options, rate := simulator.Options{PageMax: 100}, 0
	never := func(string) bool { return false }
	v := temper{profile: "miro", quirks: []string{"page.max_count=5", "patch.ops=add, replace"}}
	if err := v.apply(&options, &rate, never); err != nil {
		t.Fatal(err)
	}
	b := options.Behaviour
	if !b.NoGroupCreate || b.MembersMax != 8000 || b.PageMax != 5 || rate != 100 || options.Window != 30*time.Second {
		t.Errorf("%+v, %d requests per %s", b, rate, options.Window)
	}
	if diff := cmp.Diff([]string{"add", "replace"}, b.PatchOps); diff != "" {
		t.Error(diff)
	}
	rate = 7
	if err := v.apply(&options, &rate, func(flag string) bool { return flag == "rate" || flag == "page" }); err != nil || rate != 7 || options.Behaviour.PageMax != 0 {
		t.Error(rate, options.Behaviour.PageMax, err)
	}
}

func TestWithoutAProfileTheSimulatorIsAsBefore(t *testing.T) {
	options, rate := simulator.Options{}, 3
	v := temper{profile: "scim2"}
	if err := v.apply(&options, &rate, func(string) bool { return false }); err != nil || rate != 3 {
		t.Error(rate, err)
	}
	if diff := cmp.Diff(simulator.Options{}, options); diff != "" {
		t.Error(diff)
	}
}

func TestAWrongTemperIsAMistakeOfTheCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"--profile slak":             "did you mean slack?",
		"--quirk page.max_count":     "write name=value",
		"--quirk page.max_count=x":   "a whole number",
		"--quirk page.max_cuont=5":   "did you mean page.max_count?",
		"--quirk patch.op_case=loud": "write lower or title",
	} {
		got, code := said(t, append([]string{"sim"}, strings.Fields(args)...)...)
		if code != ExitUsage || !strings.Contains(got, want) {
			t.Error(args, code, got)
		}
	}
}
