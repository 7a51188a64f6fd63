package identity_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/joinery/joinery/pkg/identity"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

// days is a time of the tests, in days from the start.
func days(n int) time.Time { return start.AddDate(0, 0, n) }

// said is an event that was said on a day and holds from another:
// "joined 0>30 e1 !left @acme/admin<40" names employment e1, what is rescinded,
// what is granted and when that ends.
func said(text string) *joineryv1.LifecycleEvent {
	words := strings.Fields(text)
	kind, on, from := words[0], 0, 0
	e := event(strings.ReplaceAll(text, " ", "_"), joineryv1.LifecycleKind(joineryv1.LifecycleKind_value["LIFECYCLE_KIND_"+strings.ToUpper(kind)]), 0, nil)
	if n, err := fmt.Sscanf(words[1], "%d>%d", &on, &from); err == nil && n == 2 {
		e.EffectiveAt = timestamppb.New(days(from))
	}
	e.OccurredAt = timestamppb.New(days(on))
	for _, word := range words[2:] {
		switch word[0] {
		case '!':
			e.Rescinds = word[1:]
		case '@':
			access, until, ends := strings.Cut(word[1:], "<")
			target, entitlement, _ := strings.Cut(access, "/")
			e.Grant = &joineryv1.Grant{Target: target, Entitlement: entitlement}
			var day int
			if _, err := fmt.Sscan(until, &day); ends && err == nil {
				e.Grant.ExpiresAt = timestamppb.New(days(day))
			}
		default:
			e.Employment = word
		}
	}
	return e
}

// lives folds what is said, and gives the state from day to day: only where it
// changes.
func lives(t *testing.T, texts ...string) string {
	t.Helper()
	var events []*joineryv1.LifecycleEvent
	for _, text := range texts {
		events = append(events, said(text))
	}
	r, _ := fold(t, events...)
	var course []string
	last := identity.State("-")
	for day := range 100 {
		r.AsOf = days(day)
		if state := r.EffectiveState(); state != last {
			course, last = append(course, fmt.Sprintf("%d:%s", day, state)), state
		}
	}
	return strings.Join(course, " ")
}

func TestALifeTakesItsCourse(t *testing.T) {
	for name, row := range map[string]struct {
		said string
		want string
	}{
		"a hire to come":                                {"joined 0>30", "0:pre_hire 30:active"},
		"a hire moved later":                            {"joined 0>30; joined 10>40", "0:pre_hire 40:active"},
		"a hire moved earlier":                          {"joined 0>30; joined 10>20", "0:pre_hire 20:active"},
		"a hire moved later after it took effect":       {"joined 0>10; joined 12>20", "0:pre_hire 20:active"},
		"a hire rescinded":                              {"joined 0>30; rescinded 10", "0:rescinded"},
		"a hire rescinded that is not known yet":        {"rescinded 10", "0:rescinded"},
		"a hire after a rescinded one":                  {"joined 0>30; rescinded 10; joined 20>50", "0:pre_hire 50:active"},
		"a moved hire taken back alone":                 {"joined 0>30; joined 1>50; rescinded 2 !joined_1>50", "0:pre_hire 30:active"},
		"a leaving to come":                             {"joined 0; left 1>30", "0:active 30:terminated"},
		"a leaving moved":                               {"joined 0; left 1>30; left 2>60", "0:active 60:terminated"},
		"an immediate leaving instead of a planned one": {"joined 0; left 1>60; left 2>30", "0:active 30:terminated"},
		"a leaving taken back":                          {"joined 0; left 1>30; rescinded 2 !left", "0:active"},
		"a leaving taken back too late":                 {"joined 0; left 1>30; rescinded 40>40 !left", "0:active"},
		"a leaving taken back, and said again":          {"joined 0; left 1>30; rescinded 2 !left; left 3>50", "0:active 50:terminated"},
		"who is hired again does not leave after that":  {"joined 0; left 1>30; rehired 2", "0:active"},
		"a planned return does not cancel the leaving":  {"joined 0; left 1>30; rehired 2>60", "0:active 30:terminated 60:active"},
		"two hires with a leaving between":              {"joined 0; left 1>20; joined 2>40; left 3>60", "0:active 20:terminated 40:active 60:terminated"},
		"a leave and a return planned together":         {"joined 0; leave_started 1>20; leave_ended 2>40", "0:active 20:on_leave 40:active"},
		"a leave moved":                                 {"joined 0; leave_started 1>20; leave_started 2>25; leave_ended 3>40", "0:active 25:on_leave 40:active"},
		"two leaves":                                    {"joined 0; leave_started 1>20; leave_ended 1>30; leave_started 2>50; leave_ended 2>60", "0:active 20:on_leave 30:active 50:on_leave 60:active"},
		"a return moved":                                {"joined 0; leave_started 1>20; leave_ended 2>40; leave_ended 25>50", "0:active 20:on_leave 50:active"},
		"a leaver on leave":                             {"joined 0; leave_started 1>20; left 2>30; leave_ended 3>40", "0:active 20:on_leave 30:terminated"},
		"disabled and enabled":                          {"joined 0; disabled 10; enabled 20", "0:active"},
		"disabled ahead of time":                        {"joined 0; disabled 1>10; enabled 2>20", "0:active 10:suspended 20:active"},
		"enabling does not bring back a leaver":         {"joined 0; left 1>10; enabled 2>20", "0:active 10:terminated"},
		"an account that only an IdP tells of":          {"disabled 0>10; enabled 0>20", "0:active 10:suspended 20:active"},
		"a conversion is not an interruption":           {"joined 0; converted 1>30", "0:active"},
		"two jobs":                                      {"joined 0>5 a; joined 0>10 b; left 11>20 a; left 12>30 b", "0:pre_hire 5:active 30:terminated"},
		"leave of one of two jobs":                      {"joined 0 a; joined 0 b; leave_started 1>10 a; left 2>20 b; leave_ended 3>30 a", "0:active 20:on_leave 30:active"},
		"a leaving that names no job ends all":          {"joined 0 a; joined 0 b; left 1>20", "0:active 20:terminated"},
		"the second job is rescinded":                   {"joined 0 a; joined 1>30 b; left 2>20 a; rescinded 3 b", "0:active 20:terminated"},
		"naming a job later does not keep a leaver":     {"joined 0; left 1>10 a", "0: 10:terminated"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lives(t, strings.Split(row.said, "; ")...); got != row.want {
				t.Errorf("%s\n got %s\nwant %s", row.said, got, row.want)
			}
		})
	}
}

func TestAPlannedChangeHoldsFromItsDay(t *testing.T) {
	change := func(text, department string) *joineryv1.LifecycleEvent {
		e := said(text)
		e.Attributes = event("", changed, 0, map[string]any{"department": department}).GetAttributes()
		return e
	}
	back := said("rescinded 6")
	back.Rescinds = "changed_2>60"
	r, effects := fold(t,
		change("joined 0>10", "Sales"), change("changed 1>30", "Support"), change("changed 2>60", "Lab"),
		change("changed 20", "Store"), back, change("converted 3>40", "Research"), change("converted 4>50", "Research"),
	)
	if diff := cmp.Diff([]identity.Effect{1, 1, 1, 1, 1, 1, 1}, effects); diff != "" {
		t.Error(diff)
	}
	got := map[int]any{}
	for _, day := range []int{0, 19, 20, 29, 30, 40, 50, 60} {
		r.AsOf = days(day)
		got[day] = r.Current()["department"]
	}
	want := map[int]any{0: "Store", 19: "Store", 20: "Store", 29: "Store", 30: "Support", 40: "Support", 50: "Research", 60: "Research"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if event := r.Provenance()["department"].Event; event != "converted_4>50" {
		t.Errorf("the department comes from %s", event)
	}
}

func TestOnlyWhatWillActIsScheduled(t *testing.T) {
	r, _ := fold(t, said("joined 0>30"), said("joined 1>40"), said("left 2>90"), said("rescinded 3 !left"), said("left 4>80"),
		said("access_granted 5 @acme<60"), said("access_granted 6>50 @git/admin"), said("leave_started 7>45"), said("leave_ended 7>48"))
	var got []string
	for _, s := range r.ScheduledAfter(days(10)) {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%d %s %s", int(s.At.Sub(start).Hours()/24), s.Kind, s.Target)))
	}
	want := []string{"40 joined", "45 leave_started", "48 leave_ended", "50 access_granted git", "60 expires acme", "80 left"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if rest := r.ScheduledAfter(days(80)); len(rest) != 0 {
		t.Errorf("after the last: %v", rest)
	}
}

func TestAGrantEndsAsItWasGiven(t *testing.T) {
	for name, row := range map[string]struct{ said, want string }{
		"granted for a time":       {"access_granted 1>10 @acme<20", "10:acme/ 20:"},
		"revoked before its end":   {"access_granted 1>10 @acme<50; access_revoked 15 @acme", "0:"},
		"revoked ahead of time":    {"access_granted 1>10 @acme; access_revoked 2>20 @acme", "10:acme/ 20:"},
		"granted for longer":       {"access_granted 1>10 @acme<20; access_granted 2>10 @acme<30", "10:acme/ 30:"},
		"two that are independent": {"access_granted 1>10 @acme/admin<30; access_granted 1>20 @git", "10:acme/admin 20:acme/admin,git/ 30:git/"},
		"taken back":               {"access_granted 1>10 @acme; rescinded 2 !access_granted_1>10_@acme", "0:"},
	} {
		t.Run(name, func(t *testing.T) {
			var events []*joineryv1.LifecycleEvent
			for _, text := range strings.Split(row.said, "; ") {
				events = append(events, said(text))
			}
			r, _ := fold(t, events...)
			var course []string
			last := ""
			for day := range 60 {
				r.AsOf = days(day)
				var held []string
				for _, g := range r.Grants() {
					held = append(held, g.Target+"/"+g.Entitlement)
				}
				if now := strings.Join(held, ","); now != last {
					course, last = append(course, fmt.Sprintf("%d:%s", day, now)), now
				}
			}
			if got := strings.Join(course, " "); got != strings.TrimPrefix(row.want, "0:") {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// The law, with time: whatever order the facts come in, and whenever anybody
// looks, the person at a moment is the same.
func TestAnyOrderWithAnyPlansGivesTheSamePersonAtAnyMoment(t *testing.T) {
	var kinds []joineryv1.LifecycleKind
	for k := range joineryv1.LifecycleKind_name {
		if k != 0 {
			kinds = append(kinds, joineryv1.LifecycleKind(k))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		var life []*joineryv1.LifecycleEvent
		for i := range rapid.IntRange(1, 14).Draw(t, "events") {
			life = append(life, drawEvent(t, i, rapid.SampledFrom(kinds).Draw(t, "kind")))
		}
		inOrder, shuffled := &identity.Record{}, &identity.Record{}
		take := func(r *identity.Record, e *joineryv1.LifecycleEvent) {
			if _, err := r.Fold(e); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range life {
			take(inOrder, e)
		}
		again := append(life, life[rapid.IntRange(0, len(life)-1).Draw(t, "doubled")])
		for _, e := range rapid.Permutation(again).Draw(t, "order") {
			take(shuffled, e)
			shuffled.AsOf = days(rapid.IntRange(0, 50).Draw(t, "woken on day"))
			_, _ = shuffled.Standing()
			_ = shuffled.Current()
		}
		for day := range 50 {
			inOrder.AsOf, shuffled.AsOf = days(day), days(day)
			if diff := cmp.Diff(inOrder, shuffled); diff != "" {
				t.Fatal(diff)
			}
			if diff := cmp.Diff(views(inOrder), views(shuffled), cmpopts.IgnoreUnexported(identity.Scheduled{})); diff != "" {
				t.Fatalf("day %d: %s", day, diff)
			}
		}
	})
}

func views(r *identity.Record) []any {
	state, by := r.Standing()
	return []any{state, by, r.Current(), r.Provenance(), r.Grants(), r.ScheduledAfter(r.AsOf)}
}

func drawEvent(t *rapid.T, i int, kind joineryv1.LifecycleKind) *joineryv1.LifecycleEvent {
	e := event(string(rune('a'+i)), kind, 0, map[string]any{rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name"): float64(i)})
	e.OccurredAt = timestamppb.New(days(rapid.IntRange(0, 10).Draw(t, "said on day")))
	if rapid.Bool().Draw(t, "dated") {
		e.EffectiveAt = timestamppb.New(days(rapid.IntRange(0, 40).Draw(t, "holds from day")))
	}
	e.Source = rapid.SampledFrom([]string{"hr", "idp"}).Draw(t, "source")
	e.Full = rapid.Bool().Draw(t, "full")
	e.Employment = rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(t, "employment")
	if kind == joineryv1.LifecycleKind_LIFECYCLE_KIND_RESCINDED {
		e.Rescinds = rapid.SampledFrom([]string{"", "left", "joined", "changed", "a", "b", "c"}).Draw(t, "rescinds")
	}
	e.Grant = &joineryv1.Grant{Target: rapid.SampledFrom([]string{"acme", "git"}).Draw(t, "target")}
	if rapid.Bool().Draw(t, "ends") {
		e.Grant.ExpiresAt = timestamppb.New(days(rapid.IntRange(0, 40).Draw(t, "ends on day")))
	}
	return e
}

// Nothing changes between two moments that are scheduled: who looks at each of
// them misses nothing.
func TestNothingChangesUnscheduled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &identity.Record{}
		kinds := []joineryv1.LifecycleKind{joined, left, rehired, changed, 5, 6, 7, 8, 9, 10, 15, 16}
		for i := range rapid.IntRange(1, 10).Draw(t, "events") {
			if _, err := r.Fold(drawEvent(t, i, rapid.SampledFrom(kinds).Draw(t, "kind"))); err != nil {
				t.Fatal(err)
			}
		}
		for day := 10; day < 45; day++ { // all is said by then
			r.AsOf = days(day)
			before := []any{r.EffectiveState(), r.Current(), r.Grants()}
			due := r.ScheduledAfter(r.AsOf)
			r.AsOf = days(day + 1)
			after := []any{r.EffectiveState(), r.Current(), r.Grants()}
			if diff := cmp.Diff(before, after); diff != "" && (len(due) == 0 || due[0].At.After(r.AsOf)) {
				t.Fatalf("day %d: %s", day+1, diff)
			}
		}
	})
}

func TestWhatIsKeptOfALifeIsBounded(t *testing.T) {
	r := &identity.Record{}
	for i := range 200 {
		e := said(fmt.Sprintf("%s %d", []string{"disabled", "enabled"}[i%2], i))
		if _, err := r.Fold(e); err != nil {
			t.Fatal(err)
		}
	}
	if r.EffectiveState() != identity.Active || len(r.Said) != 16 {
		t.Errorf("%s after %d statements", r.EffectiveState(), len(r.Said))
	}
	planned := func(i int) *joineryv1.LifecycleEvent {
		e := said(fmt.Sprintf("changed %d>%d", i, i+1))
		e.Attributes = event("", changed, 0, map[string]any{fmt.Sprint(i): float64(i)}).GetAttributes()
		return e
	}
	for i := range 100 {
		if _, err := r.Fold(planned(i)); err != nil {
			t.Fatal(err)
		}
	}
	r.AsOf = days(200)
	if len(r.Plans) != identity.MaxPlans || len(r.Current()) != 100 {
		t.Errorf("%d plans, %d attributes", len(r.Plans), len(r.Current()))
	}
	many := &identity.Record{}
	var err error
	for i := range 40 {
		e := planned(0)
		e.Id, e.EffectiveAt = fmt.Sprint(i), timestamppb.New(days(300))
		_, err = many.Fold(e)
	}
	if err == nil || len(many.Plans) != identity.MaxPlans {
		t.Errorf("%d plans, %v", len(many.Plans), err)
	}
	for i := range 40 {
		_, err = many.Fold(said(fmt.Sprintf("joined 0 e%d", i)))
	}
	if err == nil {
		t.Error("forty employments")
	}
}
