package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/group"
	"github.com/joinery/joinery/pkg/guard"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// Groups are a target's groups over SCIM.
type Groups interface {
	Head(ctx context.Context, id string) (scim.Resource, error)
	Members(ctx context.Context, id string) ([]group.Member, error)
	Change(ctx context.Context, id string, c group.Change) (done int, err error)
	Rename(ctx context.Context, id, name string) error
}

// Members is the bucket of memberships. Put is a compare-and-swap.
type Members interface {
	Get(ctx context.Context, key string) (identity.Member, uint64, error)
	Put(ctx context.Context, key string, m identity.Member, rev uint64) (uint64, error)
	All(ctx context.Context, prefix string) (map[string]identity.Member, error)
}

// The operations on groups that outcomes name.
const (
	opGroupCreate = "group.create"
	opGroupAdopt  = "group.adopt"
	opGroupUpdate = "group.update"
	opGroupDelete = "group.delete"
)

// gatherFor is how long a group's command waits for more changes of its members,
// so that they travel together; no longer, however many come.
const gatherFor = time.Second

// maxWaiting bounds how many members a group notes that have no account yet. Those
// beyond it are found when one of these appears.
const maxWaiting = 1000

// errNoGroups: the target has no groups, as far as is known.
var errNoGroups = errors.New("the target has no groups: remove the rules under groups, or correct the profile")

// gathering is when the groups of a target were first asked to wait.
type gathering struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// rest is how long a group's command should still wait, 0 once it may go on.
func (g *gathering) rest(id string, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	since, waiting := g.since[id]
	if !waiting {
		if g.since == nil {
			g.since = map[string]time.Time{}
		}
		g.since[id] = now
		return gatherFor
	}
	if left := gatherFor - now.Sub(since); left > 0 {
		return left
	}
	delete(g.since, id)
	return 0
}

// group brings a group to what bucket MEMBERS says now.
func (p *pursuit) group(ctx context.Context) error {
	p.account.Kind = identity.Grouped
	if p.groups == nil || p.members == nil || p.knobs().Groups == "no" {
		return fault.Mark(fault.Unsupported, errNoGroups)
	}
	members, err := p.members.All(ctx, identity.MembersKey(p.name, p.cmd.GetIdentity())+".")
	if err != nil {
		return fmt.Errorf("read who should be in a group: %w", err)
	}
	if p.cmd.GetWish() == joineryv1.Wish_WISH_ABSENT {
		return p.disband(ctx, members)
	}
	if err := p.found(ctx); err != nil {
		return err
	}
	err = p.enrol(ctx, members)
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	// Somebody removed the group: make it again, with everybody in it.
	if err := p.scim.Check(ctx); err != nil {
		return fmt.Errorf("check that a missing group is really missing: %w", err)
	}
	if err := p.forget(ctx, members); err != nil {
		return err
	}
	if err := p.found(ctx); err != nil {
		return err
	}
	return p.enrol(ctx, members)
}

// found makes sure that the group is there under its name.
func (p *pursuit) found(ctx context.Context) error {
	name := p.cmd.GetGroup().GetDisplayName()
	if p.account.RemoteID == "" {
		if err := p.seekGroup(ctx, name); err != nil {
			return err
		}
	}
	if p.account.RemoteID == "" {
		return p.createGroup(ctx, name)
	}
	if sent, _ := p.account.Sent["displayName"].(string); sent == name {
		return nil
	}
	if err := p.groups.Rename(ctx, p.account.RemoteID, name); err != nil {
		return err
	}
	p.requests++
	p.operation, p.changed = opGroupUpdate, append(p.changed, "displayName")
	p.account.Sent = p.called(name)
	return nil
}

// called is the group as it was sent.
func (p *pursuit) called(name string) scim.Resource {
	r := scim.Resource{"displayName": name}
	if key := p.cmd.GetGroup().GetKey(); key != "" {
		r["externalId"] = key
	}
	return r
}

// seekGroup looks for the group by the key that we gave it, and by its name.
func (p *pursuit) seekGroup(ctx context.Context, name string) error {
	names := []string{name}
	if sent, _ := p.account.Sent["displayName"].(string); p.creating() && sent != "" && sent != name {
		names = append(names, sent) // as an unresolved create would have made it
	}
	key := p.cmd.GetGroup().GetKey()
	for _, n := range names {
		found, err := p.named(ctx, n)
		if err != nil {
			return fmt.Errorf("search for a group: %w", err)
		}
		if len(found) > 1 {
			found = slices.DeleteFunc(found, func(r scim.Resource) bool { return key == "" || r.ExternalID() != key })
			if len(found) != 1 {
				return fault.Mark(fault.Conflict, ErrAmbiguous)
			}
		}
		if len(found) == 1 {
			return p.linkGroup(found[0], key, n)
		}
	}
	return nil
}

// named is the groups of a name. A target that cannot be asked for them is read.
func (p *pursuit) named(ctx context.Context, name string) (found []scim.Resource, err error) {
	found, err = p.scim.Find(ctx, scim.Groups, "displayName", name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, p.scim.Check(ctx)
	case !fault.Is(err, fault.Permanent) && !fault.Is(err, fault.Unsupported):
		return found, err
	}
	for r, err := range p.scim.List(ctx, scim.Groups) {
		if err != nil {
			return nil, err
		}
		if called, _ := r["displayName"].(string); strings.EqualFold(called, name) {
			found = append(found, r)
		}
	}
	return found, nil
}

// linkGroup takes a found group as ours, where that is allowed: as with accounts.
func (p *pursuit) linkGroup(found scim.Resource, key, name string) error {
	theirs := found.ExternalID()
	switch {
	case theirs != "" && theirs == key, p.creating() && theirs == "", p.consented(found.ID()):
	case theirs != "" || p.settings.Adopt != "exact":
		return p.stranger(found)
	}
	p.account.Stranger = ""
	p.account.RemoteID, p.account.Ownership = found.ID(), identity.Adopted
	p.operation = opGroupAdopt
	if p.creating() {
		p.account.Ownership, p.operation = identity.Created, opGroupCreate
	}
	p.account.Sent = p.called(name)
	return nil
}

func (p *pursuit) createGroup(ctx context.Context, name string) error {
	if p.knobs().GroupCreate == "unsupported" {
		return fault.Mark(fault.Unsupported, errors.New("groups cannot be made in the target over SCIM: make it there under this name, and replay"))
	}
	if err := p.settled(); err != nil {
		return err
	}
	r := p.called(name)
	r["schemas"] = []any{scim.GroupSchema}
	earlier := p.account.Intent
	p.account.Sent = p.called(name)
	if err := p.begin(ctx, opCreate); err != nil {
		return err
	}
	created, err := p.scim.Create(ctx, scim.Groups, r)
	if err != nil && !fault.Is(err, fault.Unknown) {
		p.account.Intent = earlier
	}
	if err != nil {
		return fmt.Errorf("create a group: %w", err)
	}
	if created.ID() == "" {
		return fault.Mark(fault.Unknown, errors.New("the target answered a create without a resource"))
	}
	p.account.Intent = nil
	p.account.RemoteID, p.account.Ownership, p.operation = created.ID(), identity.Created, opGroupCreate
	return p.save(ctx)
}

// roll is what has to become of a group's members.
type roll struct {
	add, remove []entry
	waiting     []string
	counted     int // of the removals, people who keep their account
}

// entry is one member: the person and the id in the target.
type entry struct {
	id     string
	remote string
}

// enrol adds who is missing and removes who should not be there, chunk by chunk;
// what went through is remembered before the next.
func (p *pursuit) enrol(ctx context.Context, members map[string]identity.Member) error {
	if p.cmd.GetVerify() {
		if err := p.observeMembers(ctx, members); err != nil {
			return err
		}
	}
	r, err := p.roll(ctx, members)
	if err != nil {
		return err
	}
	p.account.Waiting = r.waiting
	if err := p.inChunks(ctx, r.add, func(chunk []group.Member) group.Change { return group.Change{Add: chunk} }, true); err != nil {
		return err
	}
	if len(r.remove) == 0 {
		return nil
	}
	if err := p.mayRemove(ctx, r.counted); err != nil {
		return err
	}
	return p.inChunks(ctx, r.remove, func(chunk []group.Member) group.Change { return group.Change{Remove: chunk} }, false)
}

// mayRemove asks the guard for each of the removals, once.
func (p *pursuit) mayRemove(ctx context.Context, n int) error {
	if p.account.Admitted >= p.cmd.GetRevision() {
		return nil
	}
	for range n {
		if err := p.guarded(ctx, guard.Membership); err != nil {
			return err
		}
		p.account.Admitted = 0 // the next one counts as well
	}
	p.account.Admitted = p.cmd.GetRevision()
	return nil
}

// roll compares what is wished with what was sent.
func (p *pursuit) roll(ctx context.Context, members map[string]identity.Member) (r roll, err error) {
	for _, key := range slices.Sorted(maps.Keys(members)) {
		m := members[key]
		id := key[strings.LastIndexByte(key, '.')+1:]
		if !m.Present && m.Sent == "" {
			continue
		}
		account, _, err := p.ledger.accounts.Get(ctx, identity.AccountKey(p.name, id))
		if err != nil && !errors.Is(err, stream.ErrNotFound) {
			return r, fmt.Errorf("read a member's account: %w", err)
		}
		there := account.RemoteID != "" && account.State == identity.Present
		switch {
		case !m.Present:
			r.remove = append(r.remove, entry{id, m.Sent})
			if there {
				r.counted++
			}
		case m.Sent == account.RemoteID && m.Sent != "":
		case there:
			r.add = append(r.add, entry{id, account.RemoteID})
		case len(r.waiting) < maxWaiting:
			r.waiting = append(r.waiting, id)
		}
	}
	return r, nil
}

// inChunks sends members as many at a time as the target takes, and remembers
// each chunk that went through.
func (p *pursuit) inChunks(ctx context.Context, entries []entry, change func([]group.Member) group.Change, in bool) error {
	size := p.knobs().MembersMax
	if size <= 0 {
		size = group.MaxMembers
	}
	for chunk := range slices.Chunk(entries, size) {
		named := make([]group.Member, len(chunk))
		for i, e := range chunk {
			named[i] = group.Member{ID: e.remote}
		}
		done, err := p.groups.Change(ctx, p.account.RemoteID, change(named))
		p.requests += int32(max(done, 1))
		if err != nil {
			return err
		}
		if p.operation == opNone {
			p.operation = opGroupUpdate
		}
		if !slices.Contains(p.changed, "members") {
			p.changed = append(p.changed, "members")
		}
		for _, e := range chunk {
			sent := ""
			if in {
				sent = e.remote
			}
			if err := p.sent(ctx, e.id, sent); err != nil {
				return err
			}
		}
	}
	return nil
}

// sent remembers under which id somebody was made a member, or that they are none.
func (p *pursuit) sent(ctx context.Context, id, remote string) error {
	key := identity.MemberKey(p.name, p.cmd.GetIdentity(), id)
	for range swaps {
		m, rev, err := p.members.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("read a membership: %w", err)
		}
		if m.Sent == remote {
			return nil
		}
		m.Sent = remote
		_, err = p.members.Put(ctx, key, m, rev)
		if err == nil || !errors.Is(err, stream.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("store a membership: %w", stream.ErrConflict)
}

// observeMembers reads who is in the group, and corrects what was thought to be
// sent. Where members cannot be read, the ledger stands; what cannot be read is
// never taken for missing.
func (p *pursuit) observeMembers(ctx context.Context, members map[string]identity.Member) error {
	shown, err := p.groups.Members(ctx, p.account.RemoteID)
	p.requests++
	if errors.Is(err, scimhttp.ErrHidden) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read who is in a group: %w", err)
	}
	there := make(map[string]bool, len(shown))
	for _, m := range shown {
		there[m.ID] = true
	}
	for key, m := range members {
		id := key[strings.LastIndexByte(key, '.')+1:]
		remote, err := p.ledger.remoteID(ctx, p.name, id)
		if err != nil {
			return err
		}
		seen := ""
		switch {
		case m.Sent != "" && there[m.Sent]:
			seen = m.Sent
		case m.Present && there[remote]:
			seen = remote
		}
		if seen == m.Sent {
			continue
		}
		if err := p.sent(ctx, id, seen); err != nil {
			return err
		}
		m.Sent = seen
		members[key] = m
	}
	return nil
}

// forget takes everybody for no member of a group that is no more.
func (p *pursuit) forget(ctx context.Context, members map[string]identity.Member) error {
	p.unlink()
	for key, m := range members {
		if m.Sent == "" {
			continue
		}
		if err := p.sent(ctx, key[strings.LastIndexByte(key, '.')+1:], ""); err != nil {
			return err
		}
		m.Sent = ""
		members[key] = m
	}
	return nil
}

// disband ends a group: one that we made is deleted, of another our members are
// taken out.
func (p *pursuit) disband(ctx context.Context, members map[string]identity.Member) error {
	if p.account.RemoteID == "" {
		if !p.creating() {
			return nil
		}
		sent, _ := p.account.Sent["displayName"].(string)
		if err := p.seekGroup(ctx, sent); err != nil {
			return err
		}
		if p.account.RemoteID == "" {
			return p.settled()
		}
	}
	if err := p.guarded(ctx, guard.Membership); err != nil {
		return err
	}
	if p.account.Ownership != identity.Created || p.knobs().GroupDelete == "unsupported" {
		return p.emptied(ctx, members)
	}
	err := p.scim.Delete(ctx, scim.Groups, p.account.RemoteID, "")
	if fault.Is(err, fault.NotFound) {
		err = p.scim.Check(ctx)
	}
	if fault.Is(err, fault.Unsupported) {
		return p.emptied(ctx, members)
	}
	if err != nil {
		return fmt.Errorf("delete a group: %w", err)
	}
	p.operation = opGroupDelete
	return p.forget(ctx, members)
}

// emptied takes our members out of a group that stays.
func (p *pursuit) emptied(ctx context.Context, members map[string]identity.Member) error {
	var out []entry
	for key, m := range members {
		if m.Sent != "" {
			out = append(out, entry{key[strings.LastIndexByte(key, '.')+1:], m.Sent})
		}
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.id, b.id) })
	return p.inChunks(ctx, out, func(chunk []group.Member) group.Change { return group.Change{Remove: chunk} }, false)
}
