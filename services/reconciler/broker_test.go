package reconciler_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/embedded/bubble"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/reconcile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/simulator"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/target"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/reconciler"
)

// plant is a reconciler over the real broker, reading a simulated target.
type plant struct {
	*testing.T
	conn       *stream.Conn
	acme       *simulator.Server
	runs       *stream.Bucket[reconcile.Run]
	identities *stream.Bucket[identity.Record]
	accounts   *stream.Bucket[identity.Account]
	stop       func()
}

func onBroker(t *testing.T, fn func(p *plant)) {
	t.Helper()
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		conn, err := stream.Dial(t.Context(), b.Broker.Options("test"))
		must(t, err)
		defer conn.Close()
		must(t, conn.Apply(t.Context(), stream.Design([]string{"acme"}, 1)))
		p := &plant{T: t, conn: conn, acme: simulator.New(simulator.Options{PageMax: 3})}
		b.Transport.Handle("acme.example", p.acme)
		p.runs = open[reconcile.Run](t, conn, stream.Runs)
		p.identities = open[identity.Record](t, conn, stream.Identities)
		p.accounts = open[identity.Account](t, conn, stream.Accounts)
		p.start(b)
		fn(p)
		p.stop()
	})
}

func open[T any](t *testing.T, conn *stream.Conn, name string) *stream.Bucket[T] {
	t.Helper()
	b, err := stream.OpenBucket[T](t.Context(), conn, name)
	must(t, err)
	return b
}

func (p *plant) start(b *bubble.Bubble) {
	p.Helper()
	tel, err := telemetry.New(p.Context(), telemetry.Options{Service: "reconciler", Log: &bytes.Buffer{}})
	must(p, err)
	client, err := scimhttp.New(scimhttp.Options{
		Endpoint: "https://acme.example", Transport: b.Transport, Wait: func(context.Context, int) error { return nil },
	})
	must(p, err)
	s := reconciler.New(reconciler.Options{
		Runs: p.runs, Identities: p.identities, Accounts: p.accounts, States: open[target.State](p.T, p.conn, stream.Targets),
		Outbox: wire.NewOutbox(p.conn.Publisher()), Worker: "one", Telemetry: tel,
	})
	s.Configure(map[string]reconciler.Target{"acme": {Lister: client}})
	ctx, cancel := context.WithCancel(p.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	p.stop = func() {
		cancel()
		must(p, <-done)
		must(p, tel.Shutdown(p.Context()))
	}
}

// people puts people in the target, known and linked as their accounts are there.
func (p *plant) people(names ...string) {
	p.Helper()
	for _, name := range names {
		desired := map[string]any{"userName": name, "externalId": "x-" + name}
		must(p, p.acme.Seed(scim.Users, scim.Resource(desired).Clone()))
		listed := p.acme.Resources(scim.Users)
		_, err := p.identities.Put(p.Context(), name, identity.Record{ID: name, Revision: 1, Wishes: map[string]identity.Wish{
			"acme": {Wish: identity.Present, Resource: desired, Revision: 1, Event: "event-" + name},
		}}, 0)
		must(p, err)
		account := identity.Account{Target: "acme", Identity: name, RemoteID: listed[len(listed)-1].ID(), Finished: 1}
		_, err = p.accounts.Put(p.Context(), identity.AccountKey("acme", name), account, 0)
		must(p, err)
	}
	for _, r := range p.acme.Resources(scim.Users) {
		must(p, p.acme.Edit(scim.Users, r.ID(), scim.Operation{Op: "replace", Path: "active", Value: true}))
	}
}

// reconcile requests a run and gives its end.
func (p *plant) reconcile(run reconcile.Run) reconcile.Run {
	p.Helper()
	run.Target = "acme"
	id, err := reconciler.Request(p.Context(), p.runs, run)
	must(p, err)
	for range 100 {
		select {
		case <-time.After(time.Second):
		case <-p.Context().Done():
		}
		stored, _, err := p.runs.Get(p.Context(), "acme."+id)
		must(p, err)
		if stored.Ended() {
			return stored
		}
	}
	p.Fatal("the run does not end")
	return run
}

// commands are the repairs waiting, by identity.
func (p *plant) commands() map[string]joineryv1.Lane {
	p.Helper()
	out := map[string]joineryv1.Lane{}
	for stored, err := range p.conn.Scan(p.Context(), stream.Commands, "joinery.command.>") {
		must(p, err)
		c := &joineryv1.ProvisioningCommand{}
		_, err := wire.Decode(stored.Message, c)
		must(p, err)
		out[c.GetIdentity()] = c.GetLane()
	}
	return out
}

func TestOverTheBrokerDriftIsSentForRepairAndStrangersAreLeftAlone(t *testing.T) {
	onBroker(t, func(p *plant) {
		p.people("ann", "ben", "cid", "dot", "eve")
		listed := p.acme.Resources(scim.Users)
		must(t, p.acme.Edit(scim.Users, listed[1].ID(), scim.Operation{Op: "replace", Path: "userName", Value: "edited"}))
		must(t, p.acme.Remove(scim.Users, listed[2].ID()))
		must(t, p.acme.Seed(scim.Users, scim.Resource{"userName": "stranger"}))
		commits := len(p.acme.Commits())
		run := p.reconcile(reconcile.Run{Mode: reconcile.Remediate})
		strangers := p.acme.Resources(scim.Users)
		want := verdict{State: reconcile.Done, Repairs: 2, Findings: []reconcile.Finding{
			{Situation: reconcile.Differs, Identity: "ben", RemoteID: listed[1].ID(), Attributes: []string{"userName"}},
			{Situation: reconcile.Unknown, RemoteID: strangers[len(strangers)-1].ID()},
			{Situation: reconcile.Missing, Identity: "cid", RemoteID: listed[2].ID()},
		}}
		if diff := cmp.Diff(want, verdictOf(run)); diff != "" {
			t.Error(diff)
		}
		bulk := joineryv1.Lane_LANE_BULK
		if diff := cmp.Diff(map[string]joineryv1.Lane{"ben": bulk, "cid": bulk}, p.commands()); diff != "" {
			t.Error(diff)
		}
		if len(p.acme.Commits()) != commits {
			t.Error("the reconciler itself changed the target")
		}
	})
}

func TestOverTheBrokerAListingThatFailsOnItsSecondPageRepairsNothing(t *testing.T) {
	onBroker(t, func(p *plant) {
		p.people("ann", "ben", "cid", "dot", "eve")
		p.acme.Inject(simulator.Fault{Name: "html", Method: "GET", Path: "/Users", Skip: 1})
		run := p.reconcile(reconcile.Run{Mode: reconcile.Remediate, Force: true})
		if run.State != reconcile.Failed || run.Error == "" || len(run.Findings) != 0 || run.Counts.Listed != 3 {
			t.Errorf("%+v", run)
		}
		if got := p.commands(); len(got) != 0 {
			t.Error(got)
		}
	})
}

func TestOverTheBrokerATargetThatLostEverybodyIsNotBelieved(t *testing.T) {
	onBroker(t, func(p *plant) {
		p.people("ann", "ben", "cid", "dot", "eve")
		for _, r := range p.acme.Resources(scim.Users) {
			must(t, p.acme.Remove(scim.Users, r.ID()))
		}
		if run := p.reconcile(reconcile.Run{Mode: reconcile.Remediate}); run.State != reconcile.Implausible || run.Repairs != 0 {
			t.Errorf("%+v", run)
		}
		if run := p.reconcile(reconcile.Run{Mode: reconcile.Remediate, Force: true}); run.State != reconcile.Done || run.Repairs != 5 {
			t.Errorf("%+v", run)
		}
	})
}
