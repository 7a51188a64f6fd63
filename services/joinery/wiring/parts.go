package wiring

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/joinery/joinery/pkg/app"
	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/guard"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/rate"
	"github.com/joinery/joinery/pkg/reconcile"
	"github.com/joinery/joinery/pkg/redisrate"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/target"
	"github.com/joinery/joinery/pkg/token"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/deadletter"
	"github.com/joinery/joinery/services/dispatcher"
	"github.com/joinery/joinery/services/ingest"
	"github.com/joinery/joinery/services/ingest/directory"
	"github.com/joinery/joinery/services/mapper"
	"github.com/joinery/joinery/services/reconciler"
)

// Ingest is the door.
func Ingest(ctx context.Context, b *Base) (*Part, error) {
	ring := b.newRing()
	sources, err := doors(b.folder.Load(), ring)
	if err != nil {
		return nil, err
	}
	feeds, err := ingest.OpenFeeds(ctx, b.conn)
	if err != nil {
		return nil, err
	}
	resources, err := directory.Open(ctx, b.conn)
	if err != nil {
		return nil, err
	}
	s, err := ingest.New(sources, ingest.Deps{
		Journal: ingest.NewJournal(b.conn), Telemetry: b.telemetry, Feeds: feeds, Cases: b.outbox,
		Directory: resources,
	})
	if err != nil {
		return nil, err
	}
	published := b.conn.Subscriber(stream.SubscriberOptions{
		Stream: stream.Intake, Durable: "ingest", Concurrency: ingest.IntakeConcurrency,
	})
	return &Part{
		Name: "ingest", Handler: s.Handler(),
		Run: func(ctx context.Context) error {
			group := app.NewGroup(ctx)
			group.Go("intake", func(ctx context.Context) error { return s.RunIntake(ctx, published) })
			group.Go("scim", s.Settle)
			// A rotated secret is picked up without a change of the folder.
			group.Go("refresh", func(ctx context.Context) error {
				return s.Refresh(ctx, func() ([]ingest.Source, error) { return doors(b.folder.Load(), ring) })
			})
			return group.Wait()
		},
		Configure: func(_ context.Context, folder *config.Folder) error {
			sources, err := doors(folder, ring)
			if err != nil {
				return err
			}
			return s.Reload(sources)
		},
	}, nil
}

func doors(folder *config.Folder, ring *token.Ring) ([]ingest.Source, error) {
	var out []ingest.Source
	keys := hold(ring, folder)
	for _, name := range slices.Sorted(maps.Keys(folder.Sources)) {
		s := folder.Sources[name]
		credential, err := credentialOf(s.Auth, keys)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", name, err)
		}
		out = append(out, ingest.Source{
			Name: name, Credentials: []ingest.Credential{credential},
			Events: event.Source{Name: name, Rules: s.Rules, KeyField: event.KeyField(s.IdentityKey)},
			Feed:   feedSettings(s.Feeds), PublicURL: s.SCIM.PublicURL,
		})
	}
	return out, nil
}

func credentialOf(a config.SourceAuth, keys map[token.Place]*token.Keys) (ingest.Credential, error) {
	switch {
	case a.Bearer != nil:
		token, err := a.Bearer.Read()
		return ingest.Bearer{Tokens: []string{token}}, err
	case a.Basic != nil:
		password, err := a.Basic.Password.Read()
		return ingest.Basic{Username: a.Basic.Username, Password: password}, err
	case a.HMAC != nil:
		secret, err := a.HMAC.Secret.Read()
		return ingest.HMAC{Header: a.HMAC.Header, Prefix: a.HMAC.Prefix, Secrets: [][]byte{[]byte(secret)}}, err
	case a.JWKS != nil:
		return jwtOf(a.JWKS, keys), nil
	case a.NATS != nil:
		return ingest.Broker{}, nil
	}
	return nil, fmt.Errorf("no credential")
}

// Mapper is the person.
func Mapper(ctx context.Context, b *Base) (*Part, error) {
	identities, err := stream.OpenBucket[identity.Record](ctx, b.conn, stream.Identities)
	if err != nil {
		return nil, err
	}
	groups, err := stream.OpenBucket[identity.Group](ctx, b.conn, stream.Groups)
	if err != nil {
		return nil, err
	}
	members, err := stream.OpenBucket[identity.Member](ctx, b.conn, stream.Members)
	if err != nil {
		return nil, err
	}
	names, err := stream.OpenBucket[identity.Name](ctx, b.conn, stream.Names)
	if err != nil {
		return nil, err
	}
	links, err := stream.OpenBucket[identity.Link](ctx, b.conn, stream.Links)
	if err != nil {
		return nil, err
	}
	keeper := mapper.KeeperOf(identities)
	s := mapper.New(identities, b.outbox, wishers(b.folder.Load(), names, keeper), b.telemetry).WithGroups(groups, members)
	s.Heed(sourcesOf(b.folder.Load(), links))
	lifecycle := b.conn.Subscriber(stream.SubscriberOptions{
		Stream: stream.Lifecycle, Durable: "mapper", Concurrency: mapper.Concurrency,
		Key: func(subject string) string { return stream.Token(subject, 3) },
	})
	wakes := b.conn.Subscriber(stream.SubscriberOptions{
		Stream: stream.Schedules, Durable: "mapper-wakes", Concurrency: mapper.WakeConcurrency,
	})
	recompute := func(ctx context.Context, folder *config.Folder) error {
		s.Heed(sourcesOf(folder, links))
		_, err := s.Recompute(ctx, wishers(folder, names, keeper), "config-"+fingerprint(folder))
		return err
	}
	return &Part{
		Name: "mapper", Configure: recompute,
		Run: func(ctx context.Context) error {
			group := app.NewGroup(ctx)
			group.Go("events", func(ctx context.Context) error { return s.Run(ctx, lifecycle) })
			group.Go("wake-ups", func(ctx context.Context) error { return s.RunWakes(ctx, wakes, wire.NewDiary(b.conn)) })
			group.Go("scheduled", func(ctx context.Context) error {
				return s.CountScheduled(ctx, func(ctx context.Context) (uint64, error) {
					return b.conn.Count(ctx, stream.Schedules, "joinery.due.*.*.*")
				})
			})
			// What changed in the configuration while nobody ran is caught up with.
			group.Go("recompute", func(ctx context.Context) error { return recompute(ctx, b.folder.Load()) })
			return group.Wait()
		},
	}, nil
}

func wishers(folder *config.Folder, names mapper.Names, keeper mapper.Keeper) mapper.Targets {
	out := mapper.Targets{}
	for name, t := range folder.Targets {
		out[name] = mapper.Target{
			Desired: t.Mapping.Desired, Rule: t.Assign, Version: t.Mapping.Version, Deprovision: t.Deprovision.Action,
			Percent: t.Rollout.Percent, Simulated: t.Mode == "simulate", Names: names, Keeper: keeper, GroupName: groupName(t.Mapping),
		}
	}
	return out
}

// groupName is the naming of sources' groups, where a target has rules for them.
func groupName(m *mapping.Mapping) func(mapping.Group) (string, error) {
	if !m.HasGroups() {
		return nil
	}
	return m.GroupName
}

// fingerprint names a configuration in subjects.
func fingerprint(folder *config.Folder) string {
	h := sha256.New()
	fmt.Fprintln(h, folder.Joinery.Precedence)
	for _, name := range slices.Sorted(maps.Keys(folder.Targets)) {
		fmt.Fprintln(h, name, folder.Targets[name].Version)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Dispatcher is the wire.
func Dispatcher(ctx context.Context, b *Base) (*Part, error) {
	accounts, err := stream.OpenBucket[identity.Account](ctx, b.conn, stream.Accounts)
	if err != nil {
		return nil, err
	}
	states, err := stream.OpenBucket[target.State](ctx, b.conn, stream.Targets)
	if err != nil {
		return nil, err
	}
	members, err := stream.OpenBucket[identity.Member](ctx, b.conn, stream.Members)
	if err != nil {
		return nil, err
	}
	windows, err := stream.OpenBucket[guard.Window](ctx, b.conn, stream.Guards)
	if err != nil {
		return nil, err
	}
	s := dispatcher.New(dispatcher.Options{
		Lanes: b.conn, Accounts: accounts, Members: members, States: states, Windows: windows, Outbox: b.outbox, Pauser: b.limiter,
		Newest: wire.NewestCommand(b.conn), Raise: b.bell.Raise,
		Worker: b.options.Worker, Telemetry: b.telemetry, Jitter: b.options.Jitter,
	})
	configure := func(_ context.Context, folder *config.Folder) error {
		targets := map[string]dispatcher.Target{}
		for name, t := range folder.Targets {
			client, err := b.client(t, "dispatcher", func(ctx context.Context, cost int) error {
				return dispatcher.Patiently(ctx, func(ctx context.Context) error {
					return b.limiter.Wait(ctx, name, laneOf(dispatcher.LaneOf(ctx)), cost)
				})
			})
			if err != nil {
				return fmt.Errorf("target %s: %w", name, err)
			}
			targets[name] = dispatcher.Target{
				Provider: client, Groups: client.Groups(), Concurrency: t.Concurrency, Version: t.Version, Stopped: t.Mode != "live",
				OffPeak: t.OffPeak.Hours,
				Vacant: func(ctx context.Context, lane joineryv1.Lane) error {
					return b.limiter.Vacant(ctx, name, laneOf(lane))
				},
				Settings: dispatcher.Settings{
					Match: t.Match, Adopt: t.Adopt, Attempts: t.Retry.Attempts, Backoff: t.Retry.Backoff,
					BackoffCap: t.Retry.BackoffCap, Settle: max(t.Retry.Settle, t.Knobs.Visibility), Throttle: t.Retry.Throttle,
					Knobs: t.Knobs, KeepsLeavers: t.Deprovision.Action == "none", DeleteAfter: t.Deprovision.DeleteAfter, Protected: t.Protected, Guard: map[string]guard.Limit{
						guard.Deprovision: guard.Limit(t.Guard.Deprovision), guard.Rename: guard.Limit(t.Guard.Rename), guard.Membership: guard.Limit(t.Guard.Membership),
					},
				},
			}
		}
		s.Configure(targets)
		return nil
	}
	run := func(ctx context.Context) error {
		group := app.NewGroup(ctx)
		group.Go("lanes", s.Run)
		group.Go("credentials", b.watchCredentials)
		return group.Wait()
	}
	return &Part{Name: "dispatcher", Run: run, Configure: configure}, configure(ctx, b.folder.Load())
}

func laneOf(l joineryv1.Lane) rate.Lane {
	switch l {
	case joineryv1.Lane_LANE_URGENT:
		return rate.Urgent
	case joineryv1.Lane_LANE_BULK:
		return rate.Bulk
	default:
		return rate.Normal
	}
}

// Reconciler is the truth.
func Reconciler(ctx context.Context, b *Base) (*Part, error) {
	runs, err := stream.OpenBucket[reconcile.Run](ctx, b.conn, stream.Runs)
	if err != nil {
		return nil, err
	}
	identities, err := stream.OpenBucket[identity.Record](ctx, b.conn, stream.Identities)
	if err != nil {
		return nil, err
	}
	accounts, err := stream.OpenBucket[identity.Account](ctx, b.conn, stream.Accounts)
	if err != nil {
		return nil, err
	}
	states, err := stream.OpenBucket[target.State](ctx, b.conn, stream.Targets)
	if err != nil {
		return nil, err
	}
	s := reconciler.New(reconciler.Options{
		Runs: runs, Identities: identities, Accounts: accounts, States: states, Outbox: b.outbox,
		Worker: b.options.Worker, Telemetry: b.telemetry,
	})
	configure := func(_ context.Context, folder *config.Folder) error {
		targets := map[string]reconciler.Target{}
		for name, t := range folder.Targets {
			client, err := b.client(t, "reconciler", func(ctx context.Context, cost int) error {
				return b.limiter.Wait(ctx, name, rate.Bulk, cost)
			})
			if err != nil {
				return fmt.Errorf("target %s: %w", name, err)
			}
			every := t.Reconcile.Every
			if t.Mode != "live" {
				every = 0
			}
			targets[name] = reconciler.Target{Lister: client, Every: every, Mode: t.Reconcile.Mode}
		}
		s.Configure(targets)
		return nil
	}
	return &Part{Name: "reconciler", Run: s.Run, Configure: configure}, configure(ctx, b.folder.Load())
}

// client is the SCIM client of a target; each request waits for its turn first.
func (b *Base) client(t config.Target, service string, wait func(ctx context.Context, cost int) error) (*scimhttp.Client, error) {
	calls := b.telemetry.Metrics.Counter("joinery_scim_requests_total",
		"Requests to targets, by target, service, method and status (0: no answer).", "target", "service", "method", "status")
	seconds := b.telemetry.Metrics.Histogram("joinery_scim_request_seconds",
		"Seconds that a target took to answer, by target and method.", nil, "target", "method")
	return scimhttp.New(scimhttp.Options{
		Endpoint: t.Endpoint, Auth: b.authenticator(t), Transport: b.options.Transport, TLS: tlsOf(t), AllowPrivate: t.AllowPrivate,
		Concurrency: t.Concurrency, Timeout: t.Retry.Timeout, Tracer: b.telemetry.Tracer, Knobs: t.Knobs,
		Wait: wait,
		Observe: func(c scimhttp.Call) {
			calls.Add(1, t.Name, service, c.Method, fmt.Sprint(c.Status))
			seconds.Observe(c.Duration.Seconds(), t.Name, c.Method)
		},
	})
}

func (b *Base) authenticator(t config.Target) scimhttp.Authenticator {
	return authenticator(t, b.options.Transport)
}

// Client is a SCIM client of a target for a tool that asks it on its own. It keeps
// to the target's rate by itself: whatever else is sent comes on top.
func Client(t config.Target) (*scimhttp.Client, error) {
	limiter := redisrate.NewLocal(redisrate.Options{})
	if err := limiter.Configure(t.Name, limitsOf(t)); err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	return scimhttp.New(scimhttp.Options{
		Endpoint: t.Endpoint, Auth: authenticator(t, nil), TLS: tlsOf(t), AllowPrivate: t.AllowPrivate, Timeout: t.Retry.Timeout,
		Wait: func(ctx context.Context, cost int) error { return limiter.Wait(ctx, t.Name, rate.Normal, cost) },
	})
}

// authenticator is how a target is told who we are; transport replaces the safe
// one (tests).
func authenticator(t config.Target, transport http.RoundTripper) scimhttp.Authenticator {
	a := t.Auth
	switch {
	case a.Bearer != nil:
		return scimhttp.Bearer{Token: a.Bearer.Read}
	case a.Basic != nil:
		return scimhttp.Basic{Username: a.Basic.Username, Password: a.Basic.Password.Read}
	case a.Header != nil:
		return scimhttp.Header{Name: a.Header.Name, Value: a.Header.Value.Read}
	case a.OAuth2 != nil:
		return clientCredentials(t, transport)
	}
	return nil
}

// Deadletter is the desk, with the console's API.
func Deadletter(ctx context.Context, b *Base) (*Part, error) {
	cases, err := stream.OpenBucket[deadletter.Case](ctx, b.conn, stream.Cases)
	if err != nil {
		return nil, err
	}
	identities, err := stream.OpenBucket[identity.Record](ctx, b.conn, stream.Identities)
	if err != nil {
		return nil, err
	}
	desk := deadletter.NewDesk(cases, identities, b.outbox, b.telemetry)
	api, err := console(ctx, b, desk, cases, identities)
	if err != nil {
		return nil, err
	}
	letters := b.conn.Subscriber(stream.SubscriberOptions{Stream: stream.DeadLetters, Durable: "desk", Concurrency: 8, Key: subjectKey})
	outcomes := b.conn.Subscriber(stream.SubscriberOptions{Stream: stream.Outcomes, Durable: "desk-outcomes", Concurrency: 32, Key: subjectKey})
	return &Part{
		Name: "deadletter", Handler: api.Handler(),
		Run: func(ctx context.Context) error {
			group := app.NewGroup(ctx)
			group.Go("desk", func(ctx context.Context) error { return desk.Run(ctx, letters, outcomes) })
			group.Go("accountant", api.Accountant.Run)
			return group.Wait()
		},
		Configure: func(context.Context, *config.Folder) error { return nil }, // it reads the folder in force
	}, nil
}

func subjectKey(subject string) string { return subject }

func console(ctx context.Context, b *Base, desk *deadletter.Desk, cases *stream.Bucket[deadletter.Case], identities *stream.Bucket[identity.Record]) (*deadletter.API, error) {
	accounts, err := stream.OpenBucket[identity.Account](ctx, b.conn, stream.Accounts)
	if err != nil {
		return nil, err
	}
	states, err := stream.OpenBucket[target.State](ctx, b.conn, stream.Targets)
	if err != nil {
		return nil, err
	}
	runs, err := stream.OpenBucket[reconcile.Run](ctx, b.conn, stream.Runs)
	if err != nil {
		return nil, err
	}
	books, err := stream.OpenBucket[deadletter.Book](ctx, b.conn, stream.Books)
	if err != nil {
		return nil, err
	}
	board := &deadletter.Board{States: states, Cases: cases, Configured: b.modes, Profiles: b.profiles, Credentials: b.credentials, Waiting: b.waiting}
	accountant := &deadletter.Accountant{
		Journal: b.conn, Books: books, Accounts: accounts, Record: b.outbox.Outcome, Closed: board.Closed, Log: b.telemetry.Log, Raise: b.bell.Raise,
		Targets:   func() []string { return slices.Sorted(maps.Keys(b.folder.Load().Targets)) },
		Objective: b.folder.Load().Joinery.Alerts.Objective,
	}
	api := &deadletter.API{
		Accountant: accountant.Meter(b.telemetry.Metrics),
		Desk:       desk, EventID: event.IDOf, Log: b.telemetry.Log, Runs: runBoard{runs},
		Library: &deadletter.Library{
			Identities: identities, Accounts: accounts, Cases: cases, Streams: b.conn,
			Targets: func() []string { return slices.Sorted(maps.Keys(b.folder.Load().Targets)) },
		},
		Board:    board,
		Publish:  b.outbox.Lifecycle,
		Topology: func(ctx context.Context) (any, error) { return b.conn.Inspect(ctx) },
	}
	if token := b.folder.Load().Joinery.Console.Token; token.IsSet() {
		api.Token = token.Read
	}
	return api, nil
}

func (b *Base) modes() map[string]string {
	out := map[string]string{}
	for name, t := range b.folder.Load().Targets {
		out[name] = t.Mode
	}
	return out
}

// waiting counts the commands of a target that are not settled.
func (b *Base) waiting(ctx context.Context, name string) (uint64, error) {
	var sum uint64
	for _, lane := range []string{"urgent", "normal", "bulk"} {
		waiting, inFlight, err := b.conn.Backlog(ctx, stream.Commands, stream.LaneDurable(name, lane))
		if err != nil {
			return 0, err
		}
		sum += waiting + inFlight
	}
	return sum, nil
}

// runBoard is the runs as the console shows them.
type runBoard struct {
	runs *stream.Bucket[reconcile.Run]
}

func (r runBoard) Request(ctx context.Context, name, mode, by, reason string, force bool) (string, error) {
	return reconciler.Request(ctx, r.runs, reconcile.Run{Target: name, Mode: mode, RequestedBy: by, Reason: reason, Force: force})
}

func (r runBoard) Show(ctx context.Context, name, id string) (any, error) {
	run, _, err := r.runs.Get(ctx, name+"."+id)
	return run, err
}

func (r runBoard) List(ctx context.Context, name string) (any, error) {
	keys, err := r.runs.Keys(ctx, name)
	if err != nil {
		return nil, err
	}
	out := []reconcile.Run{}
	for _, key := range keys {
		run, _, err := r.runs.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		run.Findings = nil
		out = append(out, run)
	}
	slices.SortFunc(out, func(x, y reconcile.Run) int { return x.RequestedAt.Compare(y.RequestedAt) })
	return out, nil
}

var (
	_ dispatcher.Provider = (*scimhttp.Client)(nil)
	_ reconciler.Lister   = (*scimhttp.Client)(nil)
)
