package secevent

import (
	"strings"

	"github.com/joinery/joinery/pkg/event"
)

// meaning is what an event says of the person's place in the company.
type meaning struct {
	kind string
	// acts is false where the event is only recorded: nothing is known to have
	// changed that an account could show.
	acts bool
	// urgent sends what follows by the urgent lane, whatever it is.
	urgent bool
	// read is how the payload speaks of the person's attributes.
	form form
}

// form is what the payload of an event holds.
type form int

const (
	nothing form = iota
	// resource is a whole SCIM resource as member data.
	resource
	// patch is the operations of a SCIM PATCH as member data.
	patch
)

// The prefixes of the types that are understood. Drafts of RFC 9967 wrote SCIM
// in upper case.
const (
	scimPrefix = "urn:ietf:params:scim:event:"
	riscPrefix = "https://schemas.openid.net/secevent/risc/event-type/"
	caepPrefix = "https://schemas.openid.net/secevent/caep/event-type/"
)

// recorded is the meaning of an event that is kept in the person's history and
// changes nothing.
func recorded() meaning { return meaning{kind: "changed"} }

// scimMeanings (RFC 9967 sections 2.3 to 2.5). A notice names attributes and not
// their values, so that there is nothing to act on; a feed says who is spoken
// of, not how they stand.
func scimMeanings() map[string]meaning {
	return map[string]meaning{
		"feed:add":           recorded(),
		"feed:remove":        recorded(),
		"prov:create:notice": recorded(),
		"prov:create:full":   {kind: "joined", acts: true, form: resource},
		"prov:patch:notice":  recorded(),
		"prov:patch:full":    {kind: "changed", acts: true, form: patch},
		"prov:put:notice":    recorded(),
		"prov:put:full":      {kind: "changed", acts: true, form: resource},
		"prov:delete":        {kind: "left", acts: true},
		"prov:activate":      {kind: "enabled", acts: true},
		"prov:deactivate":    {kind: "disabled", acts: true},
		"misc:asyncresp":     recorded(),
	}
}

// riscMeanings (OpenID RISC Profile 1.0 section 2). Only what is said of the
// account acts; what is said of its credentials is recorded.
func riscMeanings() map[string]meaning {
	return map[string]meaning{
		"account-disabled":                   {kind: "disabled", acts: true, urgent: true},
		"account-enabled":                    {kind: "enabled", acts: true},
		"account-purged":                     {kind: "left", acts: true, urgent: true},
		"account-credential-change-required": recorded(),
		"credential-compromise":              recorded(),
		"identifier-changed":                 recorded(),
		"identifier-recycled":                recorded(),
		"recovery-activated":                 recorded(),
		"recovery-information-changed":       recorded(),
		"sessions-revoked":                   {kind: "changed", urgent: true},
	}
}

// caepMeanings (OpenID CAEP 1.0 section 3). A session that ends is no
// employment that ends: it is recorded, and whatever happens to follow from it
// is urgent. The others speak of sessions, devices and risks, not of accounts,
// and come so often that they would drive what matters out of the history.
func caepMeanings() map[string]meaning {
	return map[string]meaning{
		"session-revoked":   {kind: "changed", urgent: true},
		"credential-change": recorded(),
	}
}

func meaningOf(name string) (m meaning, known bool) {
	if len(name) >= len(scimPrefix) && strings.EqualFold(name[:len(scimPrefix)], scimPrefix) {
		m, known = scimMeanings()[name[len(scimPrefix):]]
		return m, known
	}
	if rest, ok := strings.CutPrefix(name, riscPrefix); ok {
		m, known = riscMeanings()[rest]
		return m, known
	}
	if rest, ok := strings.CutPrefix(name, caepPrefix); ok {
		m, known = caepMeanings()[rest]
		return m, known
	}
	return meaning{}, false
}

// statement is what one event says.
type statement struct {
	meaning
	attributes map[string]any
	full       bool
	unread     []any
}

func (m meaning) read(payload map[string]any) (statement, *event.Problem) {
	said := statement{meaning: m, attributes: map[string]any{}}
	if m.form == nothing {
		return said, nil
	}
	data, ok := payload["data"].(map[string]any)
	if !ok {
		return statement{}, event.Refuse(event.Missing, "data", "A full event holds the resource, or what was done to it, as the object data (RFC 9967 section 2.4).")
	}
	if m.form == resource {
		said.readResource(data)
		return said, nil
	}
	return said, said.readPatch(data)
}
