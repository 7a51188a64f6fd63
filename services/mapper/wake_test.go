package mapper_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/mapper"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// planned is an event that is said now and holds later.
func planned(id, kind string, in time.Duration, attributes map[string]any) *joineryv1.LifecycleEvent {
	e := event(id, kind, 0, attributes)
	e.OccurredAt = timestamppb.Now()
	e.EffectiveAt = timestamppb.New(time.Now().Add(in))
	e.Trigger = &joineryv1.Trigger{RequestId: "R-" + id}
	return e
}

// wakeTo lets time pass to the moment, and wakes the person then.
func (d *desk) wakeTo(at time.Time) {
	d.Helper()
	<-time.After(time.Until(at))
	if err := d.Wake(d.Context(), identity.IDOf("1001"), at); err != nil {
		d.Fatal(err)
	}
}

func TestAPlannedLifeActsWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, mapper.Targets{"acme": live(everybody)})
		hired, leaves := time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		d.handle(planned("e1", "joined", time.Hour, nil), planned("e2", "left", 2*time.Hour, nil))
		d.same(nil, d.post.commands)
		d.wakeTo(hired)
		d.wakeTo(leaves)
		d.same([]string{"acme normal r3 present", "acme urgent r4 disabled due-e1"}, d.post.commands)
		d.same([]string{"e1 applied", "e2 applied"}, d.post.outcomes)
		if diff := cmp.Diff([]time.Time{hired.UTC(), hired.UTC(), leaves.UTC()}, d.post.wakes); diff != "" {
			t.Error(diff)
		}
		w := d.persons.records[identity.IDOf("1001")].Wishes["acme"]
		if w.Event != "due-e2" || w.Source != "hr" || w.Trigger.GetRequestId() != "R-e2" {
			t.Errorf("because of %s from %s, %v", w.Event, w.Source, w.Trigger)
		}
	})
}

func TestAWakeUpThatIsRepeatedOrInVainChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, mapper.Targets{"acme": live(everybody)})
		first := time.Now().Add(time.Hour)
		d.handle(planned("e1", "joined", time.Hour, nil))
		moved := planned("e2", "joined", 2*time.Hour, nil)
		moved.OccurredAt = timestamppb.New(time.Now().Add(time.Second))
		d.handle(moved)
		d.wakeTo(first) // of the date that no longer holds
		if rev := d.persons.records[identity.IDOf("1001")].Revision; rev != 2 {
			t.Errorf("revision %d", rev)
		}
		second := first.Add(time.Hour)
		d.wakeTo(second)
		d.wakeTo(second)
		d.wakeTo(first)
		d.same([]string{"acme normal r3 present", "acme normal r3 present"}, d.post.commands)
		if err := d.Wake(t.Context(), "nobody", first); err != nil {
			t.Error(err)
		}
	})
}

func TestAWakeUpWhoseCommandsWereNotStoredIssuesThemWhenItComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, mapper.Targets{"acme": live(everybody), "git": live(engineers)})
		due := time.Now().Add(time.Hour)
		d.handle(planned("e1", "joined", time.Hour, engineer))
		<-time.After(time.Hour)
		d.post.failCommands, d.persons.conflicts = 1, 2
		if err := d.Wake(t.Context(), identity.IDOf("1001"), due); !errors.Is(err, errDown) {
			t.Fatal(err)
		}
		d.wakeTo(due)
		d.same([]string{"acme normal r2 present", "git normal r2 present"}, d.post.commands)
	})
}

func TestAnEventThatComesWhenSomethingIsDueActsOnBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, mapper.Targets{"acme": live(everybody), "git": live(engineers)})
		d.handle(planned("e1", "joined", time.Hour, nil))
		<-time.After(time.Hour)
		late := event("e2", "changed", 0, engineer)
		late.OccurredAt = timestamppb.Now()
		d.handle(late)
		d.wakeTo(time.Now())
		d.same([]string{"acme normal r2 present", "git normal r2 present"}, d.post.commands)
	})
}
