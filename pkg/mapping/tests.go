package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
)

// Test is an example of what a mapping should do, written beside its rules.
type Test struct {
	// Given is the person: attributes, and key, active and state, which are
	// "test", true and "active" where the test does not say.
	Given map[string]any
	// Want holds, by path, values that the account should have, whoever is
	// assigned; null means that the account should lack the attribute. Of a map,
	// only what is named is compared.
	Want map[string]any
	// Assigned is whether the person should have an account; nil does not ask.
	Assigned *bool
}

// TestFailure is a test that the mapping does not pass. It shows the test's own
// values.
type TestFailure struct {
	// Field is where: "tests[0].want.userName".
	Field string
	// Want and Got are JSON, or a word.
	Want, Got string
}

// String says what differs.
func (f TestFailure) String() string {
	return fmt.Sprintf("%s: want %s, got %s", f.Field, f.Want, f.Got)
}

// nothing stands where an attribute is absent.
const nothing = "nothing"

// checkTests reports tests that test nothing, or attributes that no rule can write.
func checkTests(tests []Test) (problems []Problem) {
	for i, t := range tests {
		field := fmt.Sprintf("tests[%d]", i)
		if len(t.Want) == 0 && t.Assigned == nil {
			problems = append(problems, Problem{Field: field, Message: "the test wants nothing: give it want or assigned"})
		}
		for _, path := range slices.Sorted(maps.Keys(t.Want)) {
			if _, wrong := destinationOf(path, false); wrong != "" {
				problems = append(problems, Problem{Field: field + ".want." + path, Message: wrong})
			}
		}
	}
	return problems
}

// RunTests runs the tests of the Spec, and gives every difference in order.
func (m *Mapping) RunTests() []TestFailure {
	var failures []TestFailure
	for i, t := range m.tests {
		failures = append(failures, m.run(fmt.Sprintf("tests[%d]", i), t)...)
	}
	return failures
}

func (m *Mapping) run(field string, t Test) (failures []TestFailure) {
	values := t.person().values()
	if t.Assigned != nil {
		got, err := m.assigned(values)
		switch {
		case err != nil:
			failures = append(failures, TestFailure{field + ".assigned", show(*t.Assigned), told(err)})
		case got != *t.Assigned:
			failures = append(failures, TestFailure{field + ".assigned", show(*t.Assigned), show(got)})
		}
	}
	if len(t.Want) == 0 {
		return failures
	}
	r, err := m.account(values)
	if err == nil {
		err = r.takeFirst() // as if the person were alone
	}
	if err != nil {
		return append(failures, TestFailure{field, "an account", told(err)})
	}
	for _, path := range slices.Sorted(maps.Keys(t.Want)) {
		if want, got := t.Want[path], r.get(path); !like(want, got) {
			failures = append(failures, TestFailure{field + ".want." + path, show(want), show(got)})
		}
	}
	return failures
}

// person is the test's person, with the rest of an ordinary one.
func (t Test) person() Person {
	p := Person{Key: "test", Active: true, State: "active", Attributes: t.Given}
	if key, ok := t.Given["key"].(string); ok {
		p.Key = key
	}
	if active, ok := t.Given["active"].(bool); ok {
		p.Active = active
	}
	if state, ok := t.Given["state"].(string); ok {
		p.State = state
	}
	return p
}

// get is the value at a path as a test names it. Of a reference it is the key.
func (r Result) get(path string) any {
	d, _ := destinationOf(path, false)
	if v, ok := r.Resource.Get(d.String()); ok {
		return v
	}
	for _, referred := range []string{d.String(), d.String() + ".value"} {
		if key, ok := r.References[referred]; ok {
			return key
		}
	}
	return nil
}

// like compares as JSON does; of maps only the keys wanted.
func like(want, got any) bool {
	expected, ok := want.(map[string]any)
	if !ok {
		return show(want) == show(got)
	}
	found, ok := got.(map[string]any)
	if !ok {
		return false
	}
	for name, w := range expected {
		v, _ := scim.Resource(found).Get(name)
		if !like(w, v) {
			return false
		}
	}
	return true
}

func show(v any) string {
	if v == nil {
		return nothing
	}
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nothing
	}
	return strings.TrimSpace(out.String())
}

// told is a failure with what CEL says of it, which may quote the test's values.
func told(err error) string {
	text := "an error: " + err.Error()
	if failed := (*RuleError)(nil); errors.As(err, &failed) && failed.cause != nil {
		if more := detail(failed.cause); more != failed.Reason {
			text += " (" + more + ")"
		}
	}
	return text
}
