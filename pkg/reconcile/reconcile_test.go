package reconcile_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/reconcile"
	"github.com/joinery/joinery/pkg/scim"
	"pgregory.net/rapid"
)

func person(i int) (reconcile.Expected, scim.Resource) {
	external := fmt.Sprint("x", i)
	desired := scim.Resource{"userName": fmt.Sprint("u", i), "externalId": external}
	listed := desired.Clone()
	listed["id"], listed["active"] = fmt.Sprint("r", i), true
	return reconcile.Expected{Identity: fmt.Sprint("i", i), Wish: identity.Present, Resource: desired, RemoteID: fmt.Sprint("r", i)}, listed
}

func TestEverySituationIsRecognised(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(e *reconcile.Expected, r scim.Resource) (listed bool)
		want   reconcile.Situation
		repair bool
	}{
		{"in step", func(*reconcile.Expected, scim.Resource) bool { return true }, reconcile.InStep, false},
		{"an attribute differs", func(_ *reconcile.Expected, r scim.Resource) bool { r["userName"] = "z"; return true }, reconcile.Differs, true},
		{"inactive though wanted", func(_ *reconcile.Expected, r scim.Resource) bool { r["active"] = false; return true }, reconcile.Differs, true},
		{"not listed", func(*reconcile.Expected, scim.Resource) bool { return false }, reconcile.Missing, true},
		{"never made", func(e *reconcile.Expected, _ scim.Resource) bool { e.RemoteID = ""; return false }, reconcile.Pending, true},
		{"there, but not linked", func(e *reconcile.Expected, _ scim.Resource) bool { e.RemoteID = ""; return true }, reconcile.Unlinked, true},
		{"a leaver who is active", func(e *reconcile.Expected, _ scim.Resource) bool { e.Wish = identity.Disabled; return true }, reconcile.StillActive, true},
		{"a leaver who is not", func(e *reconcile.Expected, r scim.Resource) bool {
			e.Wish, r["active"] = identity.Disabled, false
			return true
		}, reconcile.InStep, false},
		{"to be gone, but there", func(e *reconcile.Expected, _ scim.Resource) bool { e.Wish = identity.Absent; return true }, reconcile.Undeleted, true},
		{"a stranger", func(e *reconcile.Expected, r scim.Resource) bool {
			e.Wish, e.RemoteID, r["externalId"] = identity.Absent, "other", "nobody"
			return true
		}, reconcile.Unknown, false},
		{"a second account of one person", func(e *reconcile.Expected, r scim.Resource) bool {
			r["id"] = "second"
			return true
		}, reconcile.Duplicate, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			x := reconcile.NewIndex()
			e, r := person(1)
			listed := row.change(&e, r)
			x.Expect(e)
			var got []reconcile.Finding
			if listed {
				if f, differs := x.See(r); differs {
					got = append(got, f)
				}
			}
			if row.want != reconcile.Duplicate {
				got = append(got, x.End()...)
			}
			if row.want == reconcile.InStep {
				if len(got) > 0 {
					t.Error(got)
				}
				return
			}
			if len(got) != 1 || got[0].Situation != row.want || got[0].Repaired() != row.repair {
				t.Error(got)
			}
		})
	}
}

func TestATargetThatSuddenlyShowsNobodyIsNotBelieved(t *testing.T) {
	x := reconcile.NewIndex()
	for i := range 10 {
		e, _ := person(i)
		x.Expect(e)
	}
	if x.Implausible() == "" {
		t.Error("an empty listing was believed")
	}
	for i := range 4 {
		_, r := person(i)
		x.See(r)
	}
	if x.Implausible() == "" {
		t.Error("four of ten were believed")
	}
	_, r := person(4)
	x.See(r)
	if why := x.Implausible(); why != "" {
		t.Error(why)
	}
}

// The laws: a target that shows all wishes has no findings, and a listing that
// stops early makes nobody missing before End is called.
func TestOnlyRealDifferencesAreFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 20).Draw(t, "people")
		drop := rapid.IntRange(0, n).Draw(t, "cut off after")
		x := reconcile.NewIndex()
		var listed []scim.Resource
		for i := range n {
			e, r := person(i)
			x.Expect(e)
			listed = append(listed, r)
		}
		for _, r := range listed[:drop] {
			if f, differs := x.See(r); differs {
				t.Fatal(f)
			}
		}
		want := reconcile.Counts{Wanted: n, Listed: drop, Situations: map[reconcile.Situation]int{}}
		if drop > 0 {
			want.Situations[reconcile.InStep] = drop
		}
		if diff := cmp.Diff(want, x.Counts()); diff != "" {
			t.Fatal(diff)
		}
		if missing := x.End(); len(missing) != n-drop {
			t.Fatal(missing)
		}
	})
}
