package dispatcher_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/guard"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/dispatcher"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const team = "team-web"

// member stores whether somebody should be in the group.
func (w *world) member(who string, present bool) {
	w.Helper()
	key := identity.MemberKey("acme", identity.IDOf(team), identity.IDOf(who))
	m, rev, err := w.members.Get(w.Context(), key)
	if err != nil && rev != 0 {
		w.Fatal(err)
	}
	m.Present = present
	m.Revision++
	_, err = w.members.Put(w.Context(), key, m, rev)
	must(w, err)
}

// look issues the group's command.
func (w *world) look(change func(*joineryv1.ProvisioningCommand)) {
	w.Helper()
	w.revision++
	c := &joineryv1.ProvisioningCommand{
		Target: "acme", Identity: identity.IDOf(team), Revision: uint64(time.Now().UnixNano()), Lane: joineryv1.Lane_LANE_NORMAL,
		Wish: joineryv1.Wish_WISH_PRESENT, EventId: fmt.Sprintf("event%d", w.revision), IssuedAt: timestamppb.Now(),
		Group: &joineryv1.GroupWish{DisplayName: "web", Key: "g1"},
	}
	if change != nil {
		change(c)
	}
	c.Id = identity.CommandID("acme", c.GetIdentity(), c.GetRevision())
	must(w, w.outbox.Command(w.Context(), c))
}

// people have accounts.
func (w *world) people(n int) (names []string) {
	w.Helper()
	for i := range n {
		names = append(names, fmt.Sprintf("p%04d", i))
		w.wish(names[i], nil)
	}
	w.wait(time.Minute)
	return names
}

// within are the userNames in the group, sorted.
func (w *world) within() []string {
	who := map[string]string{}
	for _, u := range w.acme.Resources(scim.Users) {
		who[u.ID()] = strings.TrimSuffix(u.UserName(), "@example.com")
	}
	out := []string{}
	for _, g := range w.acme.Resources(scim.Groups) {
		members, _ := g["members"].([]any)
		for _, m := range members {
			id, _ := m.(map[string]any)["value"].(string)
			out = append(out, who[id])
		}
	}
	slices.Sort(out)
	return out
}

// grouped are the requests to groups since the last call of it.
func (w *world) grouped() (n int) {
	for _, r := range w.acme.Requests()[w.seen:] {
		if strings.HasPrefix(r.Path, "/Groups") {
			n++
		}
	}
	w.seen = len(w.acme.Requests())
	return n
}

func TestAThousandMembershipsAreTenCalls(t *testing.T) {
	inBubble(t, simulator.Options{Behaviour: simulator.Behaviour{MembersMax: 100}}, func(w *world) {
		names := w.people(1000)
		w.look(nil)
		w.wait(time.Minute)
		w.grouped()
		for _, name := range names {
			w.member(name, true)
			w.look(nil) // each of them asks for it; they travel together
		}
		w.wait(time.Minute)
		if n := w.grouped(); n != 10 {
			t.Errorf("%d calls", n)
		}
		w.same(names, w.within())
		w.look(nil)
		w.member(names[7], false)
		w.wait(time.Minute)
		if n := w.grouped(); n != 1 || len(w.within()) != 999 {
			t.Errorf("one removal: %d calls, %d members", n, len(w.within()))
		}
	})
}

func TestAMemberWithoutAnAccountWaitsAlone(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.people(1)
		w.member("p0000", true)
		w.member("late", true)
		w.look(nil)
		w.wait(time.Minute)
		w.same([]string{"p0000"}, w.within())
		w.wish("late", nil)
		w.wait(time.Minute)
		w.same([]string{"late", "p0000"}, w.within())
	})
}

func TestALostAnswerMakesNoSecondGroup(t *testing.T) {
	for _, fault := range []string{"lost", "500-after"} {
		inBubble(t, simulator.Options{}, func(w *world) {
			w.people(1)
			w.member("p0000", true)
			w.acme.Inject(simulator.Fault{Name: fault, Method: "POST", Count: 1})
			w.look(nil)
			w.wait(5 * time.Minute)
			if n := len(w.acme.Resources(scim.Groups)); n != 1 {
				t.Errorf("%s: %d groups", fault, n)
			}
			w.same([]string{"p0000"}, w.within())
		})
	}
}

func TestAStrangersGroupIsLeftAlone(t *testing.T) {
	for key, want := range map[string]string{"somebody else's": "dead_lettered none", "": "applied group.adopt", "g1": "applied group.adopt"} {
		inBubble(t, simulator.Options{}, func(w *world) {
			r := scim.Resource{"schemas": []any{scim.GroupSchema}, "displayName": "Web"}
			if key != "" {
				r["externalId"] = key
			}
			must(w, w.acme.Seed(scim.Groups, r))
			w.look(nil)
			w.wait(time.Minute)
			w.same([]string{"event1 " + want}, w.outcomes())
		})
	}
}

func TestAGroupThatSomebodyRemovedIsMadeAgainWithEverybody(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.people(2)
		w.member("p0000", true)
		w.look(nil)
		w.wait(time.Minute)
		must(w, w.acme.Remove(scim.Groups, w.acme.Resources(scim.Groups)[0].ID()))
		w.member("p0001", true)
		w.look(nil)
		w.wait(time.Minute)
		w.same([]string{"p0000", "p0001"}, w.within())
	})
}

func TestWhatIsReadBackCorrectsWhatWasSent(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.people(3)
		for _, name := range []string{"p0000", "p0001"} {
			w.member(name, true)
		}
		w.look(nil)
		w.wait(time.Minute)
		g := w.acme.Resources(scim.Groups)[0].ID()
		users := w.acme.Resources(scim.Users)
		stranger := users[slices.IndexFunc(users, func(u scim.Resource) bool { return u.ExternalID() == "p0002" })].ID()
		must(w, w.acme.Edit(scim.Groups, g, scim.Operation{Op: "replace", Path: "members", Value: []any{map[string]any{"value": stranger}}}))
		w.look(func(c *joineryv1.ProvisioningCommand) { c.Verify, c.Cause = true, joineryv1.Cause_CAUSE_DRIFT })
		w.wait(time.Minute)
		w.same([]string{"p0000", "p0001", "p0002"}, w.within()) // the one that somebody else put in stays
	})
}

func TestHiddenMembersAreKnownFromTheLedger(t *testing.T) {
	k := profile.Knobs{MembersHidden: true}
	knowing(t, simulator.Options{Behaviour: simulator.FromKnobs(k)}, k, func(w *world) {
		w.people(2)
		w.member("p0000", true)
		w.member("p0001", true)
		w.look(nil)
		w.wait(time.Minute)
		w.member("p0001", false)
		w.look(func(c *joineryv1.ProvisioningCommand) { c.Verify, c.Cause = true, joineryv1.Cause_CAUSE_DRIFT })
		w.wait(time.Minute)
		w.same([]string{"event3 applied group.create", "event4 applied group.update"}, w.outcomes()[2:])
	})
}

func TestAGroupEndsAsItBegan(t *testing.T) {
	absent := func(c *joineryv1.ProvisioningCommand) { c.Wish = joineryv1.Wish_WISH_ABSENT }
	inBubble(t, simulator.Options{}, func(w *world) {
		w.people(1)
		w.member("p0000", true)
		w.look(nil)
		w.wait(time.Minute)
		w.look(absent)
		w.wait(time.Minute)
		if n := len(w.acme.Resources(scim.Groups)); n != 0 {
			t.Error(n, "groups that we made are left")
		}
	})
	inBubble(t, simulator.Options{}, func(w *world) {
		must(w, w.acme.Seed(scim.Groups, scim.Resource{"schemas": []any{scim.GroupSchema}, "displayName": "web"}))
		w.people(1)
		w.member("p0000", true)
		w.look(nil)
		w.wait(time.Minute)
		w.look(absent)
		w.wait(time.Minute)
		if n := len(w.acme.Resources(scim.Groups)); n != 1 || len(w.within()) != 0 {
			t.Error(n, "groups that we took over are left, with", w.within())
		}
	})
}

func TestManyRemovalsWaitForAPersonAndAdditionsDoNot(t *testing.T) {
	bubbled(t, func(w *world) {
		names := w.people(20)
		for _, name := range names[:19] {
			w.member(name, true)
		}
		w.look(nil)
		w.wait(time.Minute)
		for _, name := range names[:10] {
			w.member(name, false)
		}
		w.member(names[19], true)
		w.look(nil)
		w.wait(time.Minute)
		w.same(names, w.within())
		last := w.outcomes()
		if got := last[len(last)-1]; !strings.HasSuffix(got, "held group.update") {
			t.Error(got)
		}
		w.look(func(c *joineryv1.ProvisioningCommand) {
			c.Approval = &joineryv1.Approval{By: "ops", ExpiresAt: timestamppb.New(time.Now().Add(time.Hour))}
		})
		w.wait(time.Minute)
		w.same(names[10:], w.within())
	})
}

// bubbled is a world whose target guards memberships: five at most.
func bubbled(t *testing.T, fn func(w *world)) {
	t.Helper()
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wait(time.Second)
		w.stop()
		windows, err := stream.OpenBucket[guard.Window](w.Context(), w.conn, stream.Guards)
		must(w, err)
		w.windows = windows
		w.more = func(t *dispatcher.Target) {
			t.Settings.Guard = map[string]guard.Limit{guard.Membership: {Max: 5, Percent: 100, Per: time.Hour}}
		}
		w.run("worker-1")
		fn(w)
	})
}
