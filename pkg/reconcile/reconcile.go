// Package reconcile owns the comparison of what a target shows with what it
// should show. It decides nothing about how differences are repaired, and
// believes nothing that was not read to its end. It knows no broker and no
// clock.
package reconcile

import (
	"maps"
	"slices"
	"strings"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/scim"
)

// Situation is where an account stands.
type Situation string

// The situations. A listed resource is linked where the ledger holds its id;
// otherwise it is matched by externalId, then by userName (without case).
//
//	wish      linked  listed                     situation      repaired
//	present   yes     equal                      (in step)      -
//	present   yes     differs, or inactive       differs        yes
//	present   yes     no (all read)              missing        yes
//	present   any     only one that matches      unlinked       yes
//	present   no      no (all read)              pending        yes
//	disabled  yes     active, or does not say    still_active   yes
//	disabled  any     only one that matches,     still_active   no: not ours
//	                  and it is active
//	disabled  any     inactive or not            (in step)      -
//	absent    yes     yes                        undeleted      yes
//	absent    any     only one that matches      undeleted      no: not ours
//	absent    any     no                         (in step)      -
//	any       any     another with the same      duplicate      never
//	                  externalId
//	none      -       yes                        unknown        never
const (
	InStep      Situation = "in_step"
	Differs     Situation = "differs"
	Missing     Situation = "missing"
	Pending     Situation = "pending"
	Unlinked    Situation = "unlinked"
	StillActive Situation = "still_active"
	Undeleted   Situation = "undeleted"
	Unknown     Situation = "unknown"
	Duplicate   Situation = "duplicate"
)

// Situations are all of them, in the order in which reports show them.
func Situations() []Situation {
	return []Situation{InStep, Differs, Missing, Pending, Unlinked, StillActive, Undeleted, Unknown, Duplicate}
}

// Finding is one account that is not in step.
type Finding struct {
	Situation Situation `json:"situation"`
	Identity  string    `json:"identity,omitempty"`
	RemoteID  string    `json:"remote_id,omitempty"`
	// Attributes names (never the values of) the attributes that differ.
	Attributes []string `json:"attributes,omitempty"`
	// Stranger: the account only matches the person. Nothing shows that it is
	// ours, so that it is not ended.
	Stranger bool `json:"stranger,omitempty"`
}

// Repaired tells whether a command can put the finding right.
func (f Finding) Repaired() bool {
	return f.Situation != Unknown && f.Situation != Duplicate && !f.Stranger
}

// Expected is what one target should show for one person.
type Expected struct {
	Identity string
	Wish     string // identity.Present, Disabled, Absent or Unmanaged
	// Resource is what a present account should show. Of any other only the
	// externalId and the userName are used, to match by.
	Resource scim.Resource
	RemoteID string // "" where no account is linked
}

// Index is one comparison at work. It holds what is expected, and of what was
// listed only the names; it is not safe for concurrent use.
type Index struct {
	entries    []*entry
	byIdentity map[string]*entry
	byRemote   map[string]*entry
	byExternal map[string]*entry
	byUserName map[string]*entry
	external   map[string]string // externalId to the first remote id listed with it
	loose      []resource
	late       map[string]bool
	wanted     int
	linked     int // present and linked: these must be listed
	seenLinked int
	counts     map[Situation]int
	listed     int
}

type entry struct {
	Expected
	seen bool
}

// resource is what is kept of a listed resource that is linked to nobody.
type resource struct {
	id, external, userName string
	inactive               bool
}

// NewIndex makes an empty comparison.
func NewIndex() *Index {
	return &Index{
		byIdentity: map[string]*entry{}, byRemote: map[string]*entry{}, byExternal: map[string]*entry{},
		byUserName: map[string]*entry{}, external: map[string]string{}, late: map[string]bool{},
		counts: map[Situation]int{},
	}
}

// Expect adds what should be there; all of it before the first See.
func (x *Index) Expect(e Expected) {
	held := &entry{Expected: e}
	x.entries = append(x.entries, held)
	x.byIdentity[e.Identity] = held
	if e.RemoteID != "" {
		x.byRemote[e.RemoteID] = held
	}
	if external := e.Resource.ExternalID(); external != "" {
		x.byExternal[external] = held
	}
	if name := strings.ToLower(e.Resource.UserName()); name != "" {
		x.byUserName[name] = held
	}
	if e.Wish != identity.Present {
		return
	}
	x.wanted++
	if e.RemoteID != "" {
		x.linked++
	}
}

// See compares one listed resource. ok is false where nothing is to be said of
// it: it is in step, or linked to nobody, which Strangers judges when all links
// are known.
func (x *Index) See(r scim.Resource) (f Finding, ok bool) {
	x.listed++
	id, external := r.ID(), r.ExternalID()
	if _, known := x.external[external]; external != "" && !known {
		x.external[external] = id
	}
	e := x.byRemote[id]
	if e == nil {
		active, said := r.Active()
		x.loose = append(x.loose, resource{id, external, strings.ToLower(r.UserName()), said && !active})
		return Finding{}, false
	}
	f = Finding{Situation: Duplicate, Identity: e.Identity, RemoteID: id}
	if !e.seen {
		e.seen = true
		if e.Wish == identity.Present {
			x.seenLinked++
		}
		f.Situation, f.Attributes = judge(e, r)
	}
	x.counts[f.Situation]++
	return f, f.Situation != InStep
}

// judge compares a linked account with what it should show.
func judge(e *entry, r scim.Resource) (Situation, []string) {
	active, said := r.Active()
	switch {
	case e.Wish == identity.Unmanaged:
		return InStep, nil
	case e.Wish == identity.Absent:
		return Undeleted, nil
	case e.Wish == identity.Disabled && (active || !said):
		return StillActive, []string{"active"}
	case e.Wish == identity.Disabled:
		return InStep, nil
	}
	desired := e.Resource.Clone()
	if _, mapped := desired.Active(); !mapped {
		desired["active"] = true
	}
	if differs := scim.Equal(r, desired); len(differs) > 0 {
		return Differs, names(differs)
	}
	return InStep, nil
}

// names are paths without the values that tell elements apart: an address or a
// member's id is nobody's business, a type ("work") is not personal.
func names(paths []string) []string {
	out := make([]string, 0, len(paths))
	for _, path := range paths {
		if p, err := scim.ParsePath(path); err == nil && p.Filter != nil && !strings.HasPrefix(p.Filter.String(), "type eq ") {
			p.Filter = nil
			path = p.String()
		}
		if !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	return out
}

// Linked tells whether an account was linked to the person when the comparison
// began.
func (x *Index) Linked(id string) bool {
	e := x.byIdentity[id]
	return e != nil && e.RemoteID != ""
}

// Loose is how many listed resources are linked to nobody.
func (x *Index) Loose() int { return len(x.loose) }

// Link says that an account was linked after the comparison began: made while
// the target was read, it is nobody's drift.
func (x *Index) Link(remoteID string) { x.late[remoteID] = true }

// Strangers judges what was listed and is linked to nobody, once.
func (x *Index) Strangers() []Finding {
	var out []Finding
	for _, r := range x.loose {
		if x.late[r.id] {
			continue
		}
		if f := x.stranger(r); f.Situation != InStep {
			x.counts[f.Situation]++
			out = append(out, f)
		}
	}
	x.loose = nil
	return out
}

func (x *Index) stranger(r resource) Finding {
	f := Finding{Situation: Unknown, RemoteID: r.id}
	e := x.byExternal[r.external]
	if r.external == "" || e == nil {
		e = nil
		if other := x.byUserName[r.userName]; other != nil && r.userName != "" && !other.seen {
			e = other
		}
	}
	if e != nil {
		f.Identity = e.Identity
	}
	switch {
	case r.external != "" && x.external[r.external] != r.id, e != nil && e.seen:
		f.Situation = Duplicate
	case e == nil:
	case e.Wish == identity.Present:
		e.seen, f.Situation = true, Unlinked
	case e.Wish == identity.Absent:
		e.seen, f.Situation, f.Stranger = true, Undeleted, true
	case r.inactive, e.Wish == identity.Unmanaged:
		e.seen, f.Situation = true, InStep
	default:
		e.seen, f.Situation, f.Stranger, f.Attributes = true, StillActive, true, []string{"active"}
	}
	return f
}

// fewest is how many linked accounts a target must have before losing most of
// them is implausible: of three people, two may well have been removed.
const fewest = 4

// Implausible tells why a complete listing is not to be believed: it shows
// nobody, or fewer than half of those who must be there. "" means plausible.
func (x *Index) Implausible() string {
	switch {
	case x.linked > 0 && x.listed == 0:
		return "the target lists nobody, though accounts are linked"
	case x.linked >= fewest && x.seenLinked*2 < x.linked:
		return "the target lists fewer than half of the linked accounts"
	}
	return ""
}

// End gives the strangers, where they were not asked for yet, and what is
// missing. It may be called only when the listing was read to its end.
func (x *Index) End() []Finding {
	out := x.Strangers()
	for _, e := range x.entries {
		if e.seen || e.Wish != identity.Present {
			continue
		}
		f := Finding{Situation: Pending, Identity: e.Identity}
		if e.RemoteID != "" {
			f.Situation, f.RemoteID = Missing, e.RemoteID
		}
		x.counts[f.Situation]++
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return strings.Compare(a.Identity, b.Identity) })
	return out
}

// Counts are the numbers of a report.
type Counts struct {
	// Wanted accounts should be there and active; Listed is all the target showed.
	Wanted     int               `json:"wanted"`
	Listed     int               `json:"listed"`
	Situations map[Situation]int `json:"situations"`
}

// Counts gives the numbers so far.
func (x *Index) Counts() Counts {
	return Counts{Wanted: x.wanted, Listed: x.listed, Situations: maps.Clone(x.counts)}
}
