// Package secevent owns the meaning of security event tokens (RFC 8417): which
// facts about a person their claims state, and what of them the rules of a
// source see. It reads the SCIM events of RFC 9967 and those of RISC and CAEP
// that concern accounts; all others are left out. It must not know who signed a
// token or how it came.
package secevent

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/event"
)

const (
	// MaxEvents is how many events one token may hold. They are about one
	// transaction of one subject (RFC 8417 section 2, RFC 9967 section 2.1), and
	// fewer kinds than this are defined.
	MaxEvents = 32
	// maxID bounds jti in bytes; it and an event's type make an event's id.
	maxID = 255
	// maxText bounds the other texts that are taken over.
	maxText = 2048
	// skew is how far ahead of ours an issuer's clock may be.
	skew = 5 * time.Minute
	// milliseconds is where a time must be in milliseconds: in seconds it would be
	// past the year 5000. CAEP counted so before it was final.
	milliseconds = 1e11
)

// Set is what one token states.
type Set struct {
	// ID is jti, the same however often the token is sent.
	ID string
	// Facts are what Joinery understands of its events, in the order of their
	// types.
	Facts []Fact
	// Events counts all events of the token, also those left out.
	Events int
}

// Fact is one event, as an event of a source. Its Data is, for the source's
// rules:
//
//	kind        what the event means, by the table of this package ("disabled")
//	sub_id      the subject identifier as it was sent (RFC 9493)
//	person      its members that name the person: of a complex subject those of
//	            user, of aliases those of all, the first of each name counting
//	attributes  what is said of the person; null for what was cleared
//	unread      the paths of changes that cannot be told apart from the rest of
//	            their attribute, where there are any
//	payload     the event's own members as they were sent
//	txn         the claim txn
type Fact struct {
	event.Event
	// Acts is false where the event is recorded and nothing follows from it.
	Acts bool
}

// Read takes the claims of a verified token apart. Their issuer and audience
// have been checked; exp decides nothing, since a fact stays one (RFC 8417
// section 2.2). It fails with a *event.Problem.
func Read(claims []byte, now time.Time) (Set, error) {
	document, err := event.Document(claims)
	if err != nil {
		return Set{}, err
	}
	all, ok := document.(map[string]any)
	if !ok {
		return Set{}, event.Refuse(event.Syntax, "", "The claims of a token are a JSON object.")
	}
	h, problem := headOf(all, now)
	if problem != nil {
		return Set{}, problem
	}
	payloads, problem := payloadsOf(all)
	if problem != nil {
		return Set{}, problem
	}
	set := Set{ID: h.id, Events: len(payloads)}
	for _, name := range slices.Sorted(maps.Keys(payloads)) {
		fact, understood, problem := h.fact(name, payloads[name], len(payloads) > 1)
		if problem != nil {
			return Set{}, problem
		}
		if understood {
			set.Facts = append(set.Facts, fact)
		}
	}
	return set, nil
}

// head is what a token says of all its events.
type head struct {
	id, issuer, transaction string
	// at is when the events happened, unless an event says it better.
	at time.Time
	// subject is sub_id, or nil; sub is the claim of JWTs.
	subject any
	sub     string
}

func headOf(all map[string]any, now time.Time) (head, *event.Problem) {
	h := head{subject: all["sub_id"]}
	for _, claim := range []struct {
		name   string
		out    *string
		needed bool
		limit  int
	}{
		{"jti", &h.id, true, maxID},
		{"iss", &h.issuer, true, maxText},
		{"txn", &h.transaction, false, maxText},
		{"sub", &h.sub, false, maxText},
	} {
		if problem := text(all, claim.name, claim.out, claim.needed, claim.limit); problem != nil {
			return head{}, problem
		}
	}
	issued, problem := instant(all, "iat")
	switch {
	case problem != nil:
		return head{}, problem
	case issued.IsZero():
		return head{}, event.Refuse(event.Missing, "iat", "The token does not say when it was issued. Add the claim iat.")
	case issued.Sub(now) > skew:
		return head{}, event.Refuse(event.Invalid, "iat", "The token was issued in the future. Correct the issuer's clock.")
	}
	if h.at, problem = instant(all, "toe"); h.at.IsZero() {
		h.at = issued
	}
	return h, problem
}

func text(all map[string]any, name string, out *string, needed bool, limit int) *event.Problem {
	value, given := all[name]
	if !given && !needed {
		return nil
	}
	s, ok := value.(string)
	switch {
	case !given:
		return event.Refuse(event.Missing, name, "The claim "+name+" is required. Add it to the token.")
	case !ok || s == "" || !event.Printable(s):
		return event.Refuse(event.Invalid, name, "The claim "+name+" must be a text without control characters.")
	case len(s) > limit:
		return event.Refuse(event.TooLong, name, "The claim "+name+" is too long.")
	}
	*out = s
	return nil
}

// instant is a NumericDate (RFC 7519 section 2), or the zero time where it is
// absent.
func instant(all map[string]any, name string) (time.Time, *event.Problem) {
	value, given := all[name]
	if !given {
		return time.Time{}, nil
	}
	seconds, ok := value.(float64)
	if seconds >= milliseconds {
		seconds /= 1000
	}
	if !ok || seconds < 0 || seconds >= milliseconds {
		return time.Time{}, event.Refuse(event.Invalid, name, "The claim "+name+" must be a time in seconds since 1970.")
	}
	return time.UnixMilli(int64(seconds * 1000)).UTC(), nil
}

func payloadsOf(all map[string]any) (map[string]map[string]any, *event.Problem) {
	events, ok := all["events"].(map[string]any)
	switch {
	case !ok || len(events) == 0:
		return nil, event.Refuse(event.Missing, "events", "The token holds no event. The claim events is an object with a member for each event.")
	case len(events) > MaxEvents:
		return nil, event.Refuse(event.TooMany, "events", "The token holds too many events. Send several tokens.")
	}
	out := make(map[string]map[string]any, len(events))
	for name, value := range events {
		payload, ok := value.(map[string]any)
		if !ok {
			return nil, event.Refuse(event.Invalid, "events", "The payload of an event must be a JSON object.")
		}
		out[name] = payload
	}
	return out, nil
}

// fact is one event of the token. understood is false for what is no event
// about a person, and for events of kinds that nobody has told us of.
func (h head) fact(name string, payload map[string]any, several bool) (f Fact, understood bool, problem *event.Problem) {
	meaning, known := meaningOf(name)
	if !known {
		return Fact{}, false, nil
	}
	who, problem := h.who(payload)
	if problem != nil {
		return Fact{}, false, problem
	}
	if who.isGroup() {
		return Fact{}, false, nil
	}
	said, problem := meaning.read(payload)
	if problem != nil {
		return Fact{}, false, problem
	}
	at, problem := instant(payload, "event_timestamp")
	if problem != nil {
		return Fact{}, false, problem
	}
	if at.IsZero() {
		at = h.at
	}
	e := event.Event{
		ID: h.id, Source: h.issuer, SpecVersion: event.SpecVersion, Type: name, Subject: who.name(), Time: at,
		Extensions: h.extensions(payload, said), Data: h.data(payload, who, said),
	}
	if several {
		e.ID += "#" + name
	}
	return Fact{Event: e, Acts: said.acts}, true, nil
}

func (h head) data(payload map[string]any, who subject, said statement) map[string]any {
	data := map[string]any{
		"kind": said.kind, "sub_id": who.sent, "person": who.person,
		"attributes": said.attributes, "payload": payload,
	}
	if h.transaction != "" {
		data["txn"] = h.transaction
	}
	if len(said.unread) > 0 {
		data["unread"] = said.unread
	}
	return data
}

// extensions are the attributes of CloudEvents that stand for what the token
// says besides: the lane, whether it is the whole person, and who is behind it.
func (h head) extensions(payload map[string]any, said statement) map[string]string {
	out := map[string]string{
		"requestid": h.transaction,
		"actor":     short(payload["initiating_entity"]),
		"reason":    reasonOf(payload),
	}
	if said.urgent {
		out["joineryurgent"] = "true"
	}
	if said.full {
		out["joineryfull"] = "true"
	}
	maps.DeleteFunc(out, func(_, value string) bool { return value == "" })
	if len(out) == 0 {
		return nil
	}
	return out
}

// reasonOf is why, for the audit trail: reason of RISC, or reason_admin of CAEP,
// which is a text or one for each language, English first.
func reasonOf(payload map[string]any) string {
	if reason := short(payload["reason"]); reason != "" {
		return reason
	}
	byLanguage, ok := payload["reason_admin"].(map[string]any)
	if !ok {
		return short(payload["reason_admin"])
	}
	if english := short(byLanguage["en"]); english != "" {
		return english
	}
	for _, language := range slices.Sorted(maps.Keys(byLanguage)) {
		if reason := short(byLanguage[language]); reason != "" {
			return reason
		}
	}
	return ""
}

// short is a text for the audit trail, or "" where it is none that can be shown.
func short(v any) string {
	s, _ := v.(string)
	if s = strings.TrimSpace(s); len(s) > maxText || !event.Printable(s) {
		return ""
	}
	return s
}
