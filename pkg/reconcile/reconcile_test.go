package reconcile_test

import (
	"fmt"
	"maps"
	"math/rand"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/reconcile"
	"github.com/joinery/joinery/pkg/scim"
	"pgregory.net/rapid"
)

// person is the i-th person, and the account that shows exactly what is wished.
func person(i int) (reconcile.Expected, scim.Resource) {
	external := fmt.Sprint("x", i)
	desired := scim.Resource{"userName": fmt.Sprint("u", i), "externalId": external}
	listed := desired.Clone()
	listed["id"], listed["active"] = fmt.Sprint("r", i), true
	return reconcile.Expected{Identity: fmt.Sprint("i", i), Wish: identity.Present, Resource: desired, RemoteID: fmt.Sprint("r", i)}, listed
}

// compare gives all findings of a complete listing.
func compare(expected []reconcile.Expected, listed []scim.Resource) ([]reconcile.Finding, *reconcile.Index) {
	x := reconcile.NewIndex()
	for _, e := range expected {
		x.Expect(e)
	}
	var got []reconcile.Finding
	for _, r := range listed {
		if f, differs := x.See(r); differs {
			got = append(got, f)
		}
	}
	return append(got, x.End()...), x
}

func TestEverySituationIsRecognised(t *testing.T) {
	finding := func(s reconcile.Situation, remote string, attributes ...string) []reconcile.Finding {
		return []reconcile.Finding{{Situation: s, Identity: "i1", RemoteID: remote, Attributes: attributes}}
	}
	stranger := func(s reconcile.Situation, attributes ...string) []reconcile.Finding {
		return []reconcile.Finding{{Situation: s, Identity: "i1", RemoteID: "r1", Attributes: attributes, Stranger: true}}
	}
	for _, row := range []struct {
		name   string
		change func(e *reconcile.Expected, r scim.Resource) (listed bool)
		want   []reconcile.Finding
		repair bool
	}{
		{"in step", func(*reconcile.Expected, scim.Resource) bool { return true }, nil, false},
		{
			"in step, and the target shows more than is managed",
			func(_ *reconcile.Expected, r scim.Resource) bool { r["title"] = "Dr"; return true }, nil, false,
		},
		{
			"an attribute differs",
			func(_ *reconcile.Expected, r scim.Resource) bool { r["userName"] = "z"; return true },
			finding(reconcile.Differs, "r1", "userName"), true,
		},
		{
			"inactive though wanted",
			func(_ *reconcile.Expected, r scim.Resource) bool { r["active"] = false; return true },
			finding(reconcile.Differs, "r1", "active"), true,
		},
		{
			"inactive as the mapping says",
			func(e *reconcile.Expected, r scim.Resource) bool {
				e.Resource["active"], r["active"] = false, false
				return true
			}, nil, false,
		},
		{
			"not listed",
			func(*reconcile.Expected, scim.Resource) bool { return false },
			finding(reconcile.Missing, "r1"), true,
		},
		{
			"never made",
			func(e *reconcile.Expected, _ scim.Resource) bool { e.RemoteID = ""; return false },
			finding(reconcile.Pending, ""), true,
		},
		{
			"there, but not linked",
			func(e *reconcile.Expected, _ scim.Resource) bool { e.RemoteID = ""; return true },
			finding(reconcile.Unlinked, "r1"), true,
		},
		{
			"there by name, but not linked",
			func(e *reconcile.Expected, r scim.Resource) bool {
				e.RemoteID, r["userName"] = "", "U1"
				delete(r, "externalId")
				return true
			},
			finding(reconcile.Unlinked, "r1"), true,
		},
		{
			"made again by somebody, under another id",
			func(e *reconcile.Expected, _ scim.Resource) bool { e.RemoteID = "gone"; return true },
			finding(reconcile.Unlinked, "r1"), true,
		},
		{
			"a leaver who is active",
			func(e *reconcile.Expected, _ scim.Resource) bool { e.Wish = identity.Disabled; return true },
			finding(reconcile.StillActive, "r1", "active"), true,
		},
		{
			"a leaver of whom the target does not say",
			func(e *reconcile.Expected, r scim.Resource) bool {
				e.Wish = identity.Disabled
				delete(r, "active")
				return true
			},
			finding(reconcile.StillActive, "r1", "active"), true,
		},
		{
			"a leaver who is inactive",
			func(e *reconcile.Expected, r scim.Resource) bool {
				e.Wish, r["active"] = identity.Disabled, false
				return true
			}, nil, false,
		},
		{
			"a leaver who is not listed",
			func(e *reconcile.Expected, _ scim.Resource) bool { e.Wish = identity.Disabled; return false }, nil, false,
		},
		{
			"a leaver's like is active, and not ours to end",
			func(e *reconcile.Expected, _ scim.Resource) bool {
				e.Wish, e.RemoteID = identity.Disabled, ""
				return true
			},
			stranger(reconcile.StillActive, "active"), false,
		},
		{
			"a leaver's like is inactive",
			func(e *reconcile.Expected, r scim.Resource) bool {
				e.Wish, e.RemoteID, r["active"] = identity.Disabled, "", false
				return true
			}, nil, false,
		},
		{
			"left as it is",
			func(e *reconcile.Expected, r scim.Resource) bool {
				e.Wish, r["title"] = identity.Unmanaged, "other"
				return true
			}, nil, false,
		},
		{
			"left as it is, and not listed",
			func(e *reconcile.Expected, _ scim.Resource) bool { e.Wish = identity.Unmanaged; return false }, nil, false,
		},
		{
			"the like of somebody whose account is left as it is",
			func(e *reconcile.Expected, _ scim.Resource) bool {
				e.Wish, e.RemoteID = identity.Unmanaged, ""
				return true
			}, nil, false,
		},
		{
			"to be gone, but there",
			func(e *reconcile.Expected, _ scim.Resource) bool { e.Wish = identity.Absent; return true },
			finding(reconcile.Undeleted, "r1"), true,
		},
		{
			"to be gone, and gone",
			func(e *reconcile.Expected, _ scim.Resource) bool { e.Wish = identity.Absent; return false }, nil, false,
		},
		{
			"to be gone, but a like is there, not ours to end",
			func(e *reconcile.Expected, _ scim.Resource) bool {
				e.Wish, e.RemoteID = identity.Absent, ""
				return true
			},
			stranger(reconcile.Undeleted), false,
		},
		{
			"a stranger",
			func(e *reconcile.Expected, r scim.Resource) bool {
				e.Wish, e.RemoteID = identity.Absent, ""
				r["externalId"], r["userName"] = "nobody", "nobody"
				return true
			},
			[]reconcile.Finding{{Situation: reconcile.Unknown, RemoteID: "r1"}},
			false,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			e, r := person(1)
			var listed []scim.Resource
			if row.change(&e, r) {
				listed = append(listed, r)
			}
			got, x := compare([]reconcile.Expected{e}, listed)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Fatal(diff)
			}
			for _, f := range got {
				if f.Repaired() != row.repair {
					t.Error("repaired:", f.Repaired())
				}
				if x.Counts().Situations[f.Situation] != 1 {
					t.Error(x.Counts())
				}
			}
		})
	}
}

func TestASecondAccountOfOnePersonIsADuplicateInWhateverOrderTheyCome(t *testing.T) {
	for _, reversed := range []bool{false, true} {
		e, own := person(1)
		second := own.Clone()
		second["id"] = "second"
		listed := []scim.Resource{own, second}
		if reversed {
			listed = []scim.Resource{second, own}
		}
		got, x := compare([]reconcile.Expected{e}, listed)
		want := []reconcile.Finding{{Situation: reconcile.Duplicate, Identity: "i1", RemoteID: "second"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		counts := reconcile.Counts{Wanted: 1, Listed: 2, Situations: map[reconcile.Situation]int{reconcile.InStep: 1, reconcile.Duplicate: 1}}
		if diff := cmp.Diff(counts, x.Counts()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTwoLikesOfOnePersonAreLinkedOnceAtMost(t *testing.T) {
	e, first := person(1)
	e.RemoteID = ""
	second := first.Clone()
	second["id"] = "second"
	got, _ := compare([]reconcile.Expected{e}, []scim.Resource{first, second})
	want := []reconcile.Finding{
		{Situation: reconcile.Unlinked, Identity: "i1", RemoteID: "r1"},
		{Situation: reconcile.Duplicate, Identity: "i1", RemoteID: "second"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTwoStrangersWithOneExternalIdAreADuplicateToo(t *testing.T) {
	_, first := person(1)
	second := first.Clone()
	second["id"], second["userName"] = "second", "other"
	got, _ := compare(nil, []scim.Resource{first, second})
	want := []reconcile.Finding{
		{Situation: reconcile.Unknown, RemoteID: "r1"},
		{Situation: reconcile.Duplicate, RemoteID: "second"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhoseNameAlreadyHasItsAccountIsNotMatchedByNameAgain(t *testing.T) {
	e, own := person(1)
	like := scim.Resource{"id": "like", "userName": "U1", "externalId": "somebody else"}
	got, _ := compare([]reconcile.Expected{e}, []scim.Resource{like, own})
	if diff := cmp.Diff([]reconcile.Finding{{Situation: reconcile.Unknown, RemoteID: "like"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhoeverJoinedWhileTheTargetWasReadIsNoStranger(t *testing.T) {
	x := reconcile.NewIndex()
	waiting, early := person(1)
	waiting.RemoteID = ""
	x.Expect(waiting)
	_, unheard := person(2)
	x.See(early)
	x.See(unheard)
	if x.Loose() != 2 || x.Linked("i1") || x.Linked("i2") {
		t.Error(x.Loose(), x.Linked("i1"), x.Linked("i2"))
	}
	x.Link("r2")
	want := []reconcile.Finding{{Situation: reconcile.Unlinked, Identity: "i1", RemoteID: "r1"}}
	if diff := cmp.Diff(want, x.End()); diff != "" {
		t.Error(diff)
	}
}

func TestFindingsNameAttributesAndNeverTheirValues(t *testing.T) {
	e, r := person(1)
	e.Resource["emails"] = []any{
		map[string]any{"value": "ann@example.com", "primary": true},
		map[string]any{"value": "a@example.com", "primary": true},
		map[string]any{"type": "work", "value": "ann@example.com"},
	}
	r["emails"] = []any{
		map[string]any{"value": "ann@example.com"},
		map[string]any{"value": "a@example.com"},
		map[string]any{"type": "work", "value": "b@example.com"},
	}
	got, _ := compare([]reconcile.Expected{e}, []scim.Resource{r})
	want := []reconcile.Finding{{
		Situation: reconcile.Differs, Identity: "i1", RemoteID: "r1",
		Attributes: []string{"emails.primary", `emails[type eq "work"].value`},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
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
		x.See(r) // a repeated one counts once
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

func TestLeaversWhoAreGoneMakeNoListingImplausible(t *testing.T) {
	x := reconcile.NewIndex()
	for i := range 10 {
		e, _ := person(i)
		if i > 0 {
			e.Wish = identity.Disabled
		}
		x.Expect(e)
	}
	_, r := person(0)
	x.See(r)
	if why := x.Implausible(); why != "" {
		t.Error(why)
	}
}

func TestOfThreePeopleTwoMayBeGone(t *testing.T) {
	x := reconcile.NewIndex()
	for i := range 3 {
		e, _ := person(i)
		x.Expect(e)
	}
	_, r := person(0)
	x.See(r)
	if why := x.Implausible(); why != "" {
		t.Error(why)
	}
}

func TestAReportIsBoundedAndCountsTheRest(t *testing.T) {
	run := reconcile.Run{State: reconcile.Running}
	for range reconcile.MaxFindings + 7 {
		run.Add(reconcile.Finding{Situation: reconcile.Unknown})
	}
	if len(run.Findings) != reconcile.MaxFindings || run.Truncated != 7 {
		t.Error(len(run.Findings), run.Truncated)
	}
}

func TestARunIsOverWhenItsVerdictIsKnown(t *testing.T) {
	for state, over := range map[reconcile.RunState]bool{
		reconcile.Requested: false, reconcile.Running: false, reconcile.Done: true,
		reconcile.Failed: true, reconcile.Implausible: true, reconcile.Skipped: true,
	} {
		if run := (reconcile.Run{State: state}); run.Ended() != over {
			t.Error(state, run.Ended())
		}
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
		if strangers := x.Strangers(); len(strangers) > 0 {
			t.Fatal(strangers)
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

// town draws people of all wishes and links, and a target that shows them
// anyhow, with strangers and likes among them.
func town(t *rapid.T) (expected []reconcile.Expected, listed []scim.Resource) {
	wishes := rapid.SampledFrom([]string{identity.Present, identity.Disabled, identity.Absent})
	for i := range rapid.IntRange(0, 12).Draw(t, "people") {
		e, r := person(i)
		e.Wish = wishes.Draw(t, "wish")
		if rapid.Bool().Draw(t, "not linked") {
			e.RemoteID = ""
		}
		if rapid.Bool().Draw(t, "inactive") {
			r["active"] = false
		}
		if rapid.Bool().Draw(t, "known") {
			expected = append(expected, e)
		}
		if rapid.Bool().Draw(t, "listed") {
			listed = append(listed, r)
		}
		if rapid.IntRange(0, 3).Draw(t, "like") == 0 {
			like := r.Clone()
			like["id"] = fmt.Sprint("like", i)
			listed = append(listed, like)
		}
	}
	return expected, listed
}

// The order in which a target lists its accounts is its own business: it changes
// neither what is found of linked accounts nor how many of each kind there are.
func TestTheOrderOfAListingChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		expected, listed := town(t)
		_, first := compare(expected, listed)
		rand.New(rand.NewSource(rapid.Int64().Draw(t, "order"))).Shuffle(len(listed), func(i, j int) {
			listed[i], listed[j] = listed[j], listed[i]
		})
		_, second := compare(expected, listed)
		if diff := cmp.Diff(first.Counts(), second.Counts(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// What is repaired is always somebody's, nobody is repaired twice, and an account
// that is ours by no link is never ended.
func TestRepairsAreOfOurOwnAndOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		expected, listed := town(t)
		linked := map[string]string{}
		for _, e := range expected {
			linked[e.Identity] = e.RemoteID
		}
		got, x := compare(expected, listed)
		repaired := map[string]bool{}
		for _, f := range got {
			if !f.Repaired() {
				continue
			}
			if f.Identity == "" || repaired[f.Identity] {
				t.Fatal("repaired twice, or nobody's:", f)
			}
			repaired[f.Identity] = true
			if ends := f.Situation == reconcile.Undeleted || f.Situation == reconcile.StillActive; ends && linked[f.Identity] != f.RemoteID {
				t.Fatal("ends what is not ours:", f)
			}
		}
		total := 0
		for situation, n := range x.Counts().Situations {
			if situation != reconcile.InStep {
				total += n
			}
		}
		if total != len(got) {
			t.Fatal(total, got)
		}
	})
}

// Rows that were not read before a listing broke off make nothing missing and
// end nothing that the whole listing would not have ended.
func TestABrokenListingNeverFindsMoreToEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		expected, listed := town(t)
		whole, _ := compare(expected, listed)
		ending := map[string]bool{}
		for _, f := range whole {
			ending[f.RemoteID] = f.Situation == reconcile.StillActive || f.Situation == reconcile.Undeleted
		}
		x := reconcile.NewIndex()
		for _, e := range expected {
			x.Expect(e)
		}
		for _, r := range listed[:rapid.IntRange(0, len(listed)).Draw(t, "cut off after")] {
			f, differs := x.See(r)
			if !differs {
				continue
			}
			if f.Situation == reconcile.Missing || f.Situation == reconcile.Pending {
				t.Fatal("missing before the end:", f)
			}
			if f.Situation != reconcile.Differs && f.Situation != reconcile.Duplicate && !ending[f.RemoteID] {
				t.Fatal("only the broken listing ends this:", f)
			}
		}
	})
}

func TestEverySituationIsListedOnce(t *testing.T) {
	seen := map[reconcile.Situation]bool{}
	for _, s := range reconcile.Situations() {
		seen[s] = true
	}
	want := map[reconcile.Situation]bool{
		reconcile.InStep: true, reconcile.Differs: true, reconcile.Missing: true, reconcile.Pending: true, reconcile.Unlinked: true,
		reconcile.StillActive: true, reconcile.Undeleted: true, reconcile.Unknown: true, reconcile.Duplicate: true,
	}
	if !maps.Equal(seen, want) || len(reconcile.Situations()) != len(want) {
		t.Error(reconcile.Situations())
	}
}
