package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/alert"
	"github.com/joinery/joinery/pkg/crash"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/guard"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// Errors that put a command before a person.
var (
	// ErrHeld: more would be taken from people than the guard allows.
	ErrHeld = errors.New("more accounts would be affected than the guard allows; a person must agree")
	// ErrProtected: the account is one of those that are never touched.
	ErrProtected = errors.New("the account is protected: it is never disabled, deleted or renamed")
)

// Windows is the bucket of what the guards let through, shared by all replicas.
type Windows interface {
	Get(ctx context.Context, key string) (guard.Window, uint64, error)
	Put(ctx context.Context, key string, w guard.Window, rev uint64) (uint64, error)
}

// guards lets a target's destructive changes through, up to its limits.
type guards struct {
	target  string
	windows Windows
	census  *census
	limits  map[string]guard.Limit
	// mu keeps the changes of this process from losing swaps to one another.
	mu sync.Mutex
}

// swaps bounds how often a window is read again because another replica was
// quicker.
const swaps = 20

// admit asks for one more change. It gives the batch that the change is held
// in, or "" where it may go on.
func (g *guards) admit(ctx context.Context, kind string, c *joineryv1.ProvisioningCommand) (batch string, err error) {
	limit, guarded := g.limits[kind]
	if !guarded {
		return "", nil
	}
	total, err := g.census.present(ctx)
	if err != nil {
		return "", err
	}
	source := guardSource(c)
	key := strings.Join([]string{g.target, kind, source}, ".")
	name := func(at time.Time) string {
		return strings.Join([]string{g.target, kind, source, at.Format("20060102T150405.000Z")}, "-")
	}
	single := c.GetCause() == joineryv1.Cause_CAUSE_EVENT && kind == guard.Deprovision
	g.mu.Lock()
	defer g.mu.Unlock()
	for range swaps {
		w, rev, err := g.windows.Get(ctx, key)
		if err != nil && !errors.Is(err, stream.ErrNotFound) {
			return "", fmt.Errorf("read a guard: %w", err)
		}
		next, passes := w.Admit(time.Now(), limit, total, single, name)
		_, err = g.windows.Put(ctx, key, next, rev)
		switch {
		case err == nil && passes:
			return "", nil
		case err == nil:
			return next.Batch, nil
		case !errors.Is(err, stream.ErrConflict):
			return "", fmt.Errorf("store a guard: %w", err)
		}
	}
	return "", fmt.Errorf("store a guard: %w", stream.ErrConflict)
}

// guardSource is who is behind a command, as a token of a key.
func guardSource(c *joineryv1.ProvisioningCommand) string {
	switch {
	case c.GetCause() == joineryv1.Cause_CAUSE_CONFIGURATION:
		return "configuration"
	case c.GetCause() == joineryv1.Cause_CAUSE_DRIFT:
		return "reconciliation"
	case c.GetSource() == "":
		return "unknown"
	default:
		return c.GetSource()
	}
}

// guarded lets a destructive change go on, or fails with ErrHeld. What was let
// through once stays so: a retry is not counted again. What is held stays held
// until a person or a newer wish says otherwise, whatever passes meanwhile.
func (p *pursuit) guarded(ctx context.Context, kind string) error {
	revision := p.cmd.GetRevision()
	switch {
	case p.account.Admitted >= revision, p.approved():
		p.account.Admitted = revision
		return nil
	case p.account.Held == revision:
		return fault.Mark(fault.Held, ErrHeld)
	}
	batch, err := p.guards.admit(ctx, kind, p.cmd)
	if err != nil {
		return err
	}
	crash.At(ctx, crash.DispatcherCounted)
	if batch != "" {
		p.account.Batch = batch
		return fault.Mark(fault.Held, ErrHeld)
	}
	p.account.Admitted = revision
	return nil
}

// approved tells whether a person's consent came with the command, and counts still.
func (p *pursuit) approved() bool {
	a := p.cmd.GetApproval()
	return a != nil && a.GetAdopt() == "" && time.Now().Before(a.GetExpiresAt().AsTime())
}

// unprotected fails where the account is one that must never be taken away.
func (p *pursuit) unprotected() error {
	for _, name := range []string{"userName", "externalId", "id"} {
		for _, r := range []scim.Resource{p.observed, p.account.Sent, {"id": p.account.RemoteID}} {
			if value, ok := text(r, name); ok && slices.ContainsFunc(p.settings.Protected, func(s string) bool { return strings.EqualFold(s, value) }) {
				return fault.Mark(fault.Permanent, ErrProtected)
			}
		}
	}
	return nil
}

// errOvertaken: a newer wish of the account waits already.
var errOvertaken = errors.New("a newer wish waits")

// mayTake is asked before anything is taken from a person: never of a protected
// account, never for a wish that another lane has a newer one of, and no more than
// the guard allows.
func (p *pursuit) mayTake(ctx context.Context, kind string) error {
	if err := p.unprotected(); err != nil {
		return err
	}
	if err := p.upToDate(ctx); err != nil {
		return err
	}
	return p.guarded(ctx, kind)
}

// upToDate fails where a newer wish waits already, in whatever lane.
func (p *pursuit) upToDate(ctx context.Context) error {
	newest, err := p.newest(ctx, p.name, p.cmd.GetIdentity())
	if err != nil && !errors.Is(err, stream.ErrNotFound) {
		return fmt.Errorf("read the newest command: %w", err)
	}
	if p.newer = newest.GetRevision(); p.newer > p.cmd.GetRevision() {
		return errOvertaken
	}
	return nil
}

// mayUpdate is asked before an update: one that renames, or makes inactive, takes
// something away. An account that is only now adopted is nobody's name yet, unless
// it is protected.
func (p *pursuit) mayUpdate(ctx context.Context, ops []scim.Operation) error {
	switch {
	case p.account.Ownership == "":
		return nil
	case slices.ContainsFunc(ops, func(op scim.Operation) bool { return op.Path == "active" && op.Value == false }):
		return p.mayTake(ctx, guard.Deprovision)
	case !renames(ops):
		return nil
	case p.operation != opNone:
		return p.unprotected()
	}
	return p.mayTake(ctx, guard.Rename)
}

// renames tells whether operations change what an account is known by.
func renames(ops []scim.Operation) bool {
	return slices.ContainsFunc(ops, func(op scim.Operation) bool {
		return strings.EqualFold(op.Path, "userName") || strings.EqualFold(op.Path, "externalId")
	})
}

// hold ends a command that a guard stopped: it becomes one of a batch before a
// person. A repetition of a wish that is held already adds nothing to the desk,
// where it may have been rejected.
func (p *pursuit) hold(ctx context.Context, err error, before uint64) error {
	again := p.account.Held == p.cmd.GetRevision() && p.cmd.GetApproval() == nil
	p.account.Held = p.cmd.GetRevision()
	o := p.outcome(ctx)
	o.Result, o.Reason, o.CaseId = joineryv1.Result_RESULT_HELD, err.Error(), p.account.Case
	if !again {
		d := p.deadLetter(ctx, err, joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_GUARD)
		d.Batch = p.account.Batch
		if err := p.outbox.DeadLetter(ctx, d); err != nil {
			return fmt.Errorf("hold a command: %w", err)
		}
		crash.At(ctx, crash.DispatcherLetter)
		o.CaseId, p.account.Case = d.GetId(), d.GetId()
		p.raise(ctx, alert.Held, p.account.Batch, "a guard holds changes of "+p.name+" for a person; see: joinery deadletter batches")
		p.metrics.held.Add(1, p.name, guardSource(p.cmd))
	}
	if err := p.finish(ctx, o); err != nil {
		return err
	}
	return p.record(ctx, o, before)
}

// census counts a target's accounts, fed by the watch on them.
type census struct {
	mu      sync.Mutex
	there   map[string]bool
	count   int
	known   chan struct{} // closed when all accounts have been seen once
	counted bool
}

func newCensus() *census { return &census{there: map[string]bool{}, known: make(chan struct{})} }

// seen takes over an account as stored.
func (c *census) seen(a identity.Account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	there := a.RemoteID != "" && a.State == identity.Present
	if there == c.there[a.Identity] {
		return
	}
	if there {
		c.there[a.Identity] = true
		c.count++
	} else {
		delete(c.there, a.Identity)
		c.count--
	}
}

// complete notes that all accounts have been seen.
func (c *census) complete() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.counted {
		c.counted = true
		close(c.known)
	}
}

// present is the number of active accounts. It waits for the first count: a
// share of what is not known yet would be the wrong one.
func (c *census) present(ctx context.Context) (int, error) {
	select {
	case <-c.known:
	case <-ctx.Done():
		return 0, fmt.Errorf("count the target's accounts: %w", ctx.Err())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count, nil
}
