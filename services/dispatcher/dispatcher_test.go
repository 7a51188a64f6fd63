package dispatcher_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/embedded/bubble"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/rate"
	"github.com/joinery/joinery/pkg/redisrate"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/simulator"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/target"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/dispatcher"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// world is a dispatcher over the real broker, and one simulated target, on fake
// time.
type world struct {
	*testing.T
	bubble   *bubble.Bubble
	conn     *stream.Conn
	acme     *simulator.Server
	accounts *stream.Bucket[identity.Account]
	members  *stream.Bucket[identity.Member]
	windows  dispatcher.Windows
	seen     int // requests that were counted
	states   *stream.Bucket[target.State]
	outbox   wire.Outbox
	start    time.Time
	holds    *holds
	stop     func()
	revision uint64
	// turn waits for a request's turn; nil means at once.
	turn func(ctx context.Context) error
	// more changes the target before a dispatcher is started.
	more func(t *dispatcher.Target)
	// transport stands between the next dispatcher and the target.
	transport func(http.RoundTripper) http.RoundTripper
	// knobs are what is known of the target when a dispatcher starts.
	knobs profile.Knobs
	// ledger stands between the next dispatcher and bucket ACCOUNTS.
	ledger func(dispatcher.WatchedAccounts) dispatcher.WatchedAccounts
	// asked counts the requests that were sent.
	asked int
}

type holds struct{ pauses []time.Duration }

func (h *holds) Hold(_ context.Context, _ string, pause time.Duration) error {
	h.pauses = append(h.pauses, pause)
	return nil
}

func inBubble(t *testing.T, o simulator.Options, fn func(w *world)) {
	t.Helper()
	knowing(t, o, profile.Knobs{}, fn)
}

// knowing is a world whose dispatcher knows these knobs of the target.
func knowing(t *testing.T, o simulator.Options, k profile.Knobs, fn func(w *world)) {
	t.Helper()
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		conn, err := stream.Dial(t.Context(), b.Broker.Options("test"))
		must(t, err)
		defer conn.Close()
		must(t, conn.Apply(t.Context(), stream.Design([]string{"acme"}, 1)))
		w := &world{
			T: t, bubble: b, conn: conn, acme: simulator.New(o), start: time.Now(), holds: &holds{}, knobs: k,
			outbox: wire.NewOutbox(conn.Publisher()),
		}
		b.Transport.Handle("acme.example", w.acme)
		w.accounts, err = stream.OpenBucket[identity.Account](t.Context(), conn, stream.Accounts)
		must(t, err)
		w.members, err = stream.OpenBucket[identity.Member](t.Context(), conn, stream.Members)
		must(t, err)
		w.states, err = stream.OpenBucket[target.State](t.Context(), conn, stream.Targets)
		must(t, err)
		w.run("worker-1")
		fn(w)
		w.stop()
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run starts a dispatcher; stop ends it.
func (w *world) run(worker string) {
	tel, err := telemetry.New(w.Context(), telemetry.Options{Service: "dispatcher", Log: w.Output()})
	must(w, err)
	var transport http.RoundTripper = w.bubble.Transport
	if w.transport != nil {
		transport = w.transport(transport)
	}
	client, err := scimhttp.New(scimhttp.Options{Endpoint: "https://acme.example", Transport: transport, Wait: w.waitForTurn, Knobs: w.knobs})
	must(w, err)
	var accounts dispatcher.WatchedAccounts = w.accounts
	if w.ledger != nil {
		accounts = w.ledger(accounts)
	}
	s := dispatcher.New(dispatcher.Options{
		Lanes: w.conn, Accounts: accounts, Members: w.members, Windows: w.windows, States: w.states, Outbox: w.outbox, Pauser: w.holds, Worker: worker,
		Newest:    wire.NewestCommand(w.conn),
		Telemetry: tel, Jitter: func(d time.Duration) time.Duration { return d },
	})
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			w.Error(err)
		}
	}()
	acme := dispatcher.Target{
		Provider: client, Groups: client.Groups(), Concurrency: 8, Version: "1", Settings: dispatcher.Settings{Match: []string{"externalId", "userName"}, Knobs: w.knobs},
	}
	if w.more != nil {
		w.more(&acme)
	}
	s.Configure(map[string]dispatcher.Target{"acme": acme})
	w.stop = func() {
		cancel()
		<-done
		must(w, tel.Shutdown(context.WithoutCancel(ctx)))
	}
}

func (w *world) waitForTurn(ctx context.Context, _ int) error {
	w.asked++
	if w.turn == nil {
		return nil
	}
	return dispatcher.Patiently(ctx, w.turn)
}

// wish publishes a command for a person.
func (w *world) wish(who string, change func(*joineryv1.ProvisioningCommand)) *joineryv1.ProvisioningCommand {
	w.Helper()
	w.revision++
	resource, err := structpb.NewStruct(map[string]any{"userName": who + "@example.com", "externalId": who, "title": "Rep"})
	must(w, err)
	c := &joineryv1.ProvisioningCommand{
		Target: "acme", Identity: identity.IDOf(who), Revision: w.revision, Lane: joineryv1.Lane_LANE_NORMAL,
		Wish: joineryv1.Wish_WISH_PRESENT, Resource: resource, EventId: fmt.Sprintf("event%d", w.revision), IssuedAt: timestamppb.Now(),
	}
	if change != nil {
		change(c)
	}
	if c.GetId() == "" {
		c.Id = identity.CommandID("acme", c.GetIdentity(), c.GetRevision())
	}
	must(w, w.outbox.Command(w.Context(), c))
	return c
}

func leaves(c *joineryv1.ProvisioningCommand) {
	c.Wish, c.Lane, c.Resource = joineryv1.Wish_WISH_DISABLED, joineryv1.Lane_LANE_URGENT, nil
}

func titled(title string) func(*joineryv1.ProvisioningCommand) {
	return func(c *joineryv1.ProvisioningCommand) {
		c.Resource.Fields["title"] = structpb.NewStringValue(title)
	}
}

// wait lets fake time pass.
func (w *world) wait(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

// calls are the requests the target got, without control requests, as
// "seconds METHOD path status".
func (w *world) calls() []string {
	var out []string
	for _, r := range w.acme.Requests() {
		if strings.Contains(r.Query, "joinery-control") {
			continue
		}
		out = append(out, fmt.Sprintf("%.0fs %s %s %d", r.At.Sub(w.start).Seconds(), r.Method, r.Path, r.Status))
	}
	return out
}

// outcomes are the recorded outcomes, in the order they were stored.
func (w *world) outcomes() []string {
	w.Helper()
	var out []string
	for stored, err := range w.conn.Scan(w.Context(), stream.Outcomes, "joinery.outcome.acme.>") {
		must(w, err)
		var o joineryv1.Outcome
		must(w, proto.Unmarshal(stored.Message.Payload, &o))
		out = append(out, fmt.Sprintf("%s %s %s", o.GetEventId(), identity.ResultName(o.GetResult()), o.GetOperation()))
	}
	return out
}

func (w *world) account(who string) identity.Account {
	w.Helper()
	a, _, err := w.accounts.Get(w.Context(), identity.AccountKey("acme", identity.IDOf(who)))
	must(w, err)
	return a
}

func (w *world) same(want, got []string) {
	w.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
}

func TestAnAccountIsMadeChangedDisabledAndEnabledAgain(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		w.wish("ann", titled("Lead"))
		w.wait(time.Second)
		w.wish("ann", titled("Lead")) // nothing to do
		w.wait(time.Second)
		w.wish("ann", leaves)
		w.wait(time.Second)
		w.wish("ann", titled("Lead"))
		w.wait(time.Second)
		w.same([]string{
			"0s GET /Users 200", "0s GET /Users 200", "0s POST /Users 201",
			"1s PATCH /Users/000001 200",
			"3s GET /Users/000001 200", "3s PATCH /Users/000001 200", "3s GET /Users/000001 200",
			"4s PATCH /Users/000001 200",
		}, w.calls())
		w.same([]string{
			"event1 applied create", "event2 applied update", "event3 no_change none", "event4 applied disable", "event5 applied enable",
		}, w.outcomes())
		if a := w.account("ann"); a.Ownership != identity.Created || a.Applied != 5 || a.Intent != nil {
			w.Errorf("%+v", a)
		}
	})
}

func TestALostAnswerMakesNoSecondAccount(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "lost", Method: "POST", Count: 1})
		w.wish("ann", nil)
		w.wait(time.Minute)
		if n := len(w.acme.Resources(scim.Users)); n != 1 {
			w.Errorf("%d accounts", n)
		}
		w.same([]string{"event1 applied create"}, w.outcomes())
	})
}

func TestALostAnswerIsLookedForUntilTheTargetShowsIt(t *testing.T) {
	inBubble(t, simulator.Options{Visibility: 3 * time.Second}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "lost", Method: "POST", Count: 1})
		w.wish("ann", nil)
		w.wait(time.Minute)
		if n := len(w.acme.Resources(scim.Users)); n != 1 {
			w.Errorf("%d accounts, %v", n, w.calls())
		}
	})
}

func TestACrashBetweenCallAndRecordMakesNoSecondAccount(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "late", Method: "POST", Count: 1, RetryAfter: 10 * time.Second})
		w.wish("ann", nil)
		w.wait(time.Second)
		// The first worker dies with its request under way: its intent stays.
		a, rev, err := w.accounts.Get(w.Context(), identity.AccountKey("acme", identity.IDOf("ann")))
		must(w, err)
		w.stop()
		_, rev2, err := w.accounts.Get(w.Context(), identity.AccountKey("acme", identity.IDOf("ann")))
		must(w, err)
		if rev2 != rev || a.Intent == nil {
			// The worker could still record: put its world back as a crash leaves it.
			_, err = w.accounts.Put(w.Context(), identity.AccountKey("acme", identity.IDOf("ann")), a, rev2)
			must(w, err)
		}
		w.run("worker-2")
		w.wish("ann", nil)
		w.wait(5 * time.Minute)
		if n := len(w.acme.Resources(scim.Users)); n != 1 {
			w.Errorf("%d accounts, %v", n, w.calls())
		}
	})
}

func TestAnOlderCommandNeverUndoesANewerOne(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		w.wish("ann", leaves)
		w.wait(time.Second)
		old := w.wish("ann", func(c *joineryv1.ProvisioningCommand) { c.Id, c.Revision, c.EventId = "late", 1, "late" })
		w.wait(time.Second)
		if old.GetRevision() != 1 {
			t.Fatal("not old")
		}
		u := w.acme.Resources(scim.Users)[0]
		if active, _ := u.Active(); active {
			w.Error("the leaver was undone")
		}
		w.same([]string{"event1 applied create", "event2 applied disable", "late superseded "}, w.outcomes())
	})
}

func TestAThrottledTargetIsLeftAloneOnEveryReplica(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "429", Method: "POST", Count: 1, RetryAfter: 90 * time.Second})
		w.wish("ann", nil)
		w.wait(5 * time.Minute)
		w.same([]string{
			"0s GET /Users 200", "0s GET /Users 200", "0s POST /Users 429",
			"90s GET /Users 200", "90s GET /Users 200", "90s POST /Users 201",
		}, w.calls())
		if diff := cmp.Diff([]time.Duration{90 * time.Second}, w.holds.pauses); diff != "" {
			w.Error(diff)
		}
	})
}

func TestATargetDownForAnHourLosesNothingAndMakesNoCases(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "500", Until: time.Now().Add(time.Hour)})
		for i := range 20 {
			w.wish(fmt.Sprint("p", i), nil)
		}
		w.wait(59 * time.Minute)
		during := len(w.acme.Requests())
		w.wait(10 * time.Minute)
		if n := len(w.acme.Resources(scim.Users)); n != 20 {
			w.Errorf("%d accounts", n)
		}
		if during > 300 {
			w.Errorf("%d requests while it was down", during)
		}
		for _, o := range w.outcomes() {
			if !strings.HasSuffix(o, "applied create") {
				w.Error(o)
			}
		}
	})
}

func TestARefusedCredentialStopsTheTargetAndMakesNoCases(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "401", Until: time.Now().Add(30 * time.Minute)})
		for i := range 50 {
			w.wish(fmt.Sprint("p", i), nil)
		}
		w.wait(10 * time.Minute)
		s, _, err := w.states.Get(w.Context(), "acme")
		must(w, err)
		if s.Quarantined == nil || s.Quarantined.Status != 401 {
			w.Errorf("%+v", s)
		}
		w.same(nil, w.outcomes())
		w.wait(30 * time.Minute)
		if n := len(w.outcomes()); n != 50 {
			w.Errorf("%d outcomes after the credential was good again", n)
		}
	})
}

func TestARefusedResourceIsACaseAndBlocksNobodyElse(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("bad", func(c *joineryv1.ProvisioningCommand) {
			c.Resource.Fields["nonsense"] = structpb.NewStringValue("x")
		})
		w.wish("good", nil)
		w.wait(time.Second)
		stored, err := w.conn.Last(w.Context(), stream.DeadLetters, "joinery.deadletter.acme.*")
		must(w, err)
		var d joineryv1.DeadLetter
		must(w, proto.Unmarshal(stored.Message.Payload, &d))
		if d.GetStatus() != 400 || d.GetScimType() != "invalidValue" || d.GetCause() != joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_REFUSED {
			w.Error(&d)
		}
		if strings.Contains(d.GetReason(), "example.com") {
			w.Error("a personal value in", d.GetReason())
		}
		if a := w.account("bad"); a.Case != d.GetId() {
			w.Errorf("%+v", a)
		}
		if n := len(w.acme.Resources(scim.Users)); n != 1 {
			w.Errorf("%d accounts", n)
		}
	})
}

func TestStrangersAreReportedAndNeverTouched(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		must(t, w.acme.Seed(scim.Users, scim.Resource{
			"schemas": []any{scim.UserSchema}, "userName": "ann@example.com", "externalId": "somebody-else", "title": "CEO",
		}))
		before := w.acme.Resources(scim.Users)
		w.wish("ann", nil)
		w.wait(time.Minute)
		if diff := cmp.Diff(before, w.acme.Resources(scim.Users)); diff != "" {
			w.Error(diff)
		}
		w.same([]string{"event1 dead_lettered none"}, w.outcomes())
	})
}

func TestAnAccountWithoutAnOwnerIsAdopted(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		must(t, w.acme.Seed(scim.Users, scim.Resource{"schemas": []any{scim.UserSchema}, "userName": "ANN@example.com", "nickName": "theirs"}))
		w.wish("ann", nil)
		w.wait(time.Minute)
		u := w.acme.Resources(scim.Users)
		if len(u) != 1 || u[0].ExternalID() != "ann" || u[0]["nickName"] != "theirs" {
			w.Error(u)
		}
		if a := w.account("ann"); a.Ownership != identity.Adopted {
			w.Errorf("%+v", a)
		}
	})
}

func TestAnAccountRemovedByHandIsMadeAgain(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		must(t, w.acme.Remove(scim.Users, "000001"))
		w.wish("ann", titled("Lead"))
		w.wait(time.Minute)
		if u := w.acme.Resources(scim.Users); len(u) != 1 || u[0]["title"] != "Lead" {
			w.Error(u)
		}
	})
}

func TestATargetWithoutPatchIsLearned(t *testing.T) {
	inBubble(t, simulator.Options{NoPatch: true}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		w.wish("ann", titled("Lead"))
		w.wait(time.Second)
		w.wish("ann", titled("Head"))
		w.wait(time.Second)
		w.same([]string{
			"0s GET /Users 200", "0s GET /Users 200", "0s POST /Users 201",
			"1s PATCH /Users/000001 501", "1s GET /Users/000001 200", "1s PUT /Users/000001 200",
			"2s GET /Users/000001 200", "2s PUT /Users/000001 200",
		}, w.calls())
	})
}

func TestAPausedTargetKeepsItsCommands(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		_, err := w.states.Put(w.Context(), "acme", target.State{Target: "acme", Paused: &target.Decision{By: "ops"}}, 0)
		must(w, err)
		w.wait(10 * time.Second)
		w.wish("ann", nil)
		w.wait(time.Hour)
		w.same(nil, w.calls())
		_, rev, err := w.states.Get(w.Context(), "acme")
		must(w, err)
		_, err = w.states.Put(w.Context(), "acme", target.State{Target: "acme"}, rev)
		must(w, err)
		w.wait(10 * time.Second)
		w.same([]string{"event1 applied create"}, w.outcomes())
	})
}

func TestReplacedCommandsGetTheirOutcome(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "500", Until: time.Now().Add(time.Minute)})
		w.wish("ann", nil)
		w.wait(10 * time.Second)
		w.wish("ann", func(c *joineryv1.ProvisioningCommand) {
			titled("Lead")(c)
			c.Earlier = []*joineryv1.EarlierCommand{{Revision: 1, EventId: "event1"}}
		})
		w.wait(10 * time.Minute)
		w.same([]string{"event1 superseded ", "event2 applied create"}, w.outcomes())
	})
}

func TestAReferenceWaitsForTheOneItNames(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", func(c *joineryv1.ProvisioningCommand) {
			c.References = map[string]string{scim.EnterpriseSchema + ":manager.value": identity.IDOf("boss")}
		})
		w.wait(time.Second)
		if a := w.account("ann"); len(a.Waiting) != 1 {
			w.Errorf("%+v", a)
		}
		w.wish("boss", nil) // and ann's account goes on by itself
		w.wait(time.Minute)
		v, _ := w.acme.Resources(scim.Users)[0].Get(scim.EnterpriseSchema + ":manager.value")
		if v != "000002" {
			w.Errorf("manager is %v", v)
		}
	})
}

func TestReportsAndGroupsFollowAnAccountThatIsMadeAgain(t *testing.T) {
	const manager = scim.EnterpriseSchema + ":manager.value"
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("boss", nil)
		w.wish("ann", func(c *joineryv1.ProvisioningCommand) {
			c.References = map[string]string{manager: identity.IDOf("boss")}
		})
		w.member("boss", true)
		w.look(nil)
		w.wait(time.Minute)
		former := w.account("boss").RemoteID
		must(w, w.acme.Remove(scim.Users, former)) // by hand
		w.wish("boss", func(c *joineryv1.ProvisioningCommand) { c.Verify = true })
		w.wait(time.Minute)
		now := w.account("boss").RemoteID
		v, _ := w.acme.Resources(scim.Users)[0].Get(manager)
		if now == former || v != now {
			w.Errorf("boss was %s and is %s; ann's manager is %v", former, now, v)
		}
		w.same([]string{"boss"}, w.within())
		// Told again of the same account, nothing more is sent.
		sent := len(w.calls())
		w.stop()
		w.run("worker-2")
		w.wait(time.Minute)
		w.same([]string{}, w.calls()[sent:])
	})
}

// silent is a bucket of accounts whose writes are not answered until a time.
type silent struct {
	dispatcher.WatchedAccounts
	until time.Time
}

func (s silent) Put(ctx context.Context, key string, a identity.Account, rev uint64) (uint64, error) {
	if time.Now().Before(s.until) {
		return 0, stream.ErrUnavailable
	}
	return s.WatchedAccounts.Put(ctx, key, a, rev)
}

func TestConsentToAdoptTakesNoProtectedAccountAndExpires(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wait(time.Second)
		w.stop()
		w.more = func(t *dispatcher.Target) {
			t.Settings.Protected = []string{"chief@example.com"}
		}
		w.run("worker-1")
		must(w, w.acme.Seed(scim.Users, scim.Resource{"schemas": []any{scim.UserSchema}, "userName": "chief@example.com", "externalId": "theirs"}))
		consent := func(c *joineryv1.ProvisioningCommand) {
			c.Resource.Fields["userName"] = structpb.NewStringValue("chief@example.com")
			c.Approval = &joineryv1.Approval{By: "ops", Adopt: "000001", ExpiresAt: timestamppb.New(time.Now().Add(time.Hour))}
		}
		w.wish("ann", consent)
		w.wait(time.Minute)
		if got := w.acme.Resources(scim.Users)[0].ExternalID(); got != "theirs" {
			w.Error("a protected account was taken over:", got)
		}
		w.wish("bo", func(c *joineryv1.ProvisioningCommand) {
			consent(c)
			c.Approval.ExpiresAt = timestamppb.Now()
		})
		w.wait(time.Minute)
		if a := w.account("bo"); a.Ownership != identity.Seen || a.Stranger != "000001" || a.RemoteID != "" {
			w.Errorf("%+v", a)
		}
	})
}

func TestTroubleWithTheBrokerIsNotTheTargets(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wait(time.Second)
		w.stop()
		w.ledger = func(a dispatcher.WatchedAccounts) dispatcher.WatchedAccounts {
			return silent{a, w.start.Add(2 * time.Minute)}
		}
		w.run("worker-1")
		for i := range 10 {
			w.wish(fmt.Sprint("p", i), nil)
		}
		w.wait(3 * time.Minute)
		// Nobody was given up, the target never counted as down, and what comes after
		// is as quick as ever.
		if got := w.outcomes(); len(got) != 10 {
			w.Fatal(got)
		}
		for _, o := range w.outcomes() {
			if !strings.HasSuffix(o, "applied create") {
				w.Error(o)
			}
		}
		if a := w.account("p0"); a.Attempts != 0 {
			w.Errorf("%+v", a)
		}
		for _, r := range w.acme.Requests() {
			if strings.Contains(r.Query, "joinery-control") {
				w.Error("probed:", r)
			}
		}
	})
}

func TestALeaverWaitsForNobody(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", func(c *joineryv1.ProvisioningCommand) {
			c.References = map[string]string{scim.EnterpriseSchema + ":manager.value": identity.IDOf("boss")}
		})
		w.wait(time.Second)
		w.wish("ann", func(c *joineryv1.ProvisioningCommand) { c.Wish = joineryv1.Wish_WISH_DISABLED })
		w.wait(time.Second)
		w.wish("boss", nil)
		w.wait(time.Minute)
		if got := w.outcomes(); len(got) != 3 || len(w.account("ann").Waiting) != 0 {
			w.Errorf("%q, %+v", got, w.account("ann"))
		}
	})
}

func TestStoppingGivesBackWhatOnlyWaitsForItsTurn(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.turn = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } // no turn ever comes
		w.wish("ann", nil)
		w.wait(time.Second)
		begun := time.Now()
		w.stop()
		if took := time.Since(begun); took > 2*time.Second {
			w.Errorf("stopping took %v", took)
		}
		w.turn = nil
		w.run("worker-1")
		w.wait(time.Minute)
		w.same([]string{"event1 applied create"}, w.outcomes())
	})
}

func TestAnotherReplicaGoesOnAtOnceAfterAFailedAttempt(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "500", Method: "POST", Count: 3})
		w.wish("ann", nil)
		w.wait(time.Second) // the first worker gave up its attempt
		w.stop()
		w.run("worker-2")
		w.wait(20 * time.Second)
		w.same([]string{"event1 applied create"}, w.outcomes())
	})
}

// rude is a target that the simulator is not: it knows no filters, or answers
// 404 to a search that finds nobody, or understands no filtered paths.
func (w *world) rude(change func(r *http.Request, next http.Handler, out http.ResponseWriter)) {
	w.bubble.Transport.Handle("acme.example", http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		change(r, w.acme, out)
	}))
}

func refuse(out http.ResponseWriter, status int, scimType string) {
	out.WriteHeader(status)
	_, _ = fmt.Fprintf(out, `{"status":"%d","scimType":%q}`, status, scimType)
}

func TestATargetThatCannotBeSearchedIsLookedThrough(t *testing.T) {
	for _, behaviour := range []string{"refuses filters", "ignores filters"} {
		inBubble(t, simulator.Options{PageMax: 2}, func(w *world) {
			w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
				if q := r.URL.Query(); q.Get("filter") != "" {
					if behaviour == "refuses filters" {
						refuse(out, 400, "invalidFilter")
						return
					}
					q.Del("filter")
					r.URL.RawQuery = q.Encode()
				}
				next.ServeHTTP(out, r)
			})
			for _, name := range []string{"a", "b", "c", "ann"} {
				must(t, w.acme.Seed(scim.Users, scim.Resource{"schemas": []any{scim.UserSchema}, "userName": name + "@example.com"}))
			}
			w.acme.Inject(simulator.Fault{Name: "lost", Method: "POST", Count: 1})
			w.wish("ann", nil)
			w.wish("bo", nil)
			w.wait(5 * time.Minute)
			if n := len(w.acme.Resources(scim.Users)); n != 5 {
				w.Errorf("%s: %d accounts", behaviour, n)
			}
			if a := w.account("ann"); a.Ownership != identity.Adopted || a.RemoteID != "000004" {
				w.Errorf("%s: %+v", behaviour, a)
			}
			if a := w.account("bo"); a.Ownership != identity.Created {
				w.Errorf("%s: %+v", behaviour, a)
			}
		})
	}
}

func TestATargetThatSays404ForNobodyIsNotMisunderstood(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
			if f := r.URL.Query().Get("filter"); f != "" && len(w.acme.Resources(scim.Users)) == 0 {
				refuse(out, 404, "")
				return
			}
			next.ServeHTTP(out, r)
		})
		w.wish("ann", nil)
		w.wait(time.Minute)
		w.same([]string{"event1 applied create"}, w.outcomes())
	})
}

func TestAWrongAddressStopsTheTarget(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "404", Until: time.Now().Add(10 * time.Minute)})
		w.wish("ann", nil)
		w.wait(time.Minute)
		if s, _, err := w.states.Get(w.Context(), "acme"); err != nil || s.Quarantined == nil {
			w.Errorf("%+v %v", s, err)
		}
		w.same(nil, w.outcomes())
		w.wait(30 * time.Minute)
		w.same([]string{"event1 applied create"}, w.outcomes())
	})
}

func TestATargetThatUnderstandsNoFilteredPathsGetsTheWholeResource(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
			if r.Method == http.MethodPatch {
				refuse(out, 400, "invalidPath")
				return
			}
			next.ServeHTTP(out, r)
		})
		mail := func(value string) func(*joineryv1.ProvisioningCommand) {
			return func(c *joineryv1.ProvisioningCommand) {
				list, _ := structpb.NewList([]any{map[string]any{"type": "work", "value": value}})
				c.Resource.Fields["emails"] = structpb.NewListValue(list)
			}
		}
		w.wish("ann", mail("a@x"))
		w.wait(time.Second)
		w.wish("ann", mail("b@x"))
		w.wait(time.Second)
		w.wish("ann", leaves)
		w.wait(time.Second)
		u := w.acme.Resources(scim.Users)[0]
		if v, _ := u.Get(`emails[type eq "work"].value`); v != "b@x" {
			w.Error(u)
		}
		if active, _ := u.Active(); active {
			w.Error("still active")
		}
		w.same([]string{"event1 applied create", "event2 applied update", "event3 applied disable"}, w.outcomes())
	})
}

func TestAnAccountThatAnotherReplicaHoldsIsLookedAtAgainSoon(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		key := identity.AccountKey("acme", identity.IDOf("ann"))
		_, err := w.accounts.Put(w.Context(), key, identity.Account{
			Target: "acme", Identity: identity.IDOf("ann"),
			Intent: &identity.Intent{Operation: "update", Worker: "other", At: time.Now()},
		}, 0)
		must(t, err)
		w.wish("ann", nil)
		w.wait(5 * time.Second)
		w.same(nil, w.calls()) // nothing is sent while the other may be at work
		_, rev, err := w.accounts.Get(w.Context(), key)
		must(t, err)
		_, err = w.accounts.Put(w.Context(), key, identity.Account{Target: "acme", Identity: identity.IDOf("ann")}, rev)
		must(t, err)
		w.wait(3 * time.Second)
		w.same([]string{"event1 applied create"}, w.outcomes())
	})
}

func TestALeaverWhoseAnswerWasLostIsNotUndoneByAnOlderCommand(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		// Revision 3 takes effect, and every answer to it is lost for a while;
		// revision 2 comes meanwhile.
		w.revision = 2
		w.acme.Inject(simulator.Fault{Name: "500-after", Method: "PATCH", Count: 1})
		w.acme.Inject(simulator.Fault{Name: "500", Skip: 1, Count: 12})
		w.wish("ann", leaves)
		w.wait(time.Second)
		w.revision = 1
		w.wish("ann", titled("Lead"))
		w.wait(5 * time.Minute)
		if active, _ := w.acme.Resources(scim.Users)[0].Active(); active {
			w.Error("the leaver is active")
		}
		// And back again: what the target shows counts, not what was sent.
		w.revision = 3
		w.wish("ann", titled("Head"))
		w.wait(time.Minute)
		u := w.acme.Resources(scim.Users)[0]
		if active, _ := u.Active(); !active || u["title"] != "Head" {
			w.Error(u)
		}
	})
}

func TestWhatSomebodyElseChangedIsNotTakenForARefusal(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		must(t, w.acme.Edit(scim.Users, "000001", scim.Operation{Op: "replace", Path: "active", Value: false}))
		w.wish("ann", titled("Lead"))
		w.wait(time.Second)
		u := w.acme.Resources(scim.Users)[0]
		if active, _ := u.Active(); !active || u["title"] != "Lead" {
			w.Error(u)
		}
	})
}

func TestAChangeInBetweenIsReadAgain(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		w.acme.Inject(simulator.Fault{Name: "500-after", Method: "PATCH", Count: 1})
		w.wish("ann", leaves)
		w.wait(2 * time.Second)
		if active, _ := w.acme.Resources(scim.Users)[0].Active(); active {
			w.Error("still active")
		}
		if a := w.account("ann"); a.Finished != 2 || a.Uncertain {
			w.Errorf("%+v", a)
		}
	})
}

func TestALeaverIsFoundThoughTheSearchForALostCreateWasThrottled(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "lost", Method: "POST", Count: 1})
		w.acme.Inject(simulator.Fault{Name: "429", Method: "GET", Skip: 2, Count: 1, RetryAfter: 10 * time.Second})
		w.wish("ann", nil)
		w.wait(time.Second)
		w.wish("ann", leaves)
		w.wait(time.Minute)
		if active, _ := w.acme.Resources(scim.Users)[0].Active(); active {
			w.Error("the leaver is active", w.calls(), w.outcomes())
		}
	})
}

func TestALeaverWhoseCreateIsNotVisibleYetIsWaitedFor(t *testing.T) {
	inBubble(t, simulator.Options{Visibility: 3 * time.Second}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "lost", Method: "POST", Count: 1})
		w.wish("ann", nil)
		w.wait(time.Second)
		w.wish("ann", leaves)
		w.wait(time.Minute)
		if active, _ := w.acme.Resources(scim.Users)[0].Active(); active {
			w.Error("the leaver is active", w.calls(), w.outcomes())
		}
	})
}

func TestAStrangerWhoTookTheNameIsNotTakenForALostCreate(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "429", Method: "GET", Skip: 2, Count: 1, RetryAfter: 10 * time.Second})
		w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
			if r.Method == http.MethodPost { // somebody else is quicker by a moment
				must(t, w.acme.Seed(scim.Users, scim.Resource{"userName": "ann@example.com", "externalId": "somebody"}))
			}
			next.ServeHTTP(out, r)
		})
		w.wish("ann", nil)
		w.wait(time.Minute)
		w.same([]string{"event1 dead_lettered none"}, w.outcomes())
	})
}

func TestAnAccountWhoseCreateWasLostIsFoundUnderItsOldName(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		noExternal := func(name string) func(*joineryv1.ProvisioningCommand) {
			return func(c *joineryv1.ProvisioningCommand) {
				delete(c.Resource.Fields, "externalId")
				c.Resource.Fields["userName"] = structpb.NewStringValue(name)
			}
		}
		w.acme.Inject(simulator.Fault{Name: "lost", Method: "POST", Count: 1})
		w.acme.Inject(simulator.Fault{Name: "500", Method: "GET", Skip: 1, Count: 3})
		w.wish("ann", noExternal("ann@example.com"))
		w.wait(500 * time.Millisecond)
		w.wish("ann", noExternal("ann.married@example.com"))
		w.wait(time.Minute)
		users := w.acme.Resources(scim.Users)
		if len(users) != 1 || users[0]["userName"] != "ann.married@example.com" {
			w.Error(users, w.calls())
		}
	})
}

func TestWhatALostCreateSentIsTakenBack(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "lost", Method: "POST", Count: 1})
		w.acme.Inject(simulator.Fault{Name: "500", Method: "GET", Skip: 2, Count: 3})
		w.wish("ann", titled("Lead"))
		w.wait(500 * time.Millisecond)
		w.wish("ann", untitled)
		w.wait(time.Minute)
		users := w.acme.Resources(scim.Users)
		if len(users) != 1 || users[0]["title"] != nil {
			w.Error(users, w.calls())
		}
	})
}

func TestWhatALostUpdateSentIsTakenBack(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", untitled)
		w.wait(time.Second)
		w.acme.Inject(simulator.Fault{Name: "500-after", Method: "PATCH", Count: 1})
		w.acme.Inject(simulator.Fault{Name: "500", Method: "GET", Count: 2})
		w.wish("ann", titled("Lead"))
		w.wait(600 * time.Millisecond)
		w.wish("ann", untitled)
		w.wait(time.Minute)
		if u := w.acme.Resources(scim.Users)[0]; u["title"] != nil {
			w.Error(u, w.calls())
		}
		if a := w.account("ann"); a.Sent["title"] != nil || a.Uncertain {
			w.Errorf("%+v", a)
		}
	})
}

func untitled(c *joineryv1.ProvisioningCommand) { delete(c.Resource.Fields, "title") }

func TestALeaverIsReadAgainAfterOneAndFifteenMinutes(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		w.wish("ann", leaves)
		w.wait(time.Hour)
		w.same([]string{
			"0s GET /Users 200", "0s GET /Users 200", "0s POST /Users 201",
			"1s GET /Users/000001 200", "1s PATCH /Users/000001 200", "1s GET /Users/000001 200",
			"61s GET /Users/000001 200", "901s GET /Users/000001 200",
		}, w.calls())
		if a := w.account("ann"); a.Checks != 2 || a.Confirmed.Sub(w.start) < 15*time.Minute {
			w.Errorf("%+v", a)
		}
	})
}

func TestALeaverWhoReappearsIsDisabledAgainAndWatchedAnew(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		w.wish("ann", leaves)
		w.wait(30 * time.Second)
		must(t, w.acme.Edit(scim.Users, "000001", scim.Operation{Op: "replace", Path: "active", Value: true}))
		w.stop() // whoever starts next must know
		w.run("worker-1")
		w.wait(10 * time.Minute)
		if active, _ := w.acme.Resources(scim.Users)[0].Active(); active {
			w.Error("the leaver is active", w.calls())
		}
		if a := w.account("ann"); a.Checks != 1 {
			w.Errorf("%d checks: %v", a.Checks, w.calls())
		}
		if got := w.outcomes(); len(got) != 3 || !strings.HasSuffix(got[2], "applied disable") {
			w.Error(got)
		}
	})
}

func TestALeaverWhoIsBackIsReadNoMore(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		w.wish("ann", leaves)
		w.wait(30 * time.Second)
		w.wish("ann", nil)
		w.wait(time.Second)
		before := len(w.calls())
		w.wait(time.Hour)
		if calls := w.calls(); len(calls) != before {
			w.Error(calls)
		}
	})
}

func TestTheSwitchForEverythingHoldsThroughARestart(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		rev, err := w.states.Put(w.Context(), target.Everything, target.State{Paused: &target.Decision{By: "ops"}}, 0)
		must(t, err)
		w.wait(5 * time.Second)
		w.wish("ann", nil)
		w.wait(time.Minute)
		w.stop()
		w.run("worker-1")
		w.wait(time.Minute)
		if calls := w.calls(); len(calls) > 0 {
			w.Error("sent in spite of the switch", calls)
		}
		_, err = w.states.Put(w.Context(), target.Everything, target.State{}, rev)
		must(t, err)
		w.wait(5 * time.Second)
		w.same([]string{"event1 applied create"}, w.outcomes())
	})
}

// After an hour down, the load comes back one by one and not all at once.
func TestATargetThatWasDownIsLoadedSlowly(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "500", Count: 20})
		under, most := 0, 0
		var mu sync.Mutex
		var peaks []int // of requests under way, as each command's first request arrives
		w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
			mu.Lock()
			under++
			most = max(most, under)
			peaks = append(peaks, under)
			mu.Unlock()
			timer := time.NewTimer(100 * time.Millisecond)
			<-timer.C
			next.ServeHTTP(out, r)
			mu.Lock()
			under--
			mu.Unlock()
		})
		for i := range 30 {
			w.wish(fmt.Sprint("person", i), nil)
		}
		w.wait(10 * time.Minute)
		if n := len(w.acme.Resources(scim.Users)); n != 30 {
			w.Errorf("%d accounts", n)
		}
		// The faults are used up: what follows is the recovery.
		mu.Lock()
		defer mu.Unlock()
		after := peaks[20:]
		if after[0] != 1 || after[1] != 1 || after[2] > 2 || slices.Max(after) < 4 {
			w.Error("the load came back as", after)
		}
	})
}

func TestRetriesAreATenthOfWhatATargetIsAsked(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		// Every other POST fails; the breaker, which counts failures in a row, stays shut.
		w.acme.Inject(simulator.Fault{Name: "500", Method: "POST", Chance: 0.5})
		for i := range 400 {
			w.wish(fmt.Sprint("person", i), nil)
		}
		w.wait(20 * time.Second)
		posts, all := 0, len(w.acme.Requests())
		for _, r := range w.acme.Requests() {
			if r.Method == http.MethodPost {
				posts++
			}
		}
		// A tenth of the requests, 20 from the start, and one a second.
		if allowed := all/10 + 20 + 20; posts > 400+allowed {
			w.Errorf("%d retries of 400 POSTs, with %d requests in all", posts-400, all)
		}
		w.acme.Heal()
		w.wait(30 * time.Minute)
		if n := len(w.acme.Resources(scim.Users)); n != 400 {
			w.Errorf("%d accounts", n)
		}
	})
}

func TestBulkWorkIsFetchedInItsHoursOnly(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wait(time.Second)
		w.stop()
		hour := time.Now().UTC().Hour() + 2
		w.more = func(t *dispatcher.Target) {
			t.OffPeak = rate.OffPeak{From: hour % 24 * 60, To: (hour + 1) % 24 * 60, Zone: time.UTC}
		}
		w.run("worker-1")
		w.wish("ann", func(c *joineryv1.ProvisioningCommand) { c.Lane = joineryv1.Lane_LANE_BULK })
		w.wish("bob", nil)
		w.wait(time.Minute)
		w.same([]string{"event2 applied create"}, w.outcomes())
		w.wait(2 * time.Hour)
		w.same([]string{"event2 applied create", "event1 applied create"}, w.outcomes())
	})
}

func TestNothingIsFetchedThatWouldOnlyWaitForItsTurn(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wait(time.Second)
		w.stop()
		open := make(chan struct{})
		w.more = func(t *dispatcher.Target) {
			t.Vacant = func(ctx context.Context, lane joineryv1.Lane) error {
				if lane == joineryv1.Lane_LANE_URGENT {
					return nil
				}
				select {
				case <-open:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		w.run("worker-1")
		for i := range 20 {
			w.wish(fmt.Sprint("person", i), nil)
		}
		w.wish("ann", leaves)
		w.wait(time.Minute)
		w.same([]string{"event21 no_change none"}, w.outcomes())
		if waiting, inFlight, err := w.conn.Backlog(w.Context(), stream.Commands, stream.LaneDurable("acme", "normal")); err != nil || inFlight != 0 || waiting != 20 {
			w.Error(waiting, inFlight, err)
		}
		close(open)
		w.wait(time.Minute)
		if n := len(w.outcomes()); n != 21 {
			w.Errorf("%d outcomes", n)
		}
	})
}

// stalled is a process that stands still in the middle of its first PATCH, as
// under SIGSTOP: nothing of it, and no time-out, goes on meanwhile.
type stalled struct {
	http.RoundTripper
	once  sync.Once
	pause time.Duration
}

func (s *stalled) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPatch {
		s.once.Do(func() {
			timer := time.NewTimer(s.pause)
			<-timer.C
			req = req.WithContext(context.WithoutCancel(req.Context()))
		})
	}
	return s.RoundTripper.RoundTrip(req)
}

func TestAZombieCannotUndoALeaver(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		w.wish("ann", leaves)
		w.wait(time.Hour) // read back, and no longer watched
		w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
			r.Header.Del("If-Match") // no version stands between us and the harm
			next.ServeHTTP(out, r)
		})
		w.stop()
		// The first worker stands still on its way to enable the account.
		w.transport = func(next http.RoundTripper) http.RoundTripper {
			return &stalled{RoundTripper: next, pause: 3 * time.Minute}
		}
		w.more = func(t *dispatcher.Target) {
			t.Vacant = func(ctx context.Context, lane joineryv1.Lane) error {
				if lane == joineryv1.Lane_LANE_NORMAL {
					return nil
				}
				<-ctx.Done() // and hears of nothing else
				return ctx.Err()
			}
		}
		w.run("worker-1")
		stopFirst := w.stop
		w.wait(time.Second)
		w.wish("ann", nil)
		w.wait(time.Second)
		w.transport, w.more = nil, nil
		w.run("worker-2")
		stopSecond := w.stop
		w.stop = func() { stopFirst(); stopSecond() }
		w.wait(time.Second)
		w.wish("ann", leaves)
		w.wait(10 * time.Minute)
		if active, _ := w.acme.Resources(scim.Users)[0].Active(); active {
			w.Error("the zombie's request stands", w.calls(), w.outcomes())
		}
		if a := w.account("ann"); a.Applied != 4 || a.State != identity.Disabled {
			w.Errorf("%+v", a)
		}
	})
}

// Two replicas share the work of one target; every account is worked by one at a
// time, and none twice.
func TestTwoReplicasMakeEveryAccountOnce(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		stopFirst := w.stop
		w.run("worker-2")
		stopSecond := w.stop
		w.stop = func() { stopFirst(); stopSecond() }
		w.wait(time.Second)
		for round := range 4 {
			for i := range 50 {
				w.wish(fmt.Sprint("person", i), titled(fmt.Sprint("Title", round)))
			}
		}
		w.wait(5 * time.Minute)
		users, creates := w.acme.Resources(scim.Users), 0
		for _, c := range w.acme.Commits() {
			if c.Verb == "create" {
				creates++
			}
		}
		if len(users) != 50 || creates != 50 {
			w.Errorf("%d accounts, %d creates", len(users), creates)
		}
		for _, u := range users {
			if u["title"] != "Title3" {
				w.Error(u)
			}
		}
	})
}

// What waits is behind the leaver, however much it is and however long it waits.
func TestALeaverGoesBeforeEverybodyWhoWaits(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		w.stop()
		limiter := redisrate.NewLocal(redisrate.Options{})
		defer func() { _ = limiter.Close() }()
		must(t, limiter.Configure("acme", rate.Limits{{Requests: 10, Per: time.Second}}))
		lane := func(l joineryv1.Lane) rate.Lane { return rate.Lane(l - joineryv1.Lane_LANE_URGENT) }
		w.more = func(t *dispatcher.Target) {
			t.Vacant = func(ctx context.Context, l joineryv1.Lane) error { return limiter.Vacant(ctx, "acme", lane(l)) }
		}
		w.turn = func(ctx context.Context) error { return limiter.Wait(ctx, "acme", lane(dispatcher.LaneOf(ctx)), 1) }
		for i := range 1000 {
			w.wish(fmt.Sprint("person", i), nil)
		}
		w.run("worker-1")
		w.wait(20 * time.Second)
		before := len(w.outcomes())
		w.wish("ann", leaves)
		w.wait(2 * time.Second)
		if active, _ := w.acme.Resources(scim.Users)[0].Active(); active {
			w.Error("the leaver waits behind", 1000-before, "joiners")
		}
		if n := len(w.outcomes()); before < 50 || n > before+12 {
			w.Errorf("%d outcomes in the first 20 s, then %d", before, n)
		}
	})
}

// Seven of ten attempts fail, but never five in a row: that too is a target in
// trouble.
func TestATargetThatMostlyFailsCountsAsDown(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		n, sick := 0, true
		var mu sync.Mutex
		w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
			mu.Lock()
			if r.Method == http.MethodPost {
				n++
			}
			fails := sick && r.Method == http.MethodPost && n%4 != 0
			mu.Unlock()
			if fails {
				refuse(out, http.StatusInternalServerError, "")
				return
			}
			next.ServeHTTP(out, r)
		})
		for i := range 40 {
			w.wish(fmt.Sprint("person", i), nil)
		}
		w.wait(30 * time.Second)
		probes := 0
		for _, r := range w.acme.Requests() {
			if strings.Contains(r.Query, "joinery-control") {
				probes++
			}
		}
		if probes == 0 {
			w.Error("it never counted as down")
		}
		mu.Lock()
		sick = false
		mu.Unlock()
		w.wait(30 * time.Minute)
		if made := len(w.acme.Resources(scim.Users)); made != 40 {
			w.Errorf("%d accounts", made)
		}
	})
}

// Some targets answer a PATCH of a path that they do not understand with success,
// and put the value somewhere else.
func TestWhatATargetTakesAndDoesNotDoIsDoneByPut(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
			if r.Method == http.MethodPatch {
				r.Method, r.Body, r.ContentLength = http.MethodGet, http.NoBody, 0 // yes, and nothing done
			}
			next.ServeHTTP(out, r)
		})
		w.wish("ann", nil)
		w.wait(time.Second)
		before := len(w.calls())
		w.wish("ann", titled("Lead"))
		w.wait(time.Second)
		w.same([]string{"1s GET /Users/000001 200", "1s GET /Users/000001 200", "1s PUT /Users/000001 200"}, w.calls()[before:])
		before = len(w.calls())
		w.wish("ann", titled("Head"))
		w.wait(time.Second)
		w.same([]string{"2s GET /Users/000001 200", "2s PUT /Users/000001 200"}, w.calls()[before:])
		state, _, err := w.states.Get(w.Context(), "acme")
		must(t, err)
		if q := state.Quirks["patch.ignored"]; q.Value != "title" || q.Evidence == "" {
			w.Error(q)
		}
		if u := w.acme.Resources(scim.Users)[0]; u["title"] != "Head" {
			w.Error(u)
		}
	})
}
