package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/reconcile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/proto"
)

// attempt is one run at work. The run and the index are shared with the
// heartbeat; rev and key are the heartbeat's alone until it has stopped.
type attempt struct {
	service *Service
	target  Target
	key     string
	rev     uint64
	found   []reconcile.Finding // to repair
	// referred holds the ids of accounts that others refer to.
	referred map[string]string

	mu    sync.Mutex
	run   reconcile.Run
	index *reconcile.Index
}

// heartbeat is how often a run shows that it is alive, and how far it is.
const heartbeat = 5 * time.Second

// errOvertaken: another worker took the run over.
var errOvertaken = errors.New("another worker took the run over")

// carryOut does the run and leaves its verdict in it. An error means that the
// run is not over: somebody else has it, or ctx ended.
func (a *attempt) carryOut(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() { a.beat(ctx, stop, cancel) })
	err := a.compare(ctx)
	close(stop)
	beating.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		a.verdict(reconcile.Failed, err.Error())
	}
	return nil
}

// beat stores the progress now and then, however long the target lets us wait.
func (a *attempt) beat(ctx context.Context, stop <-chan struct{}, cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		switch err := a.store(ctx); {
		case errors.Is(err, errOvertaken):
			cancel(err)
			return
		case err != nil && ctx.Err() == nil:
			a.service.log.WarnContext(ctx, "progress of a run not stored", "run", a.run.ID, "error", err)
		}
	}
}

// compare reads what should be there, then what is there. Findings become
// repairs only after the listing was read to its end and is plausible: a target
// that suddenly shows nobody is reported, not believed.
func (a *attempt) compare(ctx context.Context) error {
	if why, err := a.service.closed(ctx, a.run.Target); err != nil || why != "" {
		a.verdict(reconcile.Skipped, why)
		return err
	}
	if err := a.expect(ctx); err != nil {
		return err
	}
	for r, err := range a.target.Lister.List(ctx, scim.Users) {
		if err != nil {
			return fmt.Errorf("read the target: %w", err)
		}
		a.note(func(x *reconcile.Index) []reconcile.Finding {
			if f, differs := x.See(r); differs {
				return []reconcile.Finding{f}
			}
			return nil
		})
	}
	if err := a.linkLate(ctx); err != nil {
		return err
	}
	if why := a.index.Implausible(); why != "" && !a.run.Force {
		a.note((*reconcile.Index).Strangers)
		a.verdict(reconcile.Implausible, why+"; nothing was repaired; force the run if it is true")
		return nil
	}
	a.note((*reconcile.Index).End)
	if a.run.Mode == reconcile.Remediate {
		if err := a.repair(ctx); err != nil {
			return err
		}
		if err := a.repairGroups(ctx); err != nil {
			return err
		}
	}
	a.verdict(reconcile.Done, "")
	return nil
}

// note takes a step of the comparison, and keeps what it found.
func (a *attempt) note(step func(*reconcile.Index) []reconcile.Finding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range step(a.index) {
		a.run.Add(f)
		if f.Repaired() {
			a.found = append(a.found, f)
		}
	}
}

func (a *attempt) verdict(state reconcile.RunState, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.run.State, a.run.Error = state, why
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
		account, err := a.account(ctx, identity.AccountKey(a.run.Target, rec.ID))
		if err != nil {
			return err
		}
		resource, err := a.shown(ctx, wish, account)
		if err != nil {
			return err
		}
		a.mu.Lock()
		a.index.Expect(reconcile.Expected{
			Identity: rec.ID, Wish: wish.Wish, Resource: resource, RemoteID: account.RemoteID,
		})
		a.mu.Unlock()
	}
	return nil
}

// account reads the ledger; no entry is an empty one.
func (a *attempt) account(ctx context.Context, key string) (identity.Account, error) {
	account, _, err := a.service.Accounts.Get(ctx, key)
	if err != nil && !errors.Is(err, stream.ErrNotFound) {
		return account, fmt.Errorf("read an account: %w", err)
	}
	return account, nil
}

// shown is the resource that the target should show: the wish, with the
// references as they resolve now. Somebody who should have none is still
// recognised by what was sent.
func (a *attempt) shown(ctx context.Context, wish identity.Wish, account identity.Account) (scim.Resource, error) {
	if wish.Wish != identity.Present {
		return scim.Resource(account.Sent), nil
	}
	out := scim.Resource(wish.Resource).Clone()
	if out == nil {
		out = scim.Resource{}
	}
	for path, id := range wish.References {
		if _, sent := scim.Resource(account.Sent).Get(path); !sent && !slices.Contains(account.Waiting, id) {
			continue // the target does not take it
		}
		remote, err := a.remoteID(ctx, id)
		if err != nil {
			return nil, err
		}
		if remote != "" {
			_ = out.Set(path, remote) // the mapping has written the path once already
		}
	}
	return out, nil
}

// remoteID is the id of an account that others refer to, "" where there is none.
// Few are referred to by many, so that it is read once.
func (a *attempt) remoteID(ctx context.Context, id string) (string, error) {
	if remote, known := a.referred[id]; known {
		return remote, nil
	}
	account, err := a.account(ctx, identity.AccountKey(a.run.Target, id))
	if err != nil {
		return "", err
	}
	if a.referred == nil {
		a.referred = map[string]string{}
	}
	a.referred[id] = account.RemoteID
	return account.RemoteID, nil
}

// linkLate tells the index of accounts that were linked while the target was
// read, so that nobody who joined meanwhile looks like a stranger.
func (a *attempt) linkLate(ctx context.Context) error {
	if a.index.Loose() == 0 {
		return nil
	}
	keys, err := a.service.Accounts.Keys(ctx, a.run.Target)
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	for _, key := range keys {
		if a.index.Linked(strings.TrimPrefix(key, identity.AccountKey(a.run.Target, ""))) {
			continue
		}
		account, err := a.account(ctx, key)
		if err != nil {
			return err
		}
		if account.RemoteID != "" && account.Kind != identity.Grouped {
			a.index.Link(account.RemoteID)
		}
	}
	return nil
}

// repair sends one command for each finding, built from the wish as it is now.
func (a *attempt) repair(ctx context.Context) error {
	for _, f := range a.found {
		rec, _, err := a.service.Identities.Get(ctx, f.Identity)
		if errors.Is(err, stream.ErrNotFound) {
			continue // the person was forgotten meanwhile
		}
		if err != nil {
			return fmt.Errorf("read an identity to repair: %w", err)
		}
		c, err := rec.Command(a.run.Target, time.Now())
		if err != nil {
			continue // the wish is gone: nothing to repair
		}
		if err := a.service.Outbox.Command(ctx, a.drift(c, f)); err != nil {
			return fmt.Errorf("send a repair: %w", err)
		}
		a.mu.Lock()
		a.run.Repairs++
		a.mu.Unlock()
	}
	return nil
}

// repairGroups has the dispatcher read the members of every group of the target
// and put them right: it knows what was sent, and takes nobody for missing whom
// it cannot read.
func (a *attempt) repairGroups(ctx context.Context) error {
	keys, err := a.service.Accounts.Keys(ctx, a.run.Target)
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	for _, key := range keys {
		account, err := a.account(ctx, key)
		if err != nil {
			return err
		}
		if account.Kind != identity.Grouped || account.State != identity.Present {
			continue
		}
		c := account.GroupCommand(time.Now())
		c.Lane, c.Cause, c.Verify = joineryv1.Lane_LANE_BULK, joineryv1.Cause_CAUSE_DRIFT, true
		c.EventId = strings.ToLower(a.run.ID)
		c.Id += ":" + a.run.ID
		if err := a.service.Outbox.Command(ctx, c); err != nil {
			return fmt.Errorf("have a group compared: %w", err)
		}
	}
	return nil
}

// drift makes the command for a wish one of this run. The same run gives the same
// ids, however often it starts.
func (a *attempt) drift(c *joineryv1.ProvisioningCommand, f reconcile.Finding) *joineryv1.ProvisioningCommand {
	out := proto.CloneOf(c)
	identity.Again(out, joineryv1.Cause_CAUSE_DRIFT, strings.ToLower(a.run.ID), c.GetId()+":"+a.run.ID)
	out.Lane = joineryv1.Lane_LANE_BULK
	if f.Situation == reconcile.StillActive {
		out.Lane = joineryv1.Lane_LANE_URGENT
	}
	return out
}

// store writes the run as it is now. After a lost answer it looks for its own
// writing before it gives up.
func (a *attempt) store(ctx context.Context) error {
	a.mu.Lock()
	a.run.UpdatedAt, a.run.Counts = time.Now().UTC(), a.index.Counts()
	run := a.run
	a.mu.Unlock()
	rev, err := a.service.Runs.Put(ctx, a.key, run, a.rev)
	if errors.Is(err, stream.ErrConflict) {
		stored, at, readErr := a.service.Runs.Get(ctx, a.key)
		if readErr != nil {
			return fmt.Errorf("read a run again: %w", readErr)
		}
		if stored.Worker != run.Worker || !stored.StartedAt.Equal(run.StartedAt) {
			return errOvertaken
		}
		rev, err = a.service.Runs.Put(ctx, a.key, run, at)
	}
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
	a.service.report(ctx, a.run)
	return nil
}
