// Package event owns the formats in which sources speak: it reads CloudEvents
// 1.0 (structured, batch and binary) strictly into an Event, and turns an Event
// into the canonical joineryv1.LifecycleEvent and back. It must not know who
// sent an event, whether that sender may, or where the event is stored.
//
// CloudEvents attributes and the canonical fields correspond one to one:
//
//	CloudEvents               LifecycleEvent       remark
//	id                        source_event_id      unique within the configured source
//	source                    source_uri
//	specversion               spec_version         always 1.0
//	type                      type, kind           kind is its last segment: joined, x.joined, x.joined.v1
//	subject                   subject
//	time                      occurred_at          the time of acceptance where absent
//	dataschema                data_schema
//	datacontenttype           data_content_type    JSON, or absent
//	data, data_base64         attributes, cleared  a null member clears, an absent one leaves alone
//	data.grant                grant                only where access is granted or revoked
//	data.group                group                only for groups and memberships
//	effectivetime (extension) effective_at         RFC 3339, or a date: its beginning, or its end where somebody left
//	sequence                  source_version       a decimal integer
//	timezone                  time_zone            an IANA name
//	employment                employment           which of several, where the source tells them apart
//	formerkey                 former_key           the key that the person had before
//	rescinds                  rescinds             a kind ("left"), or the id of one event
//	joineryfull               full                 "true": data is the whole person
//	joineryurgent             urgent               "true": the urgent lane whatever the kind
//	actor requestid approver  trigger
//	reason
//	traceparent tracestate    (message metadata)   the trace that the event continues
//
// Every event is partial (full is false) unless it says joineryfull, whatever
// its kind, also joined and snapshot: a source that leaves an attribute out never
// clears it by accident. Other extensions can be read by a source's rules and go
// no further.
package event

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"
)

// SpecVersion is the one version of CloudEvents that is spoken.
const SpecVersion = "1.0"

// Event is one CloudEvent, whatever its encoding was.
type Event struct {
	ID              string
	Source          string
	SpecVersion     string
	Type            string
	Subject         string
	Time            time.Time // zero where absent
	DataSchema      string
	DataContentType string
	// Extensions holds every other attribute in the canonical string form of
	// the CloudEvents type system.
	Extensions map[string]string
	// Data is nil, bool, float64, string, []any or map[string]any.
	Data any
}

// Values is the event as rules see it under the name "event": its attributes by
// their CloudEvents names, and data. Absent optional attributes are absent.
func (e Event) Values() map[string]any {
	out := make(map[string]any, 8+len(e.Extensions))
	for name, value := range e.attributes() {
		out[name] = value
	}
	if e.Data != nil {
		out["data"] = e.Data
	}
	return out
}

// attributes is every attribute that is present, in canonical string form.
func (e Event) attributes() map[string]string {
	out := map[string]string{
		"id": e.ID, "source": e.Source, "specversion": e.SpecVersion, "type": e.Type,
		"subject": e.Subject, "dataschema": e.DataSchema, "datacontenttype": e.DataContentType,
	}
	if !e.Time.IsZero() {
		out["time"] = e.Time.Format(time.RFC3339Nano)
	}
	for name, value := range e.Extensions {
		out[name] = value
	}
	for name, value := range out {
		if value == "" {
			delete(out, name)
		}
	}
	return out
}

// IDOf is Joinery's own id of an event: the same for every copy of what the
// configured source calls id, 26 characters of [a-z2-7], safe in subjects, logs
// and metrics. The CloudEvents attribute source takes no part: one configured
// source must not use an id for two different events.
func IDOf(source, id string) string {
	sum := sha256.Sum256([]byte(source + "\x00" + id))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}
