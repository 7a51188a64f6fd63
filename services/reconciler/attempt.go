package reconciler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/reconcile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// attempt is one run at work.
type attempt struct {
	service *Service
	target  Target
	run     reconcile.Run
	key     string
	rev     uint64
	index   *reconcile.Index
	found   []reconcile.Finding // to repair
	beat    time.Time
}

// heartbeat is how often a run shows that it is alive.
const heartbeat = 5 * time.Second

// compare reads what should be there, then what is there. Findings become
// repairs only after the listing was read to its end and is plausible: a target
// that suddenly shows nobody is reported, not believed.
func (a *attempt) compare(ctx context.Context) error {
	if err := a.expect(ctx); err != nil {
		return err
	}
	for r, err := range a.target.Lister.List(ctx, scim.Users) {
		if err != nil {
			return fmt.Errorf("read the target: %w", err)
		}
		if f, differs := a.index.See(r); differs {
			a.note(f)
		}
		if err := a.alive(ctx); err != nil {
			return err
		}
	}
	if why := a.index.Implausible(); why != "" && !a.run.Force {
		a.run.State, a.run.Error = reconcile.Implausible, why+"; nothing was repaired; force the run if it is true"
		return nil
	}
	for _, f := range a.index.End() {
		a.note(f)
	}
	a.run.State = reconcile.Done
	if a.run.Mode == reconcile.Remediate {
		return a.repair(ctx)
	}
	return nil
}

func (a *attempt) note(f reconcile.Finding) {
	a.run.Add(f)
	if f.Repaired() {
		a.found = append(a.found, f)
	}
}

// expect fills the index from the wishes and the ledger.
func (a *attempt) expect(ctx context.Context) error {
	keys, err := a.service.Identities.Keys(ctx, "")
	if err != nil {
		return fmt.Errorf("list identities: %w", err)
	}
	for _, key := range keys {
		rec, _, err := a.service.Identities.Get(ctx, key)
		if errors.Is(err, stream.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read an identity: %w", err)
		}
		wish, ok := rec.Wishes[a.run.Target]
		if !ok {
			continue
		}
		account, _, err := a.service.Accounts.Get(ctx, identity.AccountKey(a.run.Target, rec.ID))
		if err != nil && !errors.Is(err, stream.ErrNotFound) {
			return fmt.Errorf("read an account: %w", err)
		}
		a.index.Expect(reconcile.Expected{
			Identity: rec.ID, Wish: wish.Wish, Resource: shown(wish, account), RemoteID: account.RemoteID,
		})
		if err := a.alive(ctx); err != nil {
			return err
		}
	}
	return nil
}

// shown is the resource that the target should show: the wish, with the
// references that the dispatcher resolved.
func shown(wish identity.Wish, account identity.Account) scim.Resource {
	out := scim.Resource(wish.Resource).Clone()
	if out == nil {
		out = scim.Resource{}
	}
	for path := range wish.References {
		if v, ok := scim.Resource(account.Sent).Get(path); ok {
			_ = out.Set(path, v) // the path was set once already
		}
	}
	return out
}

// repair sends one command for each finding, built from the wish as it is now.
func (a *attempt) repair(ctx context.Context) error {
	for _, f := range a.found {
		rec, _, err := a.service.Identities.Get(ctx, f.Identity)
		if err != nil {
			return fmt.Errorf("read an identity to repair: %w", err)
		}
		c, err := rec.Command(a.run.Target, time.Now())
		if err != nil {
			continue // the wish is gone: nothing to repair
		}
		c.Lane, c.Cause, c.Verify = joineryv1.Lane_LANE_BULK, joineryv1.Cause_CAUSE_DRIFT, true
		if f.Situation == reconcile.StillActive {
			c.Lane = joineryv1.Lane_LANE_URGENT
		}
		c.EventId = strings.ToLower(a.run.ID)
		c.Id += ":" + a.run.ID
		if err := a.service.Outbox.Command(ctx, c); err != nil {
			return fmt.Errorf("send a repair: %w", err)
		}
		a.run.Repairs++
		if err := a.alive(ctx); err != nil {
			return err
		}
	}
	return nil
}

// alive stores the progress now and then.
func (a *attempt) alive(ctx context.Context) error {
	if time.Since(a.beat) < heartbeat {
		return nil
	}
	a.beat = time.Now()
	return a.store(ctx)
}

func (a *attempt) store(ctx context.Context) error {
	a.run.UpdatedAt, a.run.Counts = time.Now().UTC(), a.index.Counts()
	rev, err := a.service.Runs.Put(ctx, a.key, a.run, a.rev)
	if err != nil {
		return fmt.Errorf("store a run: %w", err)
	}
	a.rev = rev
	return nil
}

// end stores the report.
func (a *attempt) end(ctx context.Context) error {
	a.run.EndedAt = time.Now().UTC()
	if err := a.store(ctx); err != nil {
		return err
	}
	s, run := a.service, a.run
	s.ended.Add(1, run.Target, string(run.State))
	s.duration.Observe(run.EndedAt.Sub(run.StartedAt).Seconds(), run.Target)
	for _, situation := range []reconcile.Situation{
		reconcile.InStep, reconcile.Differs, reconcile.Missing, reconcile.Pending, reconcile.Unlinked,
		reconcile.StillActive, reconcile.Undeleted, reconcile.Unknown, reconcile.Duplicate,
	} {
		s.findings.Set(float64(run.Counts.Situations[situation]), run.Target, string(situation))
	}
	s.log.InfoContext(ctx, "run ended", "target", run.Target, "run", run.ID, "state", string(run.State), "mode", run.Mode,
		"wanted", run.Counts.Wanted, "listed", run.Counts.Listed, "findings", len(run.Findings)+run.Truncated,
		"repairs", run.Repairs, "error", run.Error)
	return nil
}
