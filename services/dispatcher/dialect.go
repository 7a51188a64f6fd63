package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/scim"
)

// The knobs that a target can teach, under the names of pkg/profile.
const (
	updateStyle   = "update.style"
	filterRefused = "filter.refused"
	deleteMissing = "delete.unsupported"
	patchIgnored  = "patch.ignored"
)

// knobs are how the target behaves: the profile's, and over them what the target
// taught.
func (t *worker) knobs() profile.Knobs {
	k := t.settings.Knobs
	state, _ := t.states.current()
	if style := state.Quirks[updateStyle].Value; style != "" {
		k.Update = style
	}
	if refused := strings.Fields(state.Quirks[filterRefused].Value); len(refused) > 0 {
		k.FilterRefused = append(slices.Clone(k.FilterRefused), refused...)
	}
	if paths := strings.Fields(state.Quirks[patchIgnored].Value); len(paths) > 0 {
		k.IgnoredPaths = append(slices.Clone(k.IgnoredPaths), paths...)
	}
	k.DeleteMissing = k.DeleteMissing || state.Knows(deleteMissing, "true")
	return k
}

// learnIgnored remembers paths of which the target says yes and does nothing.
func (t *worker) learnIgnored(ctx context.Context, paths []string) {
	state, _ := t.states.current()
	all := strings.Fields(state.Quirks[patchIgnored].Value)
	for _, path := range paths {
		if path = general(path); !contains(all, path) {
			all = append(all, path)
		}
	}
	slices.Sort(all)
	t.learn(ctx, patchIgnored, strings.Join(all, " "), "PATCH: success, and nothing changed; PUT did it")
}

// general is a path without a value filter, which differs from person to person
// and has spaces in it.
func general(path string) string {
	before, rest, filtered := strings.Cut(path, "[")
	if !filtered {
		return path
	}
	_, after, _ := strings.Cut(rest, "]")
	return before + after
}

// learnFilter remembers an attribute by which the target cannot be searched.
func (t *worker) learnFilter(ctx context.Context, attr, evidence string) {
	if contains(t.knobs().FilterRefused, attr) {
		return
	}
	state, _ := t.states.current()
	refused := append(strings.Fields(state.Quirks[filterRefused].Value), attr)
	t.learn(ctx, filterRefused, strings.Join(refused, " "), evidence)
}

func contains(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

func about(names []string, path string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return scim.About(n, path) })
}

// evidence is what a target said, without the values it may have repeated.
func evidence(method string, err error) string {
	said := scim.As(err)
	if said == nil {
		return method + ": " + fault.KindOf(err).String()
	}
	return strings.TrimSpace(fmt.Sprintf("%s: %d %s", method, said.Status, said.ScimType))
}

func dialect(k profile.Knobs) scim.Dialect {
	return scim.Dialect{
		Pathless: k.PatchForm == "pathless", MaxOps: k.PatchMaxOps, TitleCase: k.OpCase == "title", Ops: k.PatchOps,
		NoValuePaths: k.ValuePaths == "unsupported", BoolStrings: k.BoolStrings, Alone: k.Alone,
	}
}

// fitting is what the target has room for of what is desired.
func fitting(k profile.Knobs, desired scim.Resource) scim.Resource {
	desired = desired.Without(k.Unsupported).Single(k.SingleValued)
	if k.FoldUserName && desired.UserName() != "" {
		desired["userName"] = strings.ToLower(desired.UserName())
	}
	return desired
}

// newcomer is what may be sent of it when the account is made; the rest follows.
func newcomer(k profile.Knobs, desired scim.Resource) scim.Resource {
	out := desired.Without(k.CreateForbids)
	if k.CreateInactive == "refuse" {
		out["active"] = true // what says nothing is inactive there
	}
	return out
}

// feasible divides operations into those that the target can carry out on an
// account that exists, and the paths of the others.
func feasible(k profile.Knobs, ops []scim.Operation) (can []scim.Operation, cannot []string) {
	for _, op := range ops {
		active := strings.EqualFold(op.Path, "active")
		if about(k.Immutable, op.Path) || k.Update == "active-only" && !active {
			cannot = append(cannot, op.Path)
			continue
		}
		can = append(can, op)
	}
	return can, cannot
}

// difference is what to change, and what differs and cannot be changed. Where
// the dialect needs the account as the target shows it, it is read first.
func (p *pursuit) difference(ctx context.Context, k profile.Knobs, desired scim.Resource) (ops []scim.Operation, cannot []string, err error) {
	if err := p.lookForCleared(ctx); err != nil {
		return nil, nil, err
	}
	ops, cannot = feasible(k, scim.Diff(p.baseline(), p.observed, desired))
	if p.observed != nil || len(ops) == 0 || k.Update == "put" {
		return ops, cannot, nil
	}
	if _, err := dialect(k).Shape(ops, nil); !errors.Is(err, scim.ErrUnread) {
		return ops, cannot, nil
	}
	observed, err := p.scim.Get(ctx, scim.Users, p.account.RemoteID)
	if err != nil {
		return nil, nil, fmt.Errorf("read an account: %w", err)
	}
	p.observe(observed)
	ops, cannot = feasible(k, scim.Diff(p.baseline(), p.observed, desired))
	return ops, cannot, nil
}

// patched sends operations in the target's dialect, request by request.
func (p *pursuit) patched(ctx context.Context, k profile.Knobs, ops []scim.Operation) (after scim.Resource, err error) {
	bodies, err := dialect(k).Shape(ops, p.observed)
	if errors.Is(err, scim.ErrUnread) {
		current, unread := p.scim.Get(ctx, scim.Users, p.account.RemoteID)
		if unread != nil {
			return nil, unread
		}
		p.observe(current)
		bodies, err = dialect(k).Shape(ops, current)
	}
	if err != nil {
		return nil, fault.Mark(fault.Unsupported, fmt.Errorf("put a change into the target's words: %w", err))
	}
	for _, body := range bodies {
		after, err = p.scim.Patch(ctx, scim.Users, p.account.RemoteID, p.ifMatch(), body)
		if err != nil {
			return nil, err
		}
		if p.account.Version = after.Version(); p.account.Version == "" {
			p.observed = nil // its version is not known any more
		}
	}
	return after, nil
}

// comesBack tells whether the person left and can only come back by a create.
func (p *pursuit) comesBack(k profile.Knobs) bool {
	if k.Reactivate != "create" {
		return false
	}
	active, said := p.observed.Active()
	return said && !active || p.observed == nil && p.account.State != "" && p.account.State != identity.Present
}
