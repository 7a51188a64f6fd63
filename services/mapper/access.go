package mapper

import (
	"slices"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
)

// standing is a person as rules see them, with what approvals give them. It is
// made once for all targets.
type standing struct {
	person mapping.Person
	state  identity.State
	since  identity.Statement
	grants []identity.Statement
	// groups are the ids of the groups of sources that the person is in.
	groups []string
}

func standingOf(rec *identity.Record) standing {
	s := standing{person: PersonOf(rec), grants: rec.Grants(), groups: rec.Groups()}
	s.state, s.since = rec.Standing()
	for _, g := range s.grants {
		if g.Entitlement == "" {
			s.person.Grants = append(s.person.Grants, g.Target)
		}
	}
	return s
}

// in is the person as the rules of one target see them. An approval gives an
// account beside the rules, never against the person's state: who has left, is
// suspended or on leave keeps nothing by it.
func (s standing) in(target string) mapping.Person {
	p := s.person
	for _, g := range s.grants {
		if g.Target == target && g.Entitlement != "" {
			p.Entitlements = append(p.Entitlements, g.Entitlement)
		}
	}
	p.Granted = p.Active && slices.Contains(p.Grants, target)
	return p
}

// given is why the person has an account in a target.
func (s standing) given(target, rule string, byGrant bool) identity.Because {
	if !byGrant {
		return identity.Because{Rule: rule, State: s.state, Event: s.since.Stamp.Event}
	}
	for _, g := range s.grants {
		if g.Target == target && g.Entitlement == "" {
			return identity.Because{Grant: g.Stamp.Event, Mandate: g.Mandate, Expires: g.Expires, State: s.state}
		}
	}
	return identity.Because{}
}

// ended is why the person has no account any more.
func (s standing) ended(rule string) identity.Because {
	return identity.Because{Rule: rule, State: s.state, Event: s.since.Stamp.Event, Ended: true}
}
