package identity_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

const (
	joined   = joineryv1.LifecycleKind_LIFECYCLE_KIND_JOINED
	changed  = joineryv1.LifecycleKind_LIFECYCLE_KIND_CHANGED
	left     = joineryv1.LifecycleKind_LIFECYCLE_KIND_LEFT
	rehired  = joineryv1.LifecycleKind_LIFECYCLE_KIND_REHIRED
	snapshot = joineryv1.LifecycleKind_LIFECYCLE_KIND_SNAPSHOT
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func event(id string, kind joineryv1.LifecycleKind, after time.Duration, attributes map[string]any) *joineryv1.LifecycleEvent {
	fields, err := structpb.NewStruct(attributes)
	if err != nil {
		panic(err)
	}
	return &joineryv1.LifecycleEvent{
		Id: id, Source: "hr", IdentityKey: "1001", Kind: kind,
		OccurredAt: timestamppb.New(start.Add(after)), Attributes: fields,
	}
}

func fold(t *testing.T, events ...*joineryv1.LifecycleEvent) (*identity.Record, []identity.Effect) {
	t.Helper()
	r := &identity.Record{}
	var effects []identity.Effect
	for _, e := range events {
		effect, err := r.Fold(e)
		if err != nil {
			t.Fatalf("fold %s: %v", e.GetId(), err)
		}
		effects = append(effects, effect)
	}
	return r, effects
}

func TestLifeIsFoldedFromFacts(t *testing.T) {
	a := map[string]any{"department": "Engineering"}
	for _, row := range []struct {
		name    string
		events  []*joineryv1.LifecycleEvent
		state   identity.State
		current map[string]any
		effects []identity.Effect
	}{
		{
			"a joiner is active",
			[]*joineryv1.LifecycleEvent{event("1", joined, 0, a)},
			identity.Active, a,
			[]identity.Effect{identity.Applied},
		},
		{
			"a mover changes only what was said",
			[]*joineryv1.LifecycleEvent{
				event("1", joined, 0, map[string]any{"department": "Sales", "title": "Rep"}),
				event("2", changed, time.Hour, a),
			},
			identity.Active,
			map[string]any{"department": "Engineering", "title": "Rep"},
			[]identity.Effect{identity.Applied, identity.Applied},
		},
		{
			"a leaver is never undone by an older joiner",
			[]*joineryv1.LifecycleEvent{event("2", left, time.Hour, nil), event("1", joined, 0, nil)},
			identity.Terminated,
			map[string]any{},
			[]identity.Effect{identity.Applied, identity.Superseded},
		},
		{
			"an ending wins over a beginning at the same instant",
			[]*joineryv1.LifecycleEvent{event("9", joined, 0, nil), event("1", left, 0, nil), event("9", joined, 0, nil)},
			identity.Terminated,
			map[string]any{},
			[]identity.Effect{identity.Applied, identity.Applied, identity.Superseded},
		},
		{
			"someone who comes back is active again",
			[]*joineryv1.LifecycleEvent{event("1", joined, 0, a), event("2", left, time.Hour, nil), event("3", rehired, 2*time.Hour, nil)},
			identity.Active, a,
			[]identity.Effect{identity.Applied, identity.Applied, identity.Applied},
		},
		{
			"a change to a leaver does not bring them back",
			[]*joineryv1.LifecycleEvent{event("2", left, 0, nil), event("3", changed, time.Hour, a)},
			identity.Terminated, a,
			[]identity.Effect{identity.Applied, identity.Applied},
		},
		{
			"a repeated event changes nothing",
			[]*joineryv1.LifecycleEvent{event("1", joined, 0, a), event("1", joined, 0, a)},
			identity.Active, a,
			[]identity.Effect{identity.Applied, identity.NoChange},
		},
		{
			"being listed is enough to be active, but not against a leaving",
			[]*joineryv1.LifecycleEvent{event("1", snapshot, 0, a)},
			identity.Active, a,
			[]identity.Effect{identity.Applied},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, effects := fold(t, row.events...)
			if diff := cmp.Diff(row.effects, effects); diff != "" {
				t.Error("effects", diff)
			}
			if got := r.EffectiveState(); got != row.state {
				t.Errorf("state %q, want %q", got, row.state)
			}
			if diff := cmp.Diff(row.current, r.Current()); diff != "" {
				t.Error("attributes", diff)
			}
		})
	}
}

func TestClearedAndLeftOutAreDifferent(t *testing.T) {
	clearing := event("2", changed, time.Hour, nil)
	clearing.Cleared = []string{"title"}
	r, _ := fold(t, event("1", joined, 0, map[string]any{"title": "Rep", "city": "Oslo"}), clearing)
	if diff := cmp.Diff(map[string]any{"city": "Oslo"}, r.Current()); diff != "" {
		t.Error(diff)
	}
}

func TestAFullStatementClearsWhatItsOwnSourceLeftOut(t *testing.T) {
	other := event("0", changed, 0, map[string]any{"badge": "7"})
	other.Source = "doors"
	full := event("2", changed, time.Hour, map[string]any{"city": "Bergen"})
	full.Full = true
	r, _ := fold(t, other, full, event("1", joined, 0, map[string]any{"title": "Rep", "city": "Oslo"}))
	if diff := cmp.Diff(map[string]any{"city": "Bergen", "badge": "7"}, r.Current()); diff != "" {
		t.Error(diff)
	}
	if got := r.Provenance()["badge"].Source; got != "doors" {
		t.Errorf("badge comes from %q, want doors", got)
	}
}

func TestEventsThatCanNeverBeFoldedAreRefused(t *testing.T) {
	r := &identity.Record{Key: "1002"}
	noTime := event("1", joined, 0, nil)
	noTime.OccurredAt = nil
	noTime.IdentityKey = "1002"
	for name, e := range map[string]*joineryv1.LifecycleEvent{
		"another person": event("1", joined, 0, nil), "no time": noTime, "no key": {Id: "1"},
		"no kind": {Id: "1", IdentityKey: "1002", OccurredAt: timestamppb.New(start)},
	} {
		if _, err := r.Fold(e); err == nil {
			t.Errorf("%s: folded", name)
		}
	}
}

// The law that makes delivery order a matter of speed, not of truth.
func TestAnyOrderAnyNumberOfTimesGivesTheSamePerson(t *testing.T) {
	kinds := []joineryv1.LifecycleKind{joined, changed, left, rehired, snapshot}
	rapid.Check(t, func(t *rapid.T) {
		var life []*joineryv1.LifecycleEvent
		for i := range rapid.IntRange(1, 8).Draw(t, "events") {
			e := event(string(rune('a'+i)), rapid.SampledFrom(kinds).Draw(t, "kind"),
				time.Duration(rapid.IntRange(0, 4).Draw(t, "hour"))*time.Hour,
				map[string]any{rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name"): float64(i)})
			e.Source = rapid.SampledFrom([]string{"hr", "idp"}).Draw(t, "source")
			e.Full = rapid.Bool().Draw(t, "full")
			if rapid.Bool().Draw(t, "clears") {
				e.Cleared = []string{"z"}
			}
			life = append(life, e)
		}
		inOrder := &identity.Record{}
		for _, e := range life {
			if _, err := inOrder.Fold(e); err != nil {
				t.Fatal(err)
			}
		}
		shuffled := &identity.Record{}
		for _, e := range rapid.Permutation(append(life, life[rapid.IntRange(0, len(life)-1).Draw(t, "doubled")])).Draw(t, "order") {
			if _, err := shuffled.Fold(e); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(inOrder, shuffled); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestHistoryIsBoundedAndHoldsAnEventOnce(t *testing.T) {
	r := &identity.Record{}
	for i := range identity.MaxEvents + 10 {
		e := event(string(rune('A'+i)), changed, 0, nil)
		r.Remember(e, identity.Applied)
		r.Remember(e, identity.NoChange)
	}
	if len(r.Events) != identity.MaxEvents || r.Events[0].Event != string(rune('A'+10)) {
		t.Errorf("%d events from %q", len(r.Events), r.Events[0].Event)
	}
}

func TestAWishBecomesACommandWithItsTrail(t *testing.T) {
	first := identity.Wish{Wish: identity.Present, Revision: 1, Event: "e1", Resource: map[string]any{"userName": "ann"}}
	second := identity.Wish{Wish: identity.Disabled, Revision: 2, Event: "e2", Lane: joineryv1.Lane_LANE_URGENT}.Replacing(first)
	r := &identity.Record{ID: identity.IDOf("1001"), Wishes: map[string]identity.Wish{"acme": second}}
	c, err := r.Command("acme", start)
	if err != nil {
		t.Fatal(err)
	}
	if c.GetId() != "acme:"+r.ID+":2" || c.GetWish() != joineryv1.Wish_WISH_DISABLED || len(c.GetEarlier()) != 1 || c.GetEarlier()[0].GetEventId() != "e1" {
		t.Errorf("command %v", c)
	}
	if _, err := r.Command("other", start); err == nil {
		t.Error("a command without a wish")
	}
	if first.Same(second) || !second.Same(identity.Wish{Wish: identity.Disabled, Resource: map[string]any{"a": 1.0}}) {
		t.Error("wishes compare by what they ask for")
	}
}

func TestIDsAreOpaqueAndSafe(t *testing.T) {
	id := identity.IDOf("ann@example.com > *")
	if len(id) != 26 || id == identity.IDOf("ann@example.com") {
		t.Errorf("id %q", id)
	}
}
