package target_test

import (
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/target"
)

func TestATargetIsOpenUnlessSomebodyOrSomethingStoppedIt(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	paused := &target.Decision{By: "ops", At: at}
	quarantined := &target.Quarantine{Reason: "the target answered 401", Since: at}
	for _, row := range []struct {
		state target.State
		open  bool
		why   string
	}{
		{target.State{}, true, ""},
		{target.State{Paused: paused}, false, "paused by ops"},
		{target.State{Quarantined: quarantined}, false, "quarantined: the target answered 401"},
		{target.State{Paused: paused, Quarantined: quarantined}, false, "quarantined: the target answered 401"},
	} {
		if open, why := row.state.Open(); open != row.open || why != row.why {
			t.Errorf("%+v: %v %q", row.state, open, why)
		}
	}
}

func TestALessonIsAddedToACopy(t *testing.T) {
	before := target.State{Quirks: map[string]target.Quirk{"patch": {Value: "refused"}}}
	after := before.With("filter.userName", target.Quirk{Value: "refused"})
	if !after.Knows("filter.userName", "refused") || !after.Knows("patch", "refused") || before.Knows("filter.userName", "refused") || after.Knows("patch", "other") {
		t.Error(before, after)
	}
}

func TestTheSwitchForEverythingStopsEachTarget(t *testing.T) {
	all := target.State{Paused: &target.Decision{By: "ops"}}
	if open, why := (target.State{Target: "acme"}).Under(all).Open(); open || why != "paused by ops" {
		t.Error(open, why)
	}
	own := target.State{Target: "acme", Paused: &target.Decision{By: "her"}}
	if open, why := own.Under(target.State{}).Open(); open || why != "paused by her" {
		t.Error(open, why)
	}
}
