package group_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/group"
	"github.com/joinery/joinery/pkg/scim"
	"pgregory.net/rapid"
)

func members(ids ...string) []group.Member {
	var out []group.Member
	for _, id := range ids {
		out = append(out, group.Member{ID: id, Display: id + "@x"})
	}
	return out
}

func TestOnlyOwnMembersAreRemovedAndNobodyIsNamedTwice(t *testing.T) {
	got := group.Delta(members("a", "b", "theirs", "b"), members("a", "b", "c"), members("a", "d", "d", ""))
	want := group.Change{Add: members("d"), Remove: members("b")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRequestsAreWrittenInTheMannerOfTheTarget(t *testing.T) {
	c := group.Change{Add: members("a", "b", "c"), Remove: members("x", `y"]`)}
	for name, row := range map[string]struct {
		manner group.Manner
		want   []string
	}{
		"as most have it": {group.Manner{}, []string{
			`[{"op":"remove","path":"members[value eq \"x\"]"},{"op":"remove","path":"members[value eq \"y\\\"]\"]"}]`,
			`[{"op":"add","path":"members","value":[{"value":"a"},{"value":"b"},{"value":"c"}]}]`,
		}},
		"one operation and two members a request, with display": {group.Manner{MaxOps: 1, MaxMembers: 2, Display: true}, []string{
			`[{"op":"remove","path":"members[value eq \"x\"]"}]`,
			`[{"op":"remove","path":"members[value eq \"y\\\"]\"]"}]`,
			`[{"op":"add","path":"members","value":[{"display":"a@x","value":"a"},{"display":"b@x","value":"b"}]}]`,
			`[{"op":"add","path":"members","value":[{"display":"c@x","value":"c"}]}]`,
		}},
		"pathless, arrays, capitals": {group.Manner{Pathless: true, ArrayRemove: true, TitleCase: true}, []string{
			`[{"op":"Remove","path":"members","value":[{"value":"x"},{"value":"y\"]"}]}]`,
			`[{"op":"Add","value":{"members":[{"value":"a"},{"value":"b"},{"value":"c"}]}}]`,
		}},
	} {
		var got []string
		for _, body := range row.manner.Bodies(c) {
			data, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(data))
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestAThousandAdditionsTakeTenRequests(t *testing.T) {
	var all []group.Member
	for i := range 1000 {
		all = append(all, group.Member{ID: fmt.Sprint(i)})
	}
	if n := len(group.Manner{MaxMembers: 100}.Bodies(group.Delta(nil, nil, all))); n != 10 {
		t.Errorf("%d requests", n)
	}
	if n := len(group.Manner{}.Bodies(group.Delta(nil, nil, all[:1]))); n != 1 {
		t.Errorf("%d requests for one", n)
	}
}

// The law of memberships: in every manner, what is wanted is there in the end,
// what was ours and is not wanted is gone, and what is somebody else's stays.
func TestEveryMannerLeadsToTheWish(t *testing.T) {
	some := rapid.SliceOfNDistinct(rapid.SampledFrom(strings.Split("abcdefgh", "")), 0, 8, rapid.ID[string])
	rapid.Check(t, func(t *rapid.T) {
		known, mine, wanted := some.Draw(t, "known"), some.Draw(t, "mine"), some.Draw(t, "wanted")
		m := group.Manner{
			Pathless: rapid.Bool().Draw(t, "pathless"), ArrayRemove: rapid.Bool().Draw(t, "array"), Display: rapid.Bool().Draw(t, "display"),
			MaxMembers: rapid.IntRange(0, 3).Draw(t, "members"), MaxOps: rapid.IntRange(0, 3).Draw(t, "ops"),
		}
		g := scim.Resource{}
		for _, id := range known {
			must(t, g.Set("members", append(held(g), map[string]any{"value": id})))
		}
		for _, body := range m.Bodies(group.Delta(members(known...), members(mine...), members(wanted...))) {
			if m.MaxOps > 0 && len(body) > m.MaxOps {
				t.Fatalf("%d operations", len(body))
			}
			next, err := g.Apply(body)
			must(t, err)
			g = next
		}
		want, got := map[string]bool{}, map[string]bool{}
		for _, id := range wanted {
			want[id] = true
		}
		for _, id := range known {
			if !strings.Contains(strings.Join(mine, ""), id) {
				want[id] = true
			}
		}
		for _, e := range held(g) {
			got[e.(map[string]any)["value"].(string)] = true
		}
		if diff := cmp.Diff(want, got); diff != "" || len(held(g)) != len(got) {
			t.Fatal(diff)
		}
	})
}

func held(g scim.Resource) []any {
	v, _ := g.Get("members")
	all, _ := v.([]any)
	return all
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}
