package reconciler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/reconcile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/target"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/reconciler"
)

// world is what reconcilers work with, in memory, on fake time.
type world struct {
	*testing.T
	runs       *memory[reconcile.Run]
	identities *memory[identity.Record]
	accounts   *memory[identity.Account]
	states     *memory[target.State]
	outbox     *outbox
	logs       *bytes.Buffer
}

func inBubble(t *testing.T, fn func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fn(&world{
			T: t, runs: newMemory[reconcile.Run](), identities: newMemory[identity.Record](),
			accounts: newMemory[identity.Account](), states: newMemory[target.State](), outbox: &outbox{}, logs: &bytes.Buffer{},
		})
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs a reconciler until the function it gives is called.
func (w *world) start(worker string, targets map[string]reconciler.Target) (stop func()) {
	w.Helper()
	tel, err := telemetry.New(w.Context(), telemetry.Options{Service: "reconciler", Log: w.logs})
	must(w, err)
	s := reconciler.New(reconciler.Options{
		Runs: w.runs, Identities: w.identities, Accounts: w.accounts, States: w.states, Outbox: w.outbox,
		Worker: worker, Telemetry: tel,
	})
	s.Configure(targets)
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		must(w, <-done)
		must(w, tel.Shutdown(w.Context()))
	}
}

// acme is a target that shows what l gives.
func acme(l listing) map[string]reconciler.Target {
	return map[string]reconciler.Target{"acme": {Lister: l}}
}

// person stores the i-th person with a wish for acme, linked to account r<i>, and
// gives the account that shows it.
func (w *world) person(i int, wish string) scim.Resource {
	w.Helper()
	id := fmt.Sprint("person", i)
	desired := map[string]any{"userName": fmt.Sprint("u", i), "externalId": fmt.Sprint("x", i)}
	rec := identity.Record{ID: id, Revision: 3, Wishes: map[string]identity.Wish{"acme": {
		Wish: wish, Resource: desired, Revision: 3, Event: fmt.Sprint("event", i), Lane: joineryv1.Lane_LANE_NORMAL,
	}}}
	_, err := w.identities.Put(w.Context(), id, rec, 0)
	must(w, err)
	account := identity.Account{Target: "acme", Identity: id, RemoteID: fmt.Sprint("r", i), Ownership: identity.Created, Finished: 3}
	_, err = w.accounts.Put(w.Context(), identity.AccountKey("acme", id), account, 0)
	must(w, err)
	listed := scim.Resource(desired).Clone()
	listed["id"], listed["active"] = fmt.Sprint("r", i), wish == identity.Present
	return listed
}

// request asks for a run and gives its key.
func (w *world) request(mode string, force bool) string {
	w.Helper()
	id, err := reconciler.Request(w.Context(), w.runs, reconcile.Run{Target: "acme", Mode: mode, RequestedBy: "ops", Force: force})
	must(w, err)
	return "acme." + id
}

func (w *world) run(key string) reconcile.Run {
	w.Helper()
	run, _, err := w.runs.Get(w.Context(), key)
	must(w, err)
	return run
}

// verdict is what matters of a run's end.
type verdict struct {
	State    reconcile.RunState
	Error    string
	Findings []reconcile.Finding
	Repairs  int
}

func verdictOf(run reconcile.Run) verdict {
	return verdict{run.State, run.Error, run.Findings, run.Repairs}
}

// settle lets everything at work come to rest.
func settle() { synctest.Wait() }

// after lets fake time pass.
func (w *world) after(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.Context().Done():
	}
	synctest.Wait()
}

func TestDriftBecomesCommandsAndStrangersAreReported(t *testing.T) {
	inBubble(t, func(w *world) {
		right, changed, left := w.person(1, identity.Present), w.person(2, identity.Present), w.person(3, identity.Disabled)
		w.person(4, identity.Present)
		changed["userName"], left["active"] = "somebody-edited", true
		stranger := scim.Resource{"id": "r9", "userName": "stranger", "active": true}
		stop := w.start("one", acme(shows(nil, right, changed, left, stranger)))
		key := w.request(reconcile.Remediate, false)
		settle()
		want := verdict{State: reconcile.Done, Repairs: 3, Findings: []reconcile.Finding{
			{Situation: reconcile.Differs, Identity: "person2", RemoteID: "r2", Attributes: []string{"userName"}},
			{Situation: reconcile.StillActive, Identity: "person3", RemoteID: "r3", Attributes: []string{"active"}},
			{Situation: reconcile.Unknown, RemoteID: "r9"},
			{Situation: reconcile.Missing, Identity: "person4", RemoteID: "r4"},
		}}
		run := w.run(key)
		if diff := cmp.Diff(want, verdictOf(run)); diff != "" {
			t.Error(diff)
		}
		if run.Worker != "one" || run.EndedAt.IsZero() || run.Counts.Wanted != 3 || run.Counts.Listed != 4 {
			t.Errorf("%+v", run)
		}
		lanes := map[string]joineryv1.Lane{}
		for _, c := range w.outbox.commands {
			lanes[c.GetIdentity()] = c.GetLane()
		}
		if diff := cmp.Diff(map[string]joineryv1.Lane{
			"person2": joineryv1.Lane_LANE_BULK, "person3": joineryv1.Lane_LANE_URGENT, "person4": joineryv1.Lane_LANE_BULK,
		}, lanes); diff != "" {
			t.Error(diff)
		}
		stop()
	})
}

func TestARepairIsTheWishAsItIsNowAndEndsTheCommandItMayReplace(t *testing.T) {
	inBubble(t, func(w *world) {
		w.person(1, identity.Present)
		stop := w.start("one", acme(shows(nil)))
		key := w.request(reconcile.Remediate, true)
		settle()
		id := strings.TrimPrefix(key, "acme.")
		if len(w.outbox.commands) != 1 {
			t.Fatal(w.outbox.commands)
		}
		c := w.outbox.commands[0]
		if c.GetId() != "acme:person1:3:"+id || c.GetEventId() != strings.ToLower(id) || c.GetRevision() != 3 ||
			c.GetCause() != joineryv1.Cause_CAUSE_DRIFT || !c.GetVerify() || c.GetResource().AsMap()["userName"] != "u1" {
			t.Error(c)
		}
		if e := c.GetEarlier(); len(e) != 1 || e[0].GetRevision() != 3 || e[0].GetEventId() != "event1" {
			t.Error(e)
		}
		stop()
	})
}

func TestWhoeverRefersToAnAccountMadeAgainDiffers(t *testing.T) {
	inBubble(t, func(w *world) {
		ann, boss := w.person(1, identity.Present), w.person(2, identity.Present)
		const manager = scim.EnterpriseSchema + ":manager.value"
		rec, rev, err := w.identities.Get(w.Context(), "person1")
		must(w, err)
		wish := rec.Wishes["acme"]
		wish.References = map[string]string{manager: "person2"}
		rec.Wishes["acme"] = wish
		_, err = w.identities.Put(w.Context(), "person1", rec, rev)
		must(w, err)
		account, rev, err := w.accounts.Get(w.Context(), "acme.person1")
		must(w, err)
		must(w, ann.Set(manager, "r0")) // who the boss was before
		account.Sent = ann
		_, err = w.accounts.Put(w.Context(), "acme.person1", account, rev)
		must(w, err)
		stop := w.start("one", acme(shows(nil, ann, boss)))
		key := w.request(reconcile.Report, false)
		settle()
		want := []reconcile.Finding{{Situation: reconcile.Differs, Identity: "person1", RemoteID: "r1", Attributes: []string{manager}}}
		if diff := cmp.Diff(want, w.run(key).Findings); diff != "" {
			t.Error(diff)
		}
		stop()
	})
}

func TestAReportChangesNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		r := w.person(1, identity.Disabled)
		r["active"] = true
		stop := w.start("one", acme(shows(nil, r)))
		key := w.request("", false)
		settle()
		if run := w.run(key); run.Mode != reconcile.Report || run.State != reconcile.Done || len(run.Findings) != 1 {
			t.Errorf("%+v", run)
		}
		if len(w.outbox.commands) != 0 {
			t.Error(w.outbox.commands)
		}
		stop()
	})
}

func TestAListingThatBreaksOffDeletesNobody(t *testing.T) {
	inBubble(t, func(w *world) {
		first := w.person(1, identity.Present)
		for i := range 9 {
			w.person(i+2, identity.Present)
		}
		first["userName"] = "drifted"
		stop := w.start("one", acme(shows(errors.New("it ends after 1 of 10"), first)))
		key := w.request(reconcile.Remediate, true)
		settle()
		want := verdict{
			State: reconcile.Failed, Error: "read the target: it ends after 1 of 10",
			Findings: []reconcile.Finding{{Situation: reconcile.Differs, Identity: "person1", RemoteID: "r1", Attributes: []string{"userName"}}},
		}
		if diff := cmp.Diff(want, verdictOf(w.run(key))); diff != "" {
			t.Error(diff)
		}
		if len(w.outbox.commands) != 0 {
			t.Error(w.outbox.commands)
		}
		stop()
	})
}

func TestATargetThatSuddenlyShowsNobodyIsReportedUnlessForced(t *testing.T) {
	for force, want := range map[bool]struct {
		state   reconcile.RunState
		repairs int
	}{false: {reconcile.Implausible, 0}, true: {reconcile.Done, 5}} {
		inBubble(t, func(w *world) {
			for i := range 5 {
				w.person(i, identity.Present)
			}
			stranger := scim.Resource{"id": "r9", "userName": "stranger"}
			stop := w.start("one", acme(shows(nil, stranger)))
			key := w.request(reconcile.Remediate, force)
			settle()
			run := w.run(key)
			if run.State != want.state || run.Repairs != want.repairs || len(w.outbox.commands) != want.repairs {
				t.Errorf("force %v: %+v", force, run)
			}
			if run.Findings[0].Situation != reconcile.Unknown {
				t.Error("the stranger is not reported:", run.Findings)
			}
			stop()
		})
	}
}

func TestWhoeverIsLinkedWhileTheTargetIsReadIsNoStranger(t *testing.T) {
	inBubble(t, func(w *world) {
		var joined scim.Resource
		stop := w.start("one", acme(func(_ context.Context, yield func(scim.Resource, error) bool) {
			joined = w.person(7, identity.Present)
			yield(joined, nil)
		}))
		key := w.request(reconcile.Report, false)
		settle()
		if diff := cmp.Diff(verdict{State: reconcile.Done, Findings: []reconcile.Finding{}}, verdictOf(w.run(key))); diff != "" {
			t.Error(diff)
		}
		stop()
	})
}

func TestAPausedOrQuarantinedTargetIsSkippedAndSaysWhy(t *testing.T) {
	for why, state := range map[string]target.State{
		"paused by ops":               {Paused: &target.Decision{By: "ops"}},
		"quarantined: the key is old": {Quarantined: &target.Quarantine{Reason: "the key is old"}},
	} {
		inBubble(t, func(w *world) {
			_, err := w.states.Put(w.Context(), "acme", state, 0)
			must(t, err)
			stop := w.start("one", acme(func(context.Context, func(scim.Resource, error) bool) { t.Error("the target was read") }))
			key := w.request(reconcile.Remediate, false)
			settle()
			if diff := cmp.Diff(verdict{State: reconcile.Skipped, Error: why, Findings: []reconcile.Finding{}}, verdictOf(w.run(key))); diff != "" {
				t.Error(diff)
			}
			stop()
		})
	}
}

// slow is a listing that takes d before it ends.
func slow(d time.Duration, resources ...scim.Resource) listing {
	return func(ctx context.Context, yield func(scim.Resource, error) bool) {
		select {
		case <-time.After(d):
			shows(nil, resources...)(ctx, yield)
		case <-ctx.Done():
			yield(nil, ctx.Err())
		}
	}
}

func TestARunThatWaitsLongForItsTargetIsNotTakenOver(t *testing.T) {
	inBubble(t, func(w *world) {
		r := w.person(1, identity.Present)
		first := w.start("one", acme(slow(10*time.Minute, r)))
		key := w.request(reconcile.Report, false)
		settle()
		second := w.start("two", acme(shows(errors.New("not mine"))))
		w.after(5 * time.Minute)
		if run := w.run(key); run.State != reconcile.Running || run.Worker != "one" || time.Since(run.UpdatedAt) > 10*time.Second {
			t.Errorf("%+v", run)
		}
		w.after(6 * time.Minute)
		if run := w.run(key); run.State != reconcile.Done || run.Worker != "one" {
			t.Errorf("%+v", run)
		}
		first()
		second()
	})
}

func TestARunWhoseWorkerDiedIsDoneByAnother(t *testing.T) {
	inBubble(t, func(w *world) {
		r := w.person(1, identity.Present)
		died := w.start("one", acme(slow(time.Hour)))
		key := w.request(reconcile.Remediate, false)
		settle()
		died()
		stop := w.start("two", acme(shows(nil, r)))
		w.after(30 * time.Second)
		if run := w.run(key); run.State != reconcile.Running || run.Worker != "one" {
			t.Errorf("taken over too early: %+v", run)
		}
		w.after(time.Minute)
		if run := w.run(key); run.State != reconcile.Done || run.Worker != "two" {
			t.Errorf("%+v", run)
		}
		stop()
	})
}

func TestAnOvertakenWorkerStopsAndWritesNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		stop := w.start("one", acme(slow(time.Hour)))
		key := w.request(reconcile.Remediate, false)
		settle()
		run, rev, err := w.runs.Get(w.Context(), key)
		must(t, err)
		run.Worker, run.StartedAt, run.State = "two", time.Now().UTC().Add(time.Second), reconcile.Done
		_, err = w.runs.Put(w.Context(), key, run, rev)
		must(t, err)
		w.after(time.Minute)
		if diff := cmp.Diff(run, w.run(key)); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(w.logs.String(), "another worker took the run over") {
			t.Error(w.logs)
		}
		stop()
	})
}

func TestALostAnswerIsNotTakenForARival(t *testing.T) {
	inBubble(t, func(w *world) {
		stop := w.start("one", acme(slow(20*time.Second)))
		key := w.request(reconcile.Report, false)
		settle()
		w.runs.lose()
		w.after(time.Minute)
		if run := w.run(key); run.State != reconcile.Done {
			t.Errorf("%+v", run)
		}
		stop()
	})
}

func TestABrokenWatchIsTakenUpAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		w.runs.watches = 2
		stop := w.start("one", acme(shows(nil)))
		key := w.request(reconcile.Report, false)
		w.after(time.Minute)
		if run := w.run(key); run.State != reconcile.Done {
			t.Errorf("%+v", run)
		}
		stop()
	})
}

func TestARepairThatCannotBeSentFailsTheRun(t *testing.T) {
	inBubble(t, func(w *world) {
		w.person(1, identity.Present)
		w.outbox.broken = stream.ErrUnavailable
		stop := w.start("one", acme(shows(nil)))
		key := w.request(reconcile.Remediate, true)
		settle()
		if run := w.run(key); run.State != reconcile.Failed || run.Repairs != 0 || !strings.HasPrefix(run.Error, "send a repair: ") {
			t.Errorf("%+v", run)
		}
		stop()
	})
}

func TestOneTargetDoesNotWaitForAnotherAndWorksItsRunsInOrder(t *testing.T) {
	inBubble(t, func(w *world) {
		var order []string
		targets := acme(slow(time.Minute))
		targets["other"] = reconciler.Target{Lister: shows(nil)}
		stop := w.start("one", targets)
		first := w.request(reconcile.Report, false)
		w.after(time.Second)
		second := w.request(reconcile.Report, false)
		id, err := reconciler.Request(w.Context(), w.runs, reconcile.Run{Target: "other"})
		must(t, err)
		settle()
		if run := w.run("other." + id); run.State != reconcile.Done {
			t.Errorf("the other target waited: %+v", run)
		}
		w.after(5 * time.Minute)
		for _, key := range []string{first, second} {
			order = append(order, w.run(key).StartedAt.Format(time.TimeOnly))
			if run := w.run(key); run.State != reconcile.Done {
				t.Errorf("%+v", run)
			}
		}
		if order[0] >= order[1] {
			t.Error(order)
		}
		stop()
	})
}

func TestReplicasOnAScheduleMakeOneRunASlot(t *testing.T) {
	inBubble(t, func(w *world) {
		daily := map[string]reconciler.Target{"acme": {Lister: shows(nil), Every: 24 * time.Hour, Mode: reconcile.Remediate}}
		one, two := w.start("one", daily), w.start("two", daily)
		w.after(59 * time.Minute)
		keys, err := w.runs.Keys(w.Context(), "acme")
		must(t, err)
		if len(keys) != 0 {
			t.Error("the first run came at once:", keys)
		}
		w.after(48 * time.Hour)
		keys, err = w.runs.Keys(w.Context(), "acme")
		must(t, err)
		if len(keys) != 2 {
			t.Error(keys)
		}
		for _, key := range keys {
			if run := w.run(key); run.State != reconcile.Done || run.RequestedBy != "schedule" || run.Mode != reconcile.Remediate {
				t.Errorf("%+v", run)
			}
		}
		one()
		two()
	})
}

func TestARequestedRunPutsOffTheScheduledOne(t *testing.T) {
	inBubble(t, func(w *world) {
		stop := w.start("one", map[string]reconciler.Target{"acme": {Lister: shows(nil), Every: 30 * time.Minute}})
		w.after(20 * time.Minute)
		w.request(reconcile.Report, false)
		w.after(20 * time.Minute)
		keys, err := w.runs.Keys(w.Context(), "acme")
		must(t, err)
		if len(keys) != 1 {
			t.Error(keys)
		}
		stop()
	})
}

func TestOldRunsAreForgotten(t *testing.T) {
	inBubble(t, func(w *world) {
		stop := w.start("one", map[string]reconciler.Target{"acme": {Lister: shows(nil), Every: time.Minute}})
		w.after(3 * time.Hour)
		keys, err := w.runs.Keys(w.Context(), "acme")
		must(t, err)
		if len(keys) < 100 || len(keys) > 102 {
			t.Error(len(keys))
		}
		stop()
	})
}

func TestARequestForNobodysTargetEndsAndSaysSo(t *testing.T) {
	inBubble(t, func(w *world) {
		stop := w.start("one", nil)
		key := w.request(reconcile.Report, false)
		w.after(5 * time.Minute)
		if run := w.run(key); run.State != reconcile.Requested {
			t.Errorf("given up too early: %+v", run)
		}
		w.after(6 * time.Minute)
		if run := w.run(key); run.State != reconcile.Skipped || run.Error != "the target is not configured" {
			t.Errorf("%+v", run)
		}
		stop()
	})
}

func TestARequestWithoutATargetOrWithAnUnknownModeIsRefused(t *testing.T) {
	inBubble(t, func(w *world) {
		for _, run := range []reconcile.Run{{}, {Target: "acme", Mode: "destroy"}} {
			if _, err := reconciler.Request(w.Context(), w.runs, run); !errors.Is(err, reconciler.ErrRequest) {
				t.Error(run.Mode, err)
			}
		}
	})
}

func TestTheReportIsOneWideLogLineWithoutNames(t *testing.T) {
	inBubble(t, func(w *world) {
		r := w.person(1, identity.Present)
		r["userName"] = "ann@example.com"
		stop := w.start("one", acme(shows(nil, r)))
		w.request(reconcile.Report, false)
		settle()
		stop()
		if n := strings.Count(w.logs.String(), "\n"); n != 1 || strings.Contains(w.logs.String(), "ann@example.com") {
			t.Error(w.logs)
		}
		var line map[string]any
		must(t, json.Unmarshal(w.logs.Bytes(), &line))
		for field, want := range map[string]any{"target": "acme", "state": "done", "listed": 1.0, "findings": 1.0, "repairs": 0.0} {
			if line[field] != want {
				t.Error(field, line[field])
			}
		}
	})
}
