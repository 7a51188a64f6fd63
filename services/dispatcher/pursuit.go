package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/guard"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/scim"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// The operations that outcomes name.
const (
	opNone    = "none"
	opCreate  = "create"
	opAdopt   = "adopt"
	opUpdate  = "update"
	opEnable  = "enable"
	opDisable = "disable"
	opDelete  = "delete"
)

// pursuit brings one account to one wish. It holds the account as stored, and
// what the target showed of it, and changes the target only through steps that
// are recorded before they are taken.
type pursuit struct {
	*worker
	cmd       *joineryv1.ProvisioningCommand
	account   identity.Account
	revision  uint64        // of the stored account, for compare-and-swap
	observed  scim.Resource // nil: not read
	operation string
	changed   []string
	ignored   []string
	withheld  []string // paths that the target cannot change
	requests  int32
	newer     uint64 // the revision that waits, where this command is overtaken
	scim      checked
}

// run brings the account to the wish. What it did stands in the account, which
// the caller stores with the outcome.
func (p *pursuit) run(ctx context.Context) error {
	p.operation = opNone
	if p.cmd.GetGroup() != nil {
		return p.group(ctx)
	}
	switch p.cmd.GetWish() {
	case joineryv1.Wish_WISH_PRESENT:
		return p.present(ctx)
	case joineryv1.Wish_WISH_DISABLED:
		return p.disabled(ctx)
	case joineryv1.Wish_WISH_ABSENT:
		return p.absent(ctx)
	case joineryv1.Wish_WISH_UNMANAGED:
		return nil
	default:
		return fault.Mark(fault.Permanent, errNoWish)
	}
}

// present creates, adopts or updates.
func (p *pursuit) present(ctx context.Context) error {
	if p.settings.KeepsLeavers {
		if err := p.upToDate(ctx); err != nil {
			return err
		}
	}
	desired, err := p.desired(ctx)
	if err != nil {
		return err
	}
	if err := p.locate(ctx, desired); err != nil {
		return err
	}
	if p.account.RemoteID != "" && p.comesBack(p.knobs()) {
		p.unlink()
	}
	if p.account.RemoteID == "" {
		return p.create(ctx, desired)
	}
	err = p.update(ctx, desired)
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	// Our link is stale: somebody removed the account. Look again before
	// making another one.
	p.unlink()
	if err := p.locate(ctx, desired); err != nil {
		return err
	}
	if p.account.RemoteID == "" {
		return p.create(ctx, desired)
	}
	return p.update(ctx, desired)
}

// desired is the resource to show, with references resolved to ids of this
// target. A reference to somebody who has no account yet is left out, and the
// account is marked as waiting for them.
func (p *pursuit) desired(ctx context.Context) (scim.Resource, error) {
	desired := scim.Resource(p.cmd.GetResource().AsMap())
	if _, said := desired.Active(); !said {
		desired["active"] = true
	}
	p.account.Waiting, p.account.Refers = nil, map[string]string{}
	for path, id := range p.cmd.GetReferences() {
		remote, err := p.ledger.remoteID(ctx, p.name, id)
		if err != nil {
			return nil, err
		}
		if remote == "" {
			p.account.Waiting = append(p.account.Waiting, id)
			continue
		}
		if err := desired.Set(path, remote); err != nil {
			return nil, fault.Mark(fault.Permanent, fmt.Errorf("set %s: %w", path, err))
		}
		p.account.Refers[id] = remote
	}
	slices.Sort(p.account.Waiting)
	return fitting(p.knobs(), desired), nil
}

// locate makes sure that we know whether the account exists: by the link we
// have, or by search. It reads the account wherever what was sent cannot be
// trusted.
func (p *pursuit) locate(ctx context.Context, desired scim.Resource) error {
	if p.account.RemoteID == "" {
		return p.seek(ctx, desired)
	}
	if !p.cmd.GetVerify() && p.account.Intent == nil && !p.account.Uncertain {
		return nil
	}
	observed, err := p.scim.Get(ctx, scim.Users, p.account.RemoteID)
	switch {
	case fault.Is(err, fault.NotFound):
		p.unlink()
		return p.search(ctx, desired)
	case err != nil:
		return fmt.Errorf("read an account: %w", err)
	}
	p.observe(observed)
	return nil
}

// seek searches for the account as it should be, and as an unresolved create
// would have made it: the name may have changed since.
func (p *pursuit) seek(ctx context.Context, desired scim.Resource) error {
	err := p.search(ctx, desired)
	if err != nil || p.account.RemoteID != "" || !p.creating() || len(scim.Equal(p.account.Sent, desired)) == 0 {
		return err
	}
	return p.search(ctx, p.account.Sent)
}

func (p *pursuit) unlink() {
	if p.account.RemoteID != "" {
		p.account.Former = p.account.RemoteID
	}
	p.account.RemoteID, p.account.Version, p.account.Ownership = "", "", ""
	p.account.Sent, p.observed = nil, nil
}

func (p *pursuit) observe(r scim.Resource) {
	p.observed = r
	p.account.Version = r.Version()
}

// update sends the difference, as far as the target can carry it out; what it
// cannot is reported.
func (p *pursuit) update(ctx context.Context, desired scim.Resource) error {
	desired = p.keeping(desired)
	ops, cannot, err := p.difference(ctx, p.knobs(), desired)
	if err != nil {
		return err
	}
	p.withheld = cannot
	if len(ops) == 0 {
		p.account.Sent, p.ignored = desired, cannot
		return nil
	}
	if err := p.mayUpdate(ctx, ops); err != nil {
		return err
	}
	// Until the answer is known the target may show either.
	p.account.Sent = scim.Merge(p.account.Sent, desired)
	if err := p.begin(ctx, opUpdate); err != nil {
		return err
	}
	if p.operation == opNone {
		p.operation = opUpdate
	}
	for _, op := range ops {
		p.changed = append(p.changed, op.Path)
		if op.Path == "active" {
			p.operation = opEnable
			if op.Value == false {
				p.operation = opDisable
			}
		}
	}
	if err := p.change(ctx, ops); err != nil {
		return err
	}
	p.account.Sent = desired
	if err := p.verify(ctx, desired); err != nil {
		return err
	}
	if p.drifted() {
		// Something else is not as it was sent: that is drift, not refusal.
		return p.update(ctx, desired)
	}
	return p.insist(ctx, ops, desired)
}

// insist brings about by PUT what the target took by PATCH and did not do. Where
// PUT does it, that is remembered; where it does not, the target has its own idea
// of the value, which is reported.
func (p *pursuit) insist(ctx context.Context, ops []scim.Operation, desired scim.Resource) error {
	k := p.knobs()
	var undone []scim.Operation
	for _, op := range ops {
		if slices.Contains(p.ignored, op.Path) && !about(k.IgnoredPaths, op.Path) && k.Update != "put" {
			undone = append(undone, op)
		}
	}
	if len(undone) == 0 {
		return nil
	}
	after, err := p.replace(ctx, undone)
	switch {
	case fault.Is(err, fault.Permanent), fault.Is(err, fault.Unsupported):
		return nil
	case err != nil:
		return fmt.Errorf("change an account by PUT: %w", err)
	}
	p.observed = after
	if err := p.verify(ctx, desired); err != nil {
		return err
	}
	var done []string
	for _, op := range undone {
		if !slices.Contains(p.ignored, op.Path) {
			done = append(done, op.Path)
		}
	}
	if len(done) > 0 {
		p.learnIgnored(ctx, done)
	}
	return nil
}

// drifted tells whether the target shows something else than is wished where
// nothing was asked of it yet. It can be true a bounded number of times: every
// round asks for at least one more attribute.
func (p *pursuit) drifted() bool {
	return slices.ContainsFunc(p.ignored, func(path string) bool {
		return !slices.Contains(p.changed, path) && !slices.Contains(p.withheld, path)
	})
}

// change applies operations to the linked account by PATCH, or where the target
// has none, by reading, applying and replacing. It starts again from a fresh
// read when the account changed meanwhile.
func (p *pursuit) change(ctx context.Context, ops []scim.Operation) error {
	k := p.knobs()
	var byPatch, byPut []scim.Operation
	for _, op := range ops {
		if k.Update == "put" || about(k.IgnoredPaths, op.Path) {
			byPut = append(byPut, op)
		} else {
			byPatch = append(byPatch, op)
		}
	}
	if err := p.changeBy(byPut, func() (scim.Resource, error) { return p.replace(ctx, byPut) }); err != nil {
		return err
	}
	return p.changeBy(byPatch, func() (scim.Resource, error) { return p.patchOrReplace(ctx, k, byPatch) })
}

func (p *pursuit) changeBy(ops []scim.Operation, how func() (scim.Resource, error)) error {
	if len(ops) == 0 {
		return nil
	}
	after, err := how()
	if err != nil {
		return fmt.Errorf("change an account: %w", err)
	}
	p.observed = after
	p.account.Version = after.Version()
	return nil
}

// patchOrReplace learns that a target has no PATCH where it takes a PUT instead.
func (p *pursuit) patchOrReplace(ctx context.Context, k profile.Knobs, ops []scim.Operation) (scim.Resource, error) {
	after, refusal := p.patched(ctx, k, ops)
	if !dislikes(refusal) {
		return after, refusal
	}
	after, err := p.replace(ctx, ops)
	switch {
	case err == nil:
		p.learn(ctx, updateStyle, "put", evidence("PATCH", refusal))
	case fault.Is(err, fault.Permanent) || fault.Is(err, fault.Unsupported):
		err = refusal // neither way: what it said of the change itself counts
	}
	return after, err
}

// dislikes tells a target that cannot PATCH, or not by such paths, from one that
// refuses the value.
func dislikes(err error) bool {
	if fault.Is(err, fault.Unsupported) {
		return true
	}
	said := scim.As(err)
	return fault.Is(err, fault.Permanent) && said != nil && slices.Contains(
		[]string{scim.InvalidPath, scim.InvalidFilter, scim.InvalidSyntax, scim.NoTarget}, said.ScimType)
}

func (p *pursuit) replace(ctx context.Context, ops []scim.Operation) (scim.Resource, error) {
	current, err := p.scim.Get(ctx, scim.Users, p.account.RemoteID)
	if err != nil {
		return nil, err
	}
	p.observe(current)
	next, err := current.Apply(ops)
	if err != nil {
		return nil, fault.Mark(fault.Permanent, fmt.Errorf("apply a change to what was read: %w", err))
	}
	return p.scim.Replace(ctx, scim.Users, p.account.RemoteID, p.ifMatch(), next)
}

// ifMatch is the ETag to insist on: only that of a resource read in this
// pursuit. One that was stored long ago would refuse harmless changes.
func (p *pursuit) ifMatch() string {
	if p.observed == nil {
		return ""
	}
	return p.account.Version
}

// verify compares what the target answered with what was asked. A target that
// says yes and does nothing is remembered and reported, not asked again.
func (p *pursuit) verify(ctx context.Context, desired scim.Resource) error {
	if p.observed == nil {
		observed, err := p.scim.Get(ctx, scim.Users, p.account.RemoteID)
		if err != nil {
			return fmt.Errorf("read back an account: %w", err)
		}
		p.observe(observed)
	}
	p.ignored = scim.Equal(p.observed, desired)
	return nil
}

// disabled makes an account inactive. An account that never was is not made
// for it.
func (p *pursuit) disabled(ctx context.Context) error {
	if gone, err := p.relocate(ctx); gone || err != nil {
		return err
	}
	if p.observed == nil {
		if err := p.read(ctx); err != nil || p.account.RemoteID == "" {
			return err
		}
	}
	if active, said := p.observed.Active(); said && !active {
		p.confirm()
		return nil
	}
	if err := p.mayTake(ctx, guard.Deprovision); err != nil {
		return err
	}
	if p.knobs().DisableBy == "delete" {
		return p.remove(ctx, opDisable)
	}
	if err := p.begin(ctx, opDisable); err != nil {
		return err
	}
	p.operation, p.changed = opDisable, []string{"active"}
	err := p.change(ctx, []scim.Operation{{Op: "replace", Path: "active", Value: false}})
	if fault.Is(err, fault.NotFound) {
		return p.missing(ctx)
	}
	if err != nil {
		return err
	}
	return p.confirmDisabled(ctx)
}

// missing takes an account that the target does not find for gone, once a control
// request shows that we are talking to the right place.
func (p *pursuit) missing(ctx context.Context) error {
	if err := p.scim.Check(ctx); err != nil {
		return fmt.Errorf("check that a missing account is really missing: %w", err)
	}
	p.unlink()
	p.confirm()
	return nil
}

// read fetches the linked account; a link that leads nowhere is dropped.
func (p *pursuit) read(ctx context.Context) error {
	observed, err := p.scim.Get(ctx, scim.Users, p.account.RemoteID)
	switch {
	case fault.Is(err, fault.NotFound):
		return p.missing(ctx)
	case err != nil:
		return fmt.Errorf("read an account: %w", err)
	}
	p.observe(observed)
	return nil
}

// relocate finds the account to end. gone means that there is none that is ours.
func (p *pursuit) relocate(ctx context.Context) (gone bool, err error) {
	if p.account.RemoteID != "" {
		return false, nil
	}
	if !p.creating() {
		return true, nil
	}
	// A create was begun and never seen to end: it may be there.
	if err := p.search(ctx, p.account.Sent); err != nil {
		return false, err
	}
	if p.account.RemoteID == "" {
		return true, p.settled()
	}
	return false, nil
}

func (p *pursuit) confirmDisabled(ctx context.Context) error {
	observed, err := p.scim.Get(ctx, scim.Users, p.account.RemoteID)
	if fault.Is(err, fault.NotFound) {
		return p.missing(ctx)
	}
	if err != nil {
		return fmt.Errorf("read back a disabled account: %w", err)
	}
	p.observe(observed)
	if active, said := observed.Active(); active || !said {
		return fault.Mark(fault.Transient, errors.New("the target still shows the account as active"))
	}
	p.confirm()
	return nil
}

// confirm notes that the target, read back, shows the leaving.
func (p *pursuit) confirm() {
	p.account.Confirmed = time.Now().UTC()
	if p.account.Left.IsZero() || p.operation != opNone {
		p.account.Left, p.account.Checks = p.account.Confirmed, 0
	}
	if p.account.Sent != nil {
		p.account.Sent = scim.Resource(p.account.Sent).Clone()
		p.account.Sent["active"] = false
	}
}

// absent deletes the account. One that is already gone is a success, once a
// control request shows that we are talking to the right place.
func (p *pursuit) absent(ctx context.Context) error {
	if gone, err := p.relocate(ctx); gone || err != nil {
		return err
	}
	if err := p.mayTake(ctx, guard.Deprovision); err != nil {
		return err
	}
	if p.knobs().DeleteMissing {
		return p.disabled(ctx)
	}
	err := p.remove(ctx, opDelete)
	if !fault.Is(err, fault.Unsupported) {
		return err
	}
	p.learn(ctx, deleteMissing, "true", evidence("DELETE", err))
	return p.disabled(ctx)
}

// remove ends an account by DELETE.
func (p *pursuit) remove(ctx context.Context, operation string) error {
	if err := p.begin(ctx, operation); err != nil {
		return err
	}
	p.operation = operation
	err := p.scim.Delete(ctx, scim.Users, p.account.RemoteID, "")
	missing := fault.Is(err, fault.NotFound)
	if missing {
		p.operation = opNone
		err = p.scim.Check(ctx)
	}
	if err != nil {
		return fmt.Errorf("delete an account: %w", err)
	}
	if missing {
		p.unlink()
		p.confirm()
		return nil
	}
	return p.confirmDeleted(ctx)
}

// confirmDeleted reads a deleted account back: it is gone, or where deleting means
// so, inactive.
func (p *pursuit) confirmDeleted(ctx context.Context) error {
	observed, err := p.scim.Get(ctx, scim.Users, p.account.RemoteID)
	switch active, said := observed.Active(); {
	case fault.Is(err, fault.NotFound):
		p.unlink()
	case err != nil:
		return fmt.Errorf("read back a deleted account: %w", err)
	case active || !said:
		return fault.Mark(fault.Transient, errors.New("the target still shows the deleted account"))
	case p.knobs().DeleteMeans != "deactivate":
		p.unlink() // an inactive trace of it
	default:
		p.observe(observed)
	}
	p.confirm()
	return nil
}
