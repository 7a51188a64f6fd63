package scimhttp_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/group"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/simulator"
)

// team is a target with n users and an empty group, and the ids of both.
func team(t *testing.T, n int, b simulator.Behaviour) (*simulator.Server, string, []group.Member) {
	t.Helper()
	sim := people(t, n, simulator.Options{Behaviour: b})
	if err := sim.Seed(scim.Groups, scim.Resource{"schemas": []any{scim.GroupSchema}, "displayName": "All"}); err != nil {
		t.Fatal(err)
	}
	var all []group.Member
	for _, u := range sim.Resources(scim.Users) {
		all = append(all, group.Member{ID: u.ID(), Display: u.UserName()})
	}
	return sim, sim.Resources(scim.Groups)[0].ID(), all
}

func TestAThousandMembersTakeTenCallsAndAreReadInOne(t *testing.T) {
	sim, id, all := team(t, 1000, simulator.Behaviour{MembersMax: 100})
	groups := knowing(t, sim, profile.Knobs{MembersMax: 100}).Groups()
	if done, err := groups.Change(t.Context(), id, group.Delta(nil, nil, all)); done != 10 || err != nil {
		t.Fatal(done, err)
	}
	if n := len(sim.Requests()); n != 10 {
		t.Errorf("%d calls", n)
	}
	got, err := groups.Members(t.Context(), id)
	if err != nil || len(got) != 1000 {
		t.Fatal(len(got), err)
	}
	before := len(sim.Requests())
	if done, err := groups.Change(t.Context(), id, group.Delta(got, all, all[1:])); done != 1 || err != nil {
		t.Error(done, err)
	}
	if n := len(sim.Requests()) - before; n != 1 {
		t.Errorf("%d calls for one membership", n)
	}
	head, err := groups.Head(t.Context(), id)
	if _, has := head.Get("members"); err != nil || has {
		t.Error("members came along", err)
	}
	if done, err := knowing(t, sim, profile.Knobs{MembersMax: 500}).Groups().Change(t.Context(), id, group.Change{Add: all}); err == nil || done != 0 {
		t.Error("without the knob:", done, err)
	}
}

func TestHiddenMembersAreFoundByAskingTheOtherWayRound(t *testing.T) {
	sim, id, all := team(t, 2, simulator.Behaviour{MembersHidden: true})
	groups := knowing(t, sim, profile.Knobs{MembersHidden: true}).Groups()
	if _, err := groups.Change(t.Context(), id, group.Change{Add: all[:1]}); err != nil {
		t.Fatal(err)
	}
	if _, err := groups.Members(t.Context(), id); !errors.Is(err, scimhttp.ErrHidden) || !fault.Is(err, fault.Unsupported) {
		t.Error(err)
	}
	var in [][]string
	for _, m := range all {
		ids, err := groups.Of(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, ids)
	}
	if diff := cmp.Diff([][]string{{id}, nil}, in); diff != "" {
		t.Error(diff)
	}
	if got, err := knowing(t, sim, profile.Knobs{}).Groups().Members(t.Context(), id); err != nil || len(got) != 0 {
		t.Error("without the knob nobody seems to be in it:", got, err)
	}
	if _, err := knowing(t, sim, profile.Knobs{GroupFilters: []string{"displayName"}}).Groups().Of(t.Context(), all[0].ID); !errors.Is(err, scimhttp.ErrNotAsked) {
		t.Error(err)
	}
}

func TestAGroupIsRenamedWhereItCanBe(t *testing.T) {
	sim, id, _ := team(t, 0, simulator.Behaviour{})
	for i, k := range []profile.Knobs{{}, {PatchForm: "pathless", OpCase: "title"}} {
		name := fmt.Sprint("Team ", i)
		if err := knowing(t, sim, k).Groups().Rename(t.Context(), id, name); err != nil {
			t.Error(err)
		}
		if got, _ := sim.Resources(scim.Groups)[0].Get("displayName"); got != name {
			t.Error(got)
		}
	}
	before := len(sim.Requests())
	if err := knowing(t, sim, profile.Knobs{GroupRename: "unsupported"}).Groups().Rename(t.Context(), id, "x"); !fault.Is(err, fault.Unsupported) || len(sim.Requests()) != before {
		t.Error(err)
	}
}
