package simulator

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/scim"
)

// Commit is one change that took effect, whatever was answered: the ground
// truth for an oracle. Its resources are shared and must not be changed.
type Commit struct {
	At   time.Time `json:"at"`
	Kind scim.Kind `json:"kind"`
	ID   string    `json:"id"`
	// Verb is create, update or delete.
	Verb string `json:"verb"`
	// Before is the resource as it was; nil before a create. Journals leave it
	// out: it follows from the lines before.
	Before scim.Resource `json:"before,omitempty"`
	// After is the resource as it is now; nil after a delete.
	After scim.Resource `json:"after,omitempty"`
}

// maxCommits bounds the log of commits in memory; a journal holds them all.
const maxCommits = 1_000_000

// set is a set of ids.
type set map[string]bool

// store holds the resources in the order they were made. Stored resources are
// never changed, only replaced.
type store struct {
	options   Options
	next      int
	byID      map[scim.Kind]map[string]scim.Resource
	order     map[scim.Kind][]string
	keyed     map[scim.Kind]map[string]set // by what keysOf gives
	memberOf  map[string]set               // groups by member
	commits   []Commit
	committed int
}

func newStore(o Options) *store {
	return &store{
		options: o, order: map[scim.Kind][]string{}, memberOf: map[string]set{},
		byID:  map[scim.Kind]map[string]scim.Resource{scim.Users: {}, scim.Groups: {}},
		keyed: map[scim.Kind]map[string]set{scim.Users: {}, scim.Groups: {}},
	}
}

func (st *store) get(kind scim.Kind, id string) (scim.Resource, bool) {
	r, ok := st.byID[kind][id]
	return r, ok
}

// holds tells whether an id is anybody's.
func (st *store) holds(id string) bool {
	_, user := st.get(scim.Users, id)
	_, group := st.get(scim.Groups, id)
	return user || group
}

// all gives the resources of a kind, in the order they were made.
func (st *store) all(kind scim.Kind) []scim.Resource {
	out := make([]scim.Resource, 0, len(st.order[kind]))
	for _, id := range st.order[kind] {
		out = append(out, st.byID[kind][id])
	}
	return out
}

// holder gives a resource other than self that has the name of r.
func (st *store) holder(kind scim.Kind, r scim.Resource, self string) (scim.Resource, bool) {
	name := kind.NameAttribute()
	value := r.Text(name)
	if value == "" {
		return nil, false
	}
	for _, other := range st.withKey(kind, name, value) {
		if other.ID() != self {
			return other, true
		}
	}
	return nil, false
}

// withKey gives the resources that have a value, whatever its case, in one of
// the attributes of keysOf.
func (st *store) withKey(kind scim.Kind, name, value string) []scim.Resource {
	var out []scim.Resource
	for _, id := range slices.Sorted(maps.Keys(st.keyed[kind][keyOf(name, value)])) {
		out = append(out, st.byID[kind][id])
	}
	return out
}

func keyOf(name, value string) string {
	return strings.ToLower(name) + " " + strings.ToLower(value)
}

// keysOf is what resources are looked up by: provisioning searches all the time
// by these two, and must not pay for everybody who is not meant.
func keysOf(kind scim.Kind, r scim.Resource) []string {
	var out []string
	for _, name := range []string{kind.NameAttribute(), "externalId"} {
		if value := r.Text(name); value != "" {
			out = append(out, keyOf(name, value))
		}
	}
	return out
}

// fresh tells whether a resource was made less than lag ago.
func fresh(r scim.Resource, lag time.Duration) bool {
	if lag == 0 {
		return false
	}
	v, _ := r.Get("meta.created")
	text, _ := v.(string)
	made, err := time.Parse(time.RFC3339Nano, text)
	return err == nil && time.Since(made) < lag
}

func (st *store) create(kind scim.Kind, r scim.Resource) (scim.Resource, error) {
	out := scim.Writable(kind, r)
	id := fmt.Sprintf("%s%06d", st.options.Prefix, st.next+1)
	now := time.Now().UTC().Format(time.RFC3339Nano)
	out["id"] = id
	out["meta"] = map[string]any{
		"resourceType": kind.ResourceType(), "created": now, "lastModified": now,
		"location": st.options.Base + "/" + string(kind) + "/" + id, "version": `W/"1"`,
	}
	if _, said := out.Active(); kind == scim.Users && !said {
		out.Drop("active")
		out["active"] = true
	}
	return out, st.commit(Commit{At: time.Now(), Kind: kind, ID: id, Verb: "create", After: out})
}

// update stores what became of a resource. What changes nothing is no commit,
// and leaves version and time as they are (RFC 7644 section 3.5.2.1).
func (st *store) update(kind scim.Kind, current, next scim.Resource) (scim.Resource, error) {
	out := scim.Writable(kind, next)
	if reflect.DeepEqual(out, scim.Writable(kind, current)) {
		return current, nil
	}
	id := current.ID()
	meta, _ := current.Clone()["meta"].(map[string]any)
	var version int
	_, _ = fmt.Sscanf(current.Version(), `W/"%d"`, &version)
	meta["version"] = fmt.Sprintf(`W/"%d"`, version+1)
	meta["lastModified"] = time.Now().UTC().Format(time.RFC3339Nano)
	out["id"], out["meta"] = id, meta
	return out, st.commit(Commit{At: time.Now(), Kind: kind, ID: id, Verb: "update", After: out})
}

// remove deletes a resource and, after that, its memberships.
func (st *store) remove(kind scim.Kind, current scim.Resource) error {
	if err := st.commit(Commit{At: time.Now(), Kind: kind, ID: current.ID(), Verb: "delete"}); err != nil {
		return err
	}
	return st.forget(current.ID())
}

// forget takes somebody who is gone out of all groups.
func (st *store) forget(id string) error {
	for _, group := range slices.Sorted(maps.Keys(st.memberOf[id])) {
		g := st.byID[scim.Groups][group]
		var kept []any
		for _, m := range g.Members() {
			if m["value"] != id {
				kept = append(kept, m)
			}
		}
		after := g.Clone()
		after.SetMembers(kept)
		if _, err := st.update(scim.Groups, g, after); err != nil {
			return err
		}
	}
	return nil
}

// commit makes a change take effect, in the journal first.
func (st *store) commit(c Commit) error {
	if err := st.write(c); err != nil {
		return err
	}
	st.take(c)
	return nil
}

func (st *store) take(c Commit) {
	c.Before = st.byID[c.Kind][c.ID]
	st.index(c.Kind, c.ID, c.Before, false)
	st.index(c.Kind, c.ID, c.After, true)
	switch {
	case c.Verb == "delete":
		delete(st.byID[c.Kind], c.ID)
		st.order[c.Kind] = slices.DeleteFunc(st.order[c.Kind], func(id string) bool { return id == c.ID })
	case c.Before == nil:
		st.order[c.Kind] = append(st.order[c.Kind], c.ID)
		fallthrough
	default:
		st.byID[c.Kind][c.ID] = c.After
	}
	st.count(c.ID)
	st.committed++
	if len(st.commits) < maxCommits {
		st.commits = append(st.commits, c)
	}
}

// count keeps ids from being given twice.
func (st *store) count(id string) {
	var n int
	if _, err := fmt.Sscanf(strings.TrimPrefix(id, st.options.Prefix), "%d", &n); err == nil {
		st.next = max(st.next, n)
	}
}

// index enters a resource into, or takes it out of, what it is found by.
func (st *store) index(kind scim.Kind, id string, r scim.Resource, enter bool) {
	if r == nil {
		return
	}
	for _, key := range keysOf(kind, r) {
		mark(st.keyed[kind], key, id, enter)
	}
	if kind != scim.Groups {
		return
	}
	for _, m := range r.Members() {
		member, _ := m["value"].(string)
		mark(st.memberOf, member, id, enter)
	}
}

func mark(sets map[string]set, key, id string, enter bool) {
	switch {
	case enter && sets[key] == nil:
		sets[key] = set{id: true}
	case enter:
		sets[key][id] = true
	default:
		delete(sets[key], id)
		if len(sets[key]) == 0 {
			delete(sets, key)
		}
	}
}
