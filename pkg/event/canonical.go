package event

import (
	"encoding/json"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/proto"
)

// IdentityKey is the extension under which rules find the identity_key of an
// event that came as protobuf: identity_key: event.identitykey.
const IdentityKey = "identitykey"

// ParseProto reads one event that a source wrote as a
// joineryv1.LifecycleEvent: the CloudEvent that it stands for, under the same
// bounds and strictness as JSON. What only the door can know (id, source,
// received_at) is not read. Where type is empty, kind says it; spec_version and
// source_uri may be left out. It fails with a *Problem.
func ParseProto(data []byte) (Event, error) {
	var in joineryv1.LifecycleEvent
	if err := proto.Unmarshal(data, &in); err != nil {
		return Event{}, refuse(Syntax, "", "The message is not a joinery.v1.LifecycleEvent.")
	}
	if _, err := in.GetAttributes().MarshalJSON(); err != nil {
		return Event{}, refuse(BadNumber, "data", "The attributes hold a number that is none.")
	}
	if in.GetType() == "" && in.GetKind() != joineryv1.LifecycleKind_LIFECYCLE_KIND_UNSPECIFIED {
		in.Type = identity.KindName(in.GetKind())
	}
	if in.GetSpecVersion() == "" {
		in.SpecVersion = SpecVersion
	}
	if in.GetSourceUri() == "" {
		in.SourceUri = "urn:joinery:protobuf"
	}
	e := FromLifecycle(&in)
	if in.GetOccurredAt() == nil {
		e.Time = time.Time{}
	}
	if key := in.GetIdentityKey(); key != "" {
		if e.Extensions == nil {
			e.Extensions = map[string]string{}
		}
		e.Extensions[IdentityKey] = key
	}
	document, err := json.Marshal(e)
	if err != nil {
		return Event{}, refuse(Syntax, "", "The message holds what JSON cannot say.")
	}
	return Parse(document)
}
