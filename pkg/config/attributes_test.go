package config

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const classes = `sensitive:
  - { class: pay, attributes: [salary, iban] }
  - { class: health, attributes: [leave_reason] }
`

// problemsOf is what is wrong with a folder, by line.
func problemsOf(t *testing.T, content map[string]string) []string {
	t.Helper()
	var out []string
	_, err := Load(files(t, content), environment)
	if err == nil {
		return nil
	}
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	for _, p := range problems {
		out = append(out, p.String())
	}
	return out
}

func TestATargetHasOnlyWhatItMayHave(t *testing.T) {
	target := func(attributes string) string {
		return "target: x\nendpoint: https://x.example\nauth: { bearer: { env: HR_SECRET } }\nassign: true\n" + attributes +
			"users:\n  - { to: userName, from: identity.email }\n  - { to: title, from: string(identity.salary) }\n"
	}
	for attributes, want := range map[string][]string{
		"attributes: { sensitive: [pay] }\n":                           nil,
		"attributes: { sensitive: [pay], allow: [userName, title] }\n": nil,
		"": {"targets/x.yaml:7:24: identity.salary is sensitive (pay): where this target may have it, write attributes: { sensitive: [pay] }"},
		"attributes: { sensitive: [health, pai] }\n": {
			`targets/x.yaml:5:35: joinery.yaml has no class "pai" (did you mean pay?)`,
			"targets/x.yaml:8:24: identity.salary is sensitive (pay): where this target may have it, write attributes: { sensitive: [pay] }",
		},
		"attributes: { sensitive: [pay], allow: [userName, nik] }\n": {
			`targets/x.yaml:5:51: a SCIM user has no attribute "nik"`,
			"targets/x.yaml:8:11: title is not in attributes.allow: this target may not have it",
		},
	} {
		got := problemsOf(t, map[string]string{"joinery.yaml": classes, "targets/x.yaml": target(attributes)})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", attributes, diff)
		}
	}
}

func TestClassesAreNamedOnceAndHoldAttributes(t *testing.T) {
	got := problemsOf(t, map[string]string{"joinery.yaml": `sensitive:
  - { class: pay, attributes: [salary, pay.amount] }
  - { class: pay, attributes: [iban] }
  - { class: Pay!, attributes: [] }
`})
	want := []string{
		`joinery.yaml:2:40: "pay.amount" is not the name of an attribute: write it as it stands behind identity., without a point`,
		`joinery.yaml:3:14: there is a class pay already`,
		`joinery.yaml:4:14: "Pay!" is not a name: 1 to 40 of a to z, 0 to 9 and hyphen`,
		`joinery.yaml:4:32: a list of 0 is too little: at least 1`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
