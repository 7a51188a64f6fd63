package secevent

import (
	"strings"

	"github.com/joinery/joinery/pkg/event"
)

// subject is whom an event is about.
type subject struct {
	// sent is the identifier as it was sent, with the member format.
	sent map[string]any
	// person is the members that name the person.
	person map[string]any
}

// needed are the members that a format of RFC 9493 section 3.2, or of RFC 9967
// section 2.1, cannot do without; the first of them names the person.
func needed() map[string][]string {
	return map[string][]string{
		"account": {"uri"}, "email": {"email"}, "iss_sub": {"sub", "iss"}, "opaque": {"id"},
		"phone_number": {"phone_number"}, "did": {"url"}, "uri": {"uri"}, "scim": {"uri"},
	}
}

// maxAliases bounds the identifiers of one subject: more than a person has.
const maxAliases = 16

// who is the subject of an event: sub_id of the token, subject of the event as
// RISC and CAEP had it before they were final, or the claim sub.
func (h head) who(payload map[string]any) (subject, *event.Problem) {
	field, sent := "sub_id", h.subject
	if sent == nil {
		field, sent = "events", payload["subject"]
	}
	if sent == nil && h.sub != "" {
		sent = map[string]any{"format": "iss_sub", "iss": h.issuer, "sub": h.sub}
	}
	members, ok := sent.(map[string]any)
	if !ok {
		return subject{}, event.Refuse(event.Missing, field, "The token does not say whom it is about. Add the claim sub_id, with a subject identifier of RFC 9493.")
	}
	s := subject{sent: members, person: map[string]any{}}
	return s, s.take(members, field)
}

// take adds what an identifier says of the person.
func (s subject) take(id map[string]any, field string) *event.Problem {
	switch format := formatOf(id); format {
	case "aliases":
		return s.takeAliases(id["identifiers"], field)
	case "complex":
		user, ok := id["user"].(map[string]any)
		if !ok {
			return nil // a device, a session: nobody is named
		}
		return s.takeSimple(user, formatOf(user), field)
	default:
		return s.takeSimple(id, format, field)
	}
}

func (s subject) takeAliases(v any, field string) *event.Problem {
	aliases, ok := v.([]any)
	if !ok || len(aliases) == 0 || len(aliases) > maxAliases {
		return event.Refuse(event.Invalid, field, "The aliases of a subject are a list of 1 to 16 identifiers.")
	}
	for _, alias := range aliases {
		id, ok := alias.(map[string]any)
		if !ok || formatOf(id) == "aliases" { // RFC 9493 section 3.2.8
			return event.Refuse(event.Invalid, field, "An alias of a subject is an identifier of another format than aliases.")
		}
		if problem := s.takeSimple(id, formatOf(id), field); problem != nil {
			return problem
		}
	}
	return nil
}

func (s subject) takeSimple(id map[string]any, format, field string) *event.Problem {
	if format == "" {
		return event.Refuse(event.Invalid, field, "The subject identifier has no format. Add the member format (RFC 9493 section 3).")
	}
	for _, name := range needed()[format] {
		if v, _ := id[name].(string); v == "" || len(v) > maxText || !event.Printable(v) {
			return event.Refuse(event.Invalid, field, "The subject identifier lacks a member that its format needs, or it is no text.")
		}
	}
	if _, set := s.person["format"]; !set {
		s.person["format"] = format
	}
	for name, v := range id {
		if _, set := s.person[name]; !set && name != "subject_type" {
			s.person[name] = v
		}
	}
	if _, set := s.person["id"]; !set && format == "scim" {
		uri, _ := id["uri"].(string)
		s.person["id"] = uri[strings.LastIndexByte(uri, '/')+1:]
	}
	return nil
}

// formatOf is the format of an identifier, or "". Before RFC 9493 it was called
// subject_type and spelled with a dash; a complex subject may do without.
func formatOf(id map[string]any) string {
	name, _ := id["format"].(string)
	if name == "" {
		name, _ = id["subject_type"].(string)
		name = strings.ReplaceAll(name, "-", "_")
	}
	if _, user := id["user"].(map[string]any); name == "" && user {
		return "complex"
	}
	return name
}

// name is the one text that names the person best, or "".
func (s subject) name() string {
	format, _ := s.person["format"].(string)
	for _, member := range needed()[format] {
		if v, ok := s.person[member].(string); ok {
			return v
		}
	}
	return ""
}

// isGroup tells whether the subject is a SCIM resource other than a person.
func (s subject) isGroup() bool {
	uri, _ := s.person["uri"].(string)
	parts := strings.Split(strings.ToLower(uri), "/")
	return s.person["format"] == "scim" && len(parts) > 1 && parts[len(parts)-2] == "groups"
}
