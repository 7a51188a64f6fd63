package mapper_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/scim"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/mapper"
)

// under is an event of HR under a key, which names the one before where former is
// not empty.
func under(key, former, id, kind string, after time.Duration, attributes map[string]any) *joineryv1.LifecycleEvent {
	e := says("hr", key, id, kind, after, attributes)
	e.FormerKey = former
	return e
}

// kept tells of each key by which one the person is kept, or "" where by itself.
func (d *desk) kept(keys ...string) (out []string) {
	for _, key := range keys {
		out = append(out, d.persons.records[identity.IDOf(key)].Is)
	}
	return out
}

func TestSomebodyWithANewKeyIsTheSamePerson(t *testing.T) {
	d := newDesk(t, mapper.Targets{"acme": live(everybody)})
	d.handle(
		under("1", "", "e1", "joined", 0, nil),
		under("1", "", "e2", "left", time.Hour, nil),
		under("2", "1", "e3", "rehired", 2*time.Hour, nil),
		under("2", "", "e4", "left", 3*time.Hour, nil),
		under("3", "2", "e5", "rehired", 4*time.Hour, nil),
		under("3", "2", "e6", "changed", 5*time.Hour, map[string]any{"title": "Lead"}),
	)
	d.same([]string{"", "1", "1"}, d.kept("1", "2", "3"))
	d.same([]string{
		"acme normal r1 present", "acme urgent r2 disabled e1", "acme normal r3 present e1,e2",
		"acme urgent r4 disabled e1,e2,e3", "acme normal r5 present e1,e2,e3,e4",
	}, d.post.commands)
	if _, err := d.Recompute(t.Context(), mapper.Targets{"new": live(func(mapping.Person) (mapping.Result, error) {
		return mapping.Result{Assigned: true, Resource: scim.Resource{"userName": "x"}}, nil
	})}, "config-1"); err != nil {
		t.Fatal(err)
	}
	d.same([]string{"new bulk r7 present"}, d.post.commands[5:])
}

func TestANewKeyMayComeBeforeTheOldOne(t *testing.T) {
	d := newDesk(t, mapper.Targets{"acme": live(everybody)})
	d.handle(
		under("2", "1", "e3", "rehired", 2*time.Hour, nil),
		under("1", "", "e1", "joined", 0, nil),
		under("1", "", "e2", "left", time.Hour, nil),
	)
	rec := d.persons.records[identity.IDOf("1")]
	if rec.EffectiveState() != identity.Active {
		t.Errorf("the person is %s", rec.EffectiveState())
	}
	d.same([]string{"", "1"}, d.kept("1", "2"))
}

func TestTwoPeopleAreNotMadeOne(t *testing.T) {
	d := newDesk(t, mapper.Targets{"acme": live(everybody)})
	d.handle(
		under("1", "", "e1", "joined", 0, nil),
		under("2", "", "e2", "joined", 0, nil),
		under("3", "1", "e3", "changed", time.Hour, nil),
	)
	d.refused(under("2", "1", "e4", "changed", 2*time.Hour, nil), "another person's already")
	d.handle( // these say nothing new
		under("3", "2", "e5", "changed", 3*time.Hour, nil),
		under("1", "3", "e6", "changed", 3*time.Hour, nil),
		under("1", "1", "e7", "changed", 3*time.Hour, nil),
	)
	d.same([]string{"", "", "1"}, d.kept("1", "2", "3"))
}

func TestARaceForANewKeyIsDecidedOnce(t *testing.T) {
	d := newDesk(t, mapper.Targets{"acme": live(everybody)})
	d.persons.conflicts = 1
	if err := d.Handle(t.Context(), under("2", "1", "e1", "rehired", 0, nil)); err == nil {
		t.Error("a race that was lost to nobody was taken for won")
	}
	d.handle(under("2", "1", "e1", "rehired", 0, nil))
	d.same([]string{"", "1"}, d.kept("1", "2"))
}

func TestAReferenceFollowsThePersonToTheKeyTheyAreKeptBy(t *testing.T) {
	target := live(func(p mapping.Person) (mapping.Result, error) {
		manager, _ := p.Attributes["manager"].(string)
		return mapping.Result{
			Assigned: p.Active, Resource: scim.Resource{"userName": p.Key}, References: map[string]string{"manager": manager},
		}, nil
	})
	d := newDesk(t, nil)
	target.Keeper = mapper.KeeperOf(d.persons)
	if _, err := d.Recompute(t.Context(), mapper.Targets{"acme": target}, "config-1"); err != nil {
		t.Fatal(err)
	}
	d.handle(
		under("1", "", "e1", "joined", 0, nil),
		under("2", "1", "e2", "changed", time.Hour, nil),
		under("9", "", "e3", "joined", 0, map[string]any{"manager": "2"}),
	)
	got := d.persons.records[identity.IDOf("9")].Wishes["acme"].References
	if diff := cmp.Diff(map[string]string{"manager": identity.IDOf("1")}, got); diff != "" {
		t.Error(diff)
	}
}
