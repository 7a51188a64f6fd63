package mapper_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/scim"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/mapper"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// compiled is a target with a real mapping: engineers have an account, which shows
// what approvals give there.
func compiled(t *testing.T) mapper.Target {
	t.Helper()
	rule := `identity.active && identity.department == "Engineering"`
	m, problems := mapping.Compile(mapping.Spec{Target: "git", Assign: rule, Users: []mapping.Rule{
		{To: "userName", From: "identity.key"},
		{To: "roles", From: `identity.entitlements.map(e, {"value": e})`},
		{To: "title", From: `"git" in identity.grants ? "guest" : "engineer"`},
	}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return mapper.Target{Desired: m.Desired, Rule: rule, Version: m.Version, Deprovision: "disable", Percent: 100}
}

func access(id, kind, target, entitlement string, expires time.Duration) *joineryv1.LifecycleEvent {
	e := event(id, kind, 0, nil)
	e.OccurredAt = timestamppb.Now()
	e.Grant = &joineryv1.Grant{Target: target, Entitlement: entitlement}
	if expires > 0 {
		e.Grant.ExpiresAt = timestamppb.New(time.Now().Add(expires))
	}
	e.Trigger = &joineryv1.Trigger{RequestId: "R-7", Approver: "bea", Reason: "incident"}
	return e
}

func (d *desk) why(target string) string {
	return d.persons.records[identity.IDOf("1001")].Wishes[target].Because.String()
}

func TestAnApprovalGivesWhatTheRuleDoesNotAndEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, mapper.Targets{"git": compiled(t)})
		d.handle(event("e1", "joined", 0, map[string]any{"department": "Sales"}), access("g1", "access_granted", "git", "", time.Hour))
		until := time.Now().Add(time.Hour).UTC()
		d.same([]string{"git normal r2 present"}, d.post.commands)
		if want, got := "granted by g1 (request R-7, approved by bea, incident) until "+until.Format(time.RFC3339), d.why("git"); got != want {
			t.Errorf("because %q, want %q", got, want)
		}
		d.wakeTo(until)
		d.same([]string{"git normal r2 present", "git urgent r3 disabled g1"}, d.post.commands)
		if got, want := d.why("git"), `no longer assigned: identity.active && identity.department == "Engineering"`; got != want {
			t.Errorf("because %q, want %q", got, want)
		}
	})
}

func TestWhoHasTheRuleKeepsTheAccountWhenTheApprovalEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, mapper.Targets{"git": compiled(t)})
		d.handle(event("e1", "joined", 0, nil), access("g1", "access_granted", "git", "", 0),
			event("e2", "changed", time.Hour, map[string]any{"department": "Engineering"}))
		if got, want := d.why("git"), `assigned: identity.active && identity.department == "Engineering"`; got != want {
			t.Errorf("because %q, want %q", got, want)
		}
		revoked := access("g2", "access_revoked", "git", "", 0)
		revoked.OccurredAt = timestamppb.New(time.Now().Add(time.Second))
		d.handle(revoked)
		d.same([]string{"git normal r2 present", "git normal r4 present g1"}, d.post.commands)
	})
}

func TestAnApprovalKeepsNothingForWhoIsNotActive(t *testing.T) {
	for _, kind := range []string{"left", "disabled", "leave_started"} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, mapper.Targets{"git": compiled(t)})
			d.handle(event("e1", "joined", 0, nil), access("g1", "access_granted", "git", "", time.Hour), event("e2", kind, time.Hour, nil))
			d.same([]string{"git normal r2 present", "git urgent r3 disabled g1"}, d.post.commands)
		})
	}
	d := newDesk(t, mapper.Targets{"git": compiled(t)})
	d.handle(access("g1", "access_granted", "git", "", 0)) // nobody has said who that is
	d.same(nil, d.post.commands)
}

func TestEntitlementsShowInTheirTargetOnly(t *testing.T) {
	d := newDesk(t, mapper.Targets{"git": compiled(t)})
	d.handle(event("e1", "joined", 0, engineer), access("g1", "access_granted", "git", "admin", 0), access("g2", "access_granted", "acme", "owner", 0))
	want := map[string]any{"userName": "1001", "active": true, "title": "engineer", "roles": []any{map[string]any{"value": "admin"}}}
	got := d.persons.records[identity.IDOf("1001")].Wishes["git"].Resource
	delete(got, "schemas")
	if diff := cmp.Diff(want, map[string]any(scim.Resource(got))); diff != "" {
		t.Error(diff)
	}
}
