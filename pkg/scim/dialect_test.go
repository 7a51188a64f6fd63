package scim_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"pgregory.net/rapid"
)

// plain is a value with boolean texts read and empty values taken out, which
// mean the same as none (RFC 7643 section 2.5).
func plain(v any) any {
	switch v := v.(type) {
	case string:
		if v == "True" || v == "False" {
			return v == "True"
		}
	case scim.Resource:
		return plain(map[string]any(v))
	case map[string]any:
		out := map[string]any{}
		for name, e := range v {
			if e = plain(e); e != nil {
				out[name] = e
			}
		}
		if len(out) > 0 {
			return out
		}
		return nil
	case []any:
		var out []any
		for _, e := range v {
			out = append(out, plain(e))
		}
		if len(out) > 0 {
			return out
		}
		return nil
	}
	return v
}

func dialects(t *rapid.T) scim.Dialect {
	return scim.Dialect{
		Pathless: rapid.Bool().Draw(t, "pathless"), MaxOps: rapid.IntRange(0, 3).Draw(t, "max"),
		TitleCase: rapid.Bool().Draw(t, "title"), NoValuePaths: rapid.Bool().Draw(t, "no value paths"),
		BoolStrings: rapid.Bool().Draw(t, "bools"),
		Ops:         rapid.SampledFrom([][]string{nil, {"replace"}, {"add", "replace"}, {"Add", "Remove"}, {"replace", "remove"}}).Draw(t, "ops"),
		Alone:       rapid.SampledFrom([][]string{nil, {"emails"}, {"name.givenName", scim.EnterpriseSchema + ":department"}}).Draw(t, "alone"),
	}
}

// The law of dialects: whatever the words, they do what was meant.
func TestEveryDialectSaysTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		observed, d := managed(t, "observed "), dialects(t)
		ops := scim.Diff(managed(t, "sent "), observed, managed(t, "desired "))
		want, err := observed.Apply(ops)
		if err != nil {
			t.Skip("userName cannot be taken away")
		}
		bodies, err := d.Shape(ops, observed)
		if err != nil {
			t.Fatal(err)
		}
		got := observed
		for _, body := range bodies {
			keeps(t, d, body)
			if got, err = got.Apply(wire(t, body)); err != nil {
				t.Fatalf("%v: %v", body, err)
			}
		}
		if diff := cmp.Diff(plain(want), plain(got)); diff != "" {
			t.Fatalf("%+v says %v:\n%s", d, bodies, diff)
		}
	})
}

// wire is what arrives of the operations.
func wire(t *rapid.T, ops []scim.Operation) []scim.Operation {
	data, err := json.Marshal(map[string]any{"Operations": ops})
	if err != nil {
		t.Fatal(err)
	}
	read, err := scim.ParsePatch(data)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// keeps checks that a body uses the dialect's words only.
func keeps(t *rapid.T, d scim.Dialect, body []scim.Operation) {
	if len(body) == 0 || d.MaxOps > 0 && len(body) > d.MaxOps {
		t.Fatalf("%d operations", len(body))
	}
	for _, op := range body {
		switch {
		case d.Pathless && op.Path != "":
			// Only what exists neither as add nor as replace has a path: remove.
			if !strings.EqualFold(op.Op, "remove") {
				t.Fatalf("a path: %v", op)
			}
		case d.NoValuePaths && strings.Contains(op.Path, "["):
			t.Fatalf("a value path: %v", op)
		case d.TitleCase != (op.Op[0] < 'a'):
			t.Fatalf("wrong case: %v", op)
		case op.Path == "active" && len(body) > 1:
			t.Fatalf("active in company: %v", body)
		}
		if len(d.Ops) > 0 && !d.Pathless && !slices.ContainsFunc(d.Ops, func(o string) bool { return strings.EqualFold(o, op.Op) }) {
			t.Fatalf("an operation that does not exist: %v", op)
		}
	}
}

func TestShapesThatVendorsDocument(t *testing.T) {
	observed := parse(t, `{"id":"1","active":true,"title":"Rep","name":{"givenName":"Ann","familyName":"Lee"},
		"emails":[{"type":"work","value":"a@x"},{"type":"home","value":"h@x"}],
		"`+scim.EnterpriseSchema+`":{"department":"R"}}`)
	ops := []scim.Operation{
		{Op: "replace", Path: "active", Value: false},
		{Op: "remove", Path: "title"},
		{Op: "replace", Path: "name.givenName", Value: "Anna"},
		{Op: "replace", Path: `emails[type eq "work"].value`, Value: "b@x"},
		{Op: "replace", Path: scim.EnterpriseSchema + ":department", Value: "S"},
	}
	emails := `[{"type":"work","value":"b@x"},{"type":"home","value":"h@x"}]`
	for name, row := range map[string]struct {
		dialect scim.Dialect
		want    []string
	}{
		"the RFC's, active last and alone": {scim.Dialect{}, []string{
			`[{"op":"remove","path":"title"},{"op":"replace","path":"name.givenName","value":"Anna"},` +
				`{"op":"replace","path":"emails[type eq \"work\"].value","value":"b@x"},` +
				`{"op":"replace","path":"` + scim.EnterpriseSchema + `:department","value":"S"}]`,
			`[{"op":"replace","path":"active","value":false}]`,
		}},
		"pathless, the rest of a name and all e-mails go along": {scim.Dialect{Pathless: true, TitleCase: true, BoolStrings: true}, []string{
			`[{"op":"Replace","value":{"emails":` + emails + `,"name":{"familyName":"Lee","givenName":"Anna"},"title":null,` +
				`"` + scim.EnterpriseSchema + `":{"department":"S"}}}]`,
			`[{"op":"Replace","value":{"active":"False"}}]`,
		}},
		"one operation a request, replace only": {scim.Dialect{MaxOps: 1, Ops: []string{"replace"}, NoValuePaths: true}, []string{
			`[{"op":"replace","path":"title","value":null}]`,
			`[{"op":"replace","path":"name.givenName","value":"Anna"}]`,
			`[{"op":"replace","path":"` + scim.EnterpriseSchema + `:department","value":"S"}]`,
			`[{"op":"replace","path":"emails","value":` + emails + `}]`,
			`[{"op":"replace","path":"active","value":false}]`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bodies, err := row.dialect.Shape(ops, observed)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, body := range bodies {
				data, err := json.Marshal(body)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(data))
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAWholeAttributeIsNotReplacedUnread(t *testing.T) {
	_, err := scim.Dialect{NoValuePaths: true}.Shape([]scim.Operation{{Op: "replace", Path: `emails[type eq "work"].value`, Value: "b@x"}}, nil)
	if !errors.Is(err, scim.ErrUnread) {
		t.Error(err)
	}
}

func TestAPathIsAboutItsAttributeAndItsPart(t *testing.T) {
	for _, row := range []struct {
		name, path string
		want       bool
	}{
		{"emails", `emails[type eq "work"].value`, true},
		{"Name", "name.givenName", true},
		{"name.givenName", "name.familyName", false},
		{"name.givenName", "name", true},
		{scim.UserSchema + ":title", "title", true},
		{"department", scim.EnterpriseSchema + ":department", false},
		{scim.EnterpriseSchema + ":department", scim.EnterpriseSchema + ":Department", true},
	} {
		if got := scim.About(row.name, row.path); got != row.want {
			t.Errorf("%s about %s: %v", row.path, row.name, got)
		}
	}
}

func TestWhatATargetHasNoRoomForIsLeftOut(t *testing.T) {
	r := parse(t, `{"userName":"a","title":"x","name":{"givenName":"A","middleName":"B"},
		"emails":[{"value":"1"},{"value":"2","primary":true}],"`+scim.EnterpriseSchema+`":{"department":"R"}}`)
	got := r.Without([]string{"Title", "name.middleName", scim.EnterpriseSchema + ":department", "nickName", "userName"}).Single([]string{"emails", "phoneNumbers"})
	want := scim.Resource{"name": map[string]any{"givenName": "A"}, "emails": []any{map[string]any{"value": "2", "primary": true}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r["title"] != "x" || len(r["emails"].([]any)) != 2 {
		t.Error("the original was changed")
	}
}
