package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrecedenceNamesAnAttributeAndASourceOnce(t *testing.T) {
	got := problemsOf(t, map[string]string{"joinery.yaml": `precedence:
  - { attribute: email, sources: [idp, hr, idp] }
  - { attribute: email, sources: [hr] }
`})
	want := []string{
		"joinery.yaml:2:44: idp is there already",
		"joinery.yaml:3:18: email has a precedence already",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	j := Joinery{Precedence: []Precedence{{"email", []string{"idp", "hr"}}}}
	if diff := cmp.Diff(map[string][]string{"email": {"idp", "hr"}}, j.Orders()); diff != "" {
		t.Error(diff)
	}
}
