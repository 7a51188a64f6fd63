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

// The situations.
//
//	wish      linked  listed             situation      repaired
//	present   yes     equal              (in step)      -
//	present   yes     differs            differs        yes
//	present   yes     inactive           differs        yes
//	present   yes     no (all read)      missing        yes
//	present   no      by externalId      unlinked       yes
//	present   no      no                 pending        yes
//	disabled  any     active             still_active   yes
//	disabled  any     inactive or not    (in step)      -
//	absent    any     yes                undeleted      yes
//	none      -       yes                unknown        never
//	any       -       one id twice       duplicate      never
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

// Finding is one account that is not in step.
type Finding struct {
	Situation Situation `json:"situation"`
	Identity  string    `json:"identity,omitempty"`
	RemoteID  string    `json:"remote_id,omitempty"`
	// Attributes names (never the values of) the attributes that differ.
	Attributes []string `json:"attributes,omitempty"`
}

// Repaired tells whether a command can put the finding right.
func (f Finding) Repaired() bool {
	return f.Situation != Unknown && f.Situation != Duplicate
}

// Expected is what one target should show for one person.
type Expected struct {
	Identity string
	Wish     string // identity.Present, Disabled or Absent
	Resource scim.Resource
	RemoteID string // "" where no account is linked
}

// Index is one comparison at work.
type Index struct {
	byRemote   map[string]*entry
	byExternal map[string]*entry
	entries    []*entry
	external   map[string]string // externalId to remote id, as listed
	linked     int
	seenLinked int
	counts     map[Situation]int
	listed     int
}

type entry struct {
	Expected
	seen bool
}

// NewIndex makes an empty comparison.
func NewIndex() *Index {
	return &Index{
		byRemote: map[string]*entry{}, byExternal: map[string]*entry{}, external: map[string]string{},
		counts: map[Situation]int{},
	}
}

// Expect adds what should be there; all of it before the first See.
func (x *Index) Expect(e Expected) {
	held := &entry{Expected: e}
	x.entries = append(x.entries, held)
	if e.RemoteID != "" {
		x.byRemote[e.RemoteID] = held
		x.linked++
	}
	if external := e.Resource.ExternalID(); external != "" {
		x.byExternal[external] = held
	}
}

// See compares one listed resource. ok is false where it is in step.
func (x *Index) See(r scim.Resource) (f Finding, ok bool) {
	x.listed++
	f = x.see(r)
	x.counts[f.Situation]++
	return f, f.Situation != InStep
}

func (x *Index) see(r scim.Resource) Finding {
	id, external := r.ID(), r.ExternalID()
	f := Finding{RemoteID: id}
	if external != "" {
		if other, twice := x.external[external]; twice && other != id {
			f.Situation = Duplicate
			if e := x.byExternal[external]; e != nil {
				f.Identity = e.Identity
			}
			return f
		}
		x.external[external] = id
	}
	e := x.byRemote[id]
	if e != nil {
		e.seen = true
		x.seenLinked++
	} else if e = x.byExternal[external]; e == nil || external == "" {
		f.Situation = Unknown
		return f
	} else if e.RemoteID != "" {
		f.Situation, f.Identity = Duplicate, e.Identity
		return f
	}
	f.Identity = e.Identity
	f.Situation, f.Attributes = judge(e, r)
	return f
}

func judge(e *entry, r scim.Resource) (Situation, []string) {
	active, said := r.Active()
	switch {
	case e.Wish == identity.Absent:
		return Undeleted, nil
	case e.Wish == identity.Disabled && (active || !said):
		return StillActive, []string{"active"}
	case e.Wish == identity.Disabled:
		return InStep, nil
	case e.RemoteID == "":
		e.seen = true
		return Unlinked, nil
	}
	desired := e.Resource.Clone()
	if _, mapped := desired.Active(); !mapped {
		desired["active"] = true
	}
	if differs := scim.Equal(r, desired); len(differs) > 0 {
		return Differs, differs
	}
	return InStep, nil
}

// Implausible tells why a complete listing is not to be believed: it shows
// nobody, or fewer than half of those who were there. "" means plausible.
func (x *Index) Implausible() string {
	switch {
	case x.linked > 0 && x.listed == 0:
		return "the target lists nobody, though accounts are linked"
	case x.linked >= 4 && x.seenLinked*2 < x.linked:
		return "the target lists fewer than half of the linked accounts"
	}
	return ""
}

// End gives what is missing. It may be called only when the listing was read to
// its end.
func (x *Index) End() []Finding {
	var out []Finding
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
	slices.SortFunc(out, func(a, b Finding) int { return strings.Compare(a.Identity, b.Identity) })
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
	c := Counts{Listed: x.listed, Situations: maps.Clone(x.counts)}
	for _, e := range x.entries {
		if e.Wish == identity.Present {
			c.Wanted++
		}
	}
	return c
}
