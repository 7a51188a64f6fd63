package identity_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"pgregory.net/rapid"
)

// from is an event of another source than hr.
func from(source string, e *joineryv1.LifecycleEvent) *joineryv1.LifecycleEvent {
	e.Source = source
	return e
}

func TestTheFirstSourceWithAValueIsBelieved(t *testing.T) {
	idp := func(id string, after time.Duration, a map[string]any) *joineryv1.LifecycleEvent {
		return from("idp", event(id, changed, after, a))
	}
	r := &identity.Record{Precedence: map[string][]string{"email": {"idp", "hr"}}}
	for _, step := range []struct {
		e      *joineryv1.LifecycleEvent
		want   any
		source string
	}{
		{event("h1", joined, 0, map[string]any{"email": "hr-1"}), "hr-1", "hr"},
		{idp("i1", time.Hour, map[string]any{"email": "idp-1"}), "idp-1", "idp"},
		{event("h2", changed, 2*time.Hour, map[string]any{"email": "hr-2"}), "idp-1", "idp"},
		{from("crm", event("c1", changed, 3*time.Hour, map[string]any{"email": "crm"})), "idp-1", "idp"},
		{idp("i2", 4*time.Hour, map[string]any{"email": nil}), "hr-2", "hr"},
		{idp("i3", 5*time.Hour, map[string]any{"email": "idp-3"}), "idp-3", "idp"},
	} {
		if step.e.GetId() == "i2" { // a null clears
			step.e.Attributes, step.e.Cleared = nil, []string{"email"}
		}
		if _, err := r.Fold(step.e); err != nil {
			t.Fatal(err)
		}
		if got, origin := r.Current()["email"], r.Provenance()["email"].Source; got != step.want || origin != step.source {
			t.Errorf("after %s: %v of %s, want %v of %s", step.e.GetId(), got, origin, step.want, step.source)
		}
	}
}

func TestPrecedenceGivesTheSamePersonInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var life []*joineryv1.LifecycleEvent
		for i, n := 0, rapid.IntRange(2, 10).Draw(t, "events"); i < n; i++ {
			e := from(rapid.SampledFrom([]string{"hr", "idp", "crm"}).Draw(t, "source"),
				event(string(rune('a'+i)), changed, time.Duration(i)*time.Hour, map[string]any{"email": float64(i)}))
			e.Full = rapid.Bool().Draw(t, "full")
			if rapid.Bool().Draw(t, "cleared") {
				e.Attributes, e.Cleared = nil, []string{"email"}
			}
			life = append(life, e)
		}
		current := func(events []*joineryv1.LifecycleEvent) map[string]any {
			r := &identity.Record{Precedence: map[string][]string{"email": {"idp", "hr"}}}
			for _, e := range events {
				if _, err := r.Fold(e); err != nil {
					t.Fatal(err)
				}
			}
			return r.Current()
		}
		if diff := cmp.Diff(current(life), current(rapid.Permutation(life).Draw(t, "order"))); diff != "" {
			t.Fatal(diff)
		}
	})
}
