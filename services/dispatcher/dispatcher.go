// Package dispatcher owns the wire: it brings one (target, identity) pair at a
// time to its desired state with the fewest safe SCIM calls, and records how
// every command ended. It knows nothing of sources or mapping rules.
package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/joinery/joinery/pkg/crash"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/guard"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Provider is a target's SCIM service provider. Every error is marked by
// pkg/fault; every request has waited for its token.
type Provider interface {
	Find(ctx context.Context, kind scim.Kind, attr, value string) ([]scim.Resource, error)
	Get(ctx context.Context, kind scim.Kind, id string) (scim.Resource, error)
	Create(ctx context.Context, kind scim.Kind, r scim.Resource) (scim.Resource, error)
	Patch(ctx context.Context, kind scim.Kind, id, etag string, ops []scim.Operation) (scim.Resource, error)
	Replace(ctx context.Context, kind scim.Kind, id, etag string, r scim.Resource) (scim.Resource, error)
	Delete(ctx context.Context, kind scim.Kind, id, etag string) error
	List(ctx context.Context, kind scim.Kind) iter.Seq2[scim.Resource, error]
	Discover(ctx context.Context) (scim.ServiceProviderConfig, error)
}

// Outbox publishes what the dispatcher decides. A call returns when the broker
// has stored the message; a second outcome for the same (target, identity,
// event) is not stored.
type Outbox interface {
	Command(ctx context.Context, c *joineryv1.ProvisioningCommand) error
	Outcome(ctx context.Context, o *joineryv1.Outcome) error
	DeadLetter(ctx context.Context, d *joineryv1.DeadLetter) error
}

// Pauser makes every replica leave a target alone for a while.
type Pauser interface {
	Hold(ctx context.Context, target string, pause time.Duration) error
}

// Settings are what the dispatcher must know of a target.
type Settings struct {
	// Match are the attributes to search by, in order.
	Match []string
	// Adopt is exact, ask or never.
	Adopt string
	// Attempts after which a command that keeps failing becomes a case.
	Attempts int
	// Backoff is the first waiting time between attempts; it doubles up to BackoffCap.
	Backoff, BackoffCap time.Duration
	// Settle is how long the target may take to show what it has committed.
	Settle time.Duration
	// Throttle is the pause after a 429 that names none.
	Throttle time.Duration
	// Guard limits what may be taken from people, by kind; a kind without a limit
	// is not guarded.
	Guard map[string]guard.Limit
	// KeepsLeavers: an account is left as it is when somebody leaves, so that nothing
	// takes back what an older wish did to it.
	KeepsLeavers bool
	// DeleteAfter is when a disabled account is deleted; 0 is never.
	DeleteAfter time.Duration
	// Protected are userNames, externalIds or ids of accounts that are never
	// disabled, deleted or renamed.
	Protected []string
	// Knobs are how the target differs from the RFCs, as far as its profile says.
	Knobs profile.Knobs
}

// Defaults fills what is not set.
func (s Settings) Defaults() Settings {
	if len(s.Match) == 0 {
		s.Match = []string{"externalId", "userName"}
	}
	if s.Adopt == "" {
		s.Adopt = "exact"
	}
	s.Attempts = max(s.Attempts, 0)
	if s.Attempts == 0 {
		s.Attempts = 12
	}
	if s.Backoff == 0 {
		s.Backoff = time.Second
	}
	if s.BackoffCap == 0 {
		s.BackoffCap = 15 * time.Minute
	}
	if s.Settle == 0 {
		s.Settle = 5 * time.Second
	}
	if s.Throttle == 0 {
		s.Throttle = 30 * time.Second
	}
	return s
}

type metrics struct {
	outcomes    *telemetry.Counter
	failures    *telemetry.Counter
	held        *telemetry.Counter
	confirmed   *telemetry.Counter
	unconfirmed *telemetry.Gauge
	latency     *telemetry.Histogram
	open        *telemetry.Gauge
}

func newMetrics(m *telemetry.Metrics) *metrics {
	return &metrics{
		outcomes: m.Counter("joinery_dispatcher_outcomes_total",
			"Commands ended, by target, lane, operation and result.", "target", "lane", "operation", "result"),
		failures: m.Counter("joinery_dispatcher_failures_total",
			"Failed attempts, by target and kind of failure; broker is the broker's, all others the target's.", "target", "kind"),
		held: m.Counter("joinery_dispatcher_held_total",
			"Commands that a guard put before a person, by target and source.", "target", "source"),
		confirmed: m.Counter("joinery_dispatcher_leavers_read_back_total",
			"Disabled accounts read again, by target and result (confirmed, reappeared).", "target", "result"),
		unconfirmed: m.Gauge("joinery_dispatcher_leavers_unconfirmed",
			"Disabled accounts that are still to be read again, or deleted later.", "target"),
		latency: m.Histogram("joinery_dispatcher_command_seconds",
			"Seconds from a command's issue to its outcome.", nil, "target", "lane"),
		open: m.Gauge("joinery_dispatcher_target_open",
			"1 while commands are sent to the target, 0 while it is paused, quarantined or down.", "target"),
	}
}

// errBudget: too much of what the target is asked are retries already.
var errBudget = errors.New("the target's retry budget is used up")

// down notes a failure, and tells whether the target now counts as down.
func (t *worker) down() bool {
	if !t.breaker.failure() {
		return false
	}
	t.ramp.down()
	return true
}

// errGathering: a group's command waits for more of its members.
var errGathering = errors.New("waits for more changes of the same group")

// maxFresh bounds how often one delivery starts again from a fresh read because
// the account changed under it.
const maxFresh = 3

// Handle brings about one command. It may be called any number of times with
// the same command. nil means that the outcome is recorded; an error carries
// the pause after which the command should come again.
func (t *worker) Handle(ctx context.Context, c *joineryv1.ProvisioningCommand) error {
	ctx, span := t.tracer.Start(ctx, "dispatch command", trace.WithAttributes(
		attribute.String("joinery.target", t.name),
		attribute.String("joinery.identity", c.GetIdentity()),
		attribute.String("joinery.event", c.GetEventId()),
		attribute.Int64("joinery.revision", int64(c.GetRevision())),
	))
	defer span.End()
	ctx = withErrand(ctx, errand{lane: c.GetLane(), life: t.life, period: t.states.period()})
	free, err := t.ledger.pairs.lock(ctx, t.name+"."+c.GetIdentity())
	if err != nil {
		return err
	}
	defer free()
	leave, err := t.ramp.enter(ctx, c.GetLane() == joineryv1.Lane_LANE_URGENT)
	if err != nil {
		return err
	}
	defer leave()
	overtaken := false
	for try := range maxFresh {
		err = t.handle(ctx, c, try > 0)
		if !fault.Is(err, fault.Changed) && !errors.Is(err, stream.ErrConflict) {
			break
		}
		overtaken = overtaken || errors.Is(err, stream.ErrConflict)
	}
	if err == nil && overtaken {
		err = t.setRight(ctx, c, time.Now())
	}
	if err != nil {
		span.RecordError(err)
	}
	return err
}

// setRight has the account read again after another worker stored it while a
// request of ours was under way: that request may have reached the target last.
func (t *worker) setRight(ctx context.Context, c *joineryv1.ProvisioningCommand, now time.Time) error {
	return t.again(ctx, c.GetIdentity(), fmt.Sprintf("overtaken-%d-%d", c.GetRevision(), now.UnixMilli()), nil)
}

// again sends the newest wish of an account once more, to be compared with what
// the target shows. name says why, once for each reason.
func (t *worker) again(ctx context.Context, id, name string, change func(*joineryv1.ProvisioningCommand)) error {
	c, err := t.newest(ctx, t.name, id)
	if err != nil {
		return fmt.Errorf("read the newest command: %w", err)
	}
	identity.Again(c, joineryv1.Cause_CAUSE_DRIFT, name, identity.CommandID(t.name, id, c.GetRevision())+":"+name)
	c.IssuedAt, c.Approval = timestamppb.Now(), nil
	if change != nil {
		change(c)
	}
	if err := t.outbox.Command(ctx, c); err != nil {
		return fmt.Errorf("send a wish again: %w", err)
	}
	return nil
}

func (t *worker) handle(ctx context.Context, c *joineryv1.ProvisioningCommand, fresh bool) error {
	crash.At(ctx, crash.DispatcherFetched)
	account, rev, err := t.ledger.load(ctx, t.name, c.GetIdentity())
	if err != nil {
		return err
	}
	p := &pursuit{worker: t, cmd: c, account: account, revision: rev}
	crash.At(ctx, crash.DispatcherRead)
	p.scim = checked{counted{t.provider, &p.requests}}
	if c.GetGroup() != nil && p.account.Outcome.Command != c.GetId() {
		if rest := t.gathering.rest(c.GetIdentity(), time.Now()); rest > 0 {
			return fault.Retry(rest, errGathering)
		}
	}
	if p.old() {
		return p.bygone(ctx)
	}
	if fresh {
		p.cmd.Verify = true
	}
	before := p.account.Finished
	if p.retrying() && !p.budget.retry() {
		return fault.Retry(p.jitter(overBudget), errBudget)
	}
	if err := p.attempt(ctx); err != nil {
		if errors.Is(err, errOvertaken) {
			return p.passed(ctx, before)
		}
		return p.failed(ctx, err, before)
	}
	crash.At(ctx, crash.DispatcherAnswered)
	t.breaker.success()
	t.ramp.success()
	return p.succeeded(ctx, before)
}

// retrying tells whether the account's last attempt failed in a way that says
// something of the target's health.
func (p *pursuit) retrying() bool {
	last := p.account.LastFailure
	return last == fault.Transient.String() || last == fault.Unknown.String()
}

// immediate are the pauses before the retries inside one delivery.
var immediate = []time.Duration{100 * time.Millisecond, 400 * time.Millisecond}

// attempt runs the pursuit, trying again at once where a failure may pass by
// itself. It does not insist while the target counts as down.
func (p *pursuit) attempt(ctx context.Context) error {
	defer func() { p.budget.sent(p.requests) }()
	err := p.run(ctx)
	for range maxFresh {
		if !fault.Is(err, fault.Changed) {
			break
		}
		err = p.again(ctx)
	}
	for _, pause := range immediate {
		kind := fault.KindOf(err)
		if err == nil || (kind != fault.Transient && kind != fault.Unknown) ||
			errors.Is(err, stream.ErrConflict) || errors.Is(err, stream.ErrUnavailable) || fault.Pause(err) > 0 || ctx.Err() != nil {
			return err
		}
		p.metrics.failures.Add(1, p.name, kind.String())
		if p.down() || !p.budget.retry() {
			return err
		}
		if sleep(ctx, p.jitter(pause)) != nil {
			return err
		}
		err = p.again(ctx)
	}
	return err
}

// again runs the pursuit from a fresh read: what was seen before the last
// request no longer counts.
func (p *pursuit) again(ctx context.Context) error {
	p.observed, p.changed, p.ignored = nil, nil, nil
	return p.run(ctx)
}

// old tells whether the wish was overtaken or is already recorded.
func (p *pursuit) old() bool {
	c := p.cmd
	if c.GetGroup() != nil {
		// It says only that something changed: what counts is read now.
		return p.account.Outcome.Command == c.GetId()
	}
	if newest := max(p.account.Finished, p.account.Begun); c.GetRevision() < newest || c.GetRevision() != p.account.Finished {
		return c.GetRevision() < newest
	}
	again := slices.Contains([]joineryv1.Cause{
		joineryv1.Cause_CAUSE_DRIFT, joineryv1.Cause_CAUSE_REPLAY, joineryv1.Cause_CAUSE_SCHEDULE,
	}, c.GetCause())
	return !again || p.account.Outcome.Command == c.GetId()
}

// bygone records the end of a command that has nothing left to do: it was
// overtaken, or it is the second delivery of one that already ended.
func (p *pursuit) bygone(ctx context.Context) error {
	o := p.outcome(ctx)
	if last := p.account.Outcome; last.Command == p.cmd.GetId() {
		return p.record(ctx, p.restore(o, last), 0)
	}
	if p.cmd.GetRevision() == p.account.Finished {
		// Another command for the same wish (drift, a replay) was faster.
		o.Result, o.Operation = joineryv1.Result_RESULT_NO_CHANGE, opNone
		return p.record(ctx, o, p.account.Finished)
	}
	o.Result = joineryv1.Result_RESULT_SUPERSEDED
	o.SupersededBy = max(p.account.Finished, p.account.Begun)
	return p.record(ctx, o, p.account.Finished)
}

// passed records the end of a command that would take something away and is not
// the newest any more.
func (p *pursuit) passed(ctx context.Context, before uint64) error {
	o := p.outcome(ctx)
	o.Result, o.Operation, o.SupersededBy = joineryv1.Result_RESULT_SUPERSEDED, "", p.newer
	return p.record(ctx, o, before)
}

// succeeded stores the account with its outcome, then publishes the outcome.
func (p *pursuit) succeeded(ctx context.Context, before uint64) error {
	o := p.outcome(ctx)
	o.Result = joineryv1.Result_RESULT_APPLIED
	if p.operation == opNone {
		o.Result = joineryv1.Result_RESULT_NO_CHANGE
	}
	if len(p.ignored) > 0 {
		o.Reason = fmt.Sprintf("the target kept its own value of %v", p.ignored)
	}
	a := &p.account
	a.Applied = max(a.Applied, p.cmd.GetRevision())
	a.Held, a.Batch = 0, ""
	a.Attempts, a.FirstFailure, a.LastFailure, a.Case = 0, time.Time{}, "", ""
	if p.cmd.GetWish() != joineryv1.Wish_WISH_UNMANAGED { // which leaves all as it is, also what is not known
		a.State, a.Uncertain, a.Intent = stateOf(p.cmd.GetWish()), false, nil
	}
	if a.State == identity.Present {
		a.Left, a.Checks, a.Confirmed = time.Time{}, 0, time.Time{}
	} else {
		a.Waiting, a.Refers = nil, nil
	}
	if err := p.finish(ctx, o); err != nil {
		return err
	}
	return p.record(ctx, o, before)
}

func stateOf(w joineryv1.Wish) string {
	switch w {
	case joineryv1.Wish_WISH_DISABLED:
		return identity.Disabled
	case joineryv1.Wish_WISH_ABSENT:
		return identity.Absent
	default:
		return identity.Present
	}
}

// sleep waits on the context's terms.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
