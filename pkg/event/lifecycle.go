package event

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// maxKey is the length of an identity key in bytes.
const maxKey = 512

// Rules read the events of one source, given as Event.Values. Where ok is false
// the source has no such rule, and the event speaks for itself.
type Rules interface {
	// Key is the immutable key of the person.
	Key(event map[string]any) (key string, err error)
	// Kind is what happened ("joined"); else the event's type says it.
	Kind(event map[string]any) (kind string, ok bool, err error)
	// Attributes is what is said of the person, null for what is cleared; else
	// the event's data says it.
	Attributes(event map[string]any) (attributes map[string]any, ok bool, err error)
	// Course is what rules give in the place of the attributes effectivetime,
	// timezone, employment, rescinds and formerkey, by their names.
	Course(event map[string]any) (map[string]string, error)
}

// Source is what must be known of a configured source to understand its events.
type Source struct {
	// Name is the configured name, never what a sender claims.
	Name  string
	Rules Rules
	// KeyField is the field that Rules.Key reads ("data.employee_id"), to name it
	// where it is missing; "" means "data".
	KeyField string
}

// Interpret is the canonical form of e, which the source sent and Joinery
// received at the given time. It fails with a *Problem.
func (s Source) Interpret(e Event, received time.Time) (*joineryv1.LifecycleEvent, error) {
	out, problem := s.interpret(e, received)
	if problem != nil {
		return nil, problem
	}
	return out, nil
}

func (s Source) interpret(e Event, received time.Time) (*joineryv1.LifecycleEvent, *Problem) {
	values := e.Values()
	kind, problem := s.kind(e.Type, values)
	if problem != nil {
		return nil, problem
	}
	data, problem := object(e.Data, "data")
	if problem != nil {
		return nil, problem
	}
	out := &joineryv1.LifecycleEvent{
		Id: IDOf(s.Name, e.ID), Source: s.Name, SourceEventId: e.ID, SourceUri: e.Source,
		Type: e.Type, Subject: e.Subject, DataSchema: e.DataSchema, SpecVersion: e.SpecVersion,
		DataContentType: e.DataContentType, Kind: kind,
		ReceivedAt: timestamppb.New(received), OccurredAt: timestamppb.New(received),
	}
	if !e.Time.IsZero() {
		out.OccurredAt = timestamppb.New(e.Time)
	}
	for _, step := range []func() *Problem{
		func() *Problem { return s.key(out, values) },
		func() *Problem { return s.extensions(out, e.Extensions, values) },
		func() *Problem { return particulars(out, data) },
		func() *Problem { return s.attributes(out, data, values) },
	} {
		if problem := step(); problem != nil {
			return nil, problem
		}
	}
	return out, nil
}

func (s Source) kind(eventType string, values map[string]any) (joineryv1.LifecycleKind, *Problem) {
	name, ruled, err := s.Rules.Kind(values)
	if !ruled {
		return kindOf(eventType)
	}
	if kind, ok := kindNamed(name); ok && err == nil {
		return kind, nil
	}
	return 0, refuse(UnknownKind, "type", "The kind rule of the source makes nothing of this event that Joinery knows. It must give one of: %s.",
		strings.Join(KindNames(), ", "))
}

// key applies the source's rule. Events about a group itself concern no person.
func (s Source) key(out *joineryv1.LifecycleEvent, values map[string]any) *Problem {
	if aboutGroup(out.GetKind()) {
		return nil
	}
	field := s.KeyField
	if field == "" {
		field = "data"
	}
	key, err := s.Rules.Key(values)
	if err != nil || key == "" {
		return refuse(Missing, field, "The event does not say whom it is about: the identity_key rule of the source gives no key. Add the member that it reads.")
	}
	return text(&out.IdentityKey, field, key, maxKey)
}

// attributes applies the source's rule, or else takes what is left of data.
func (s Source) attributes(out *joineryv1.LifecycleEvent, data, values map[string]any) *Problem {
	made, ruled, err := s.Rules.Attributes(values)
	switch {
	case err != nil:
		return refuse(Invalid, "data", "The attributes rule of the source cannot read this event. Add what it reads.")
	case ruled:
		data = maps.Clone(made)
	}
	return attributes(out, data)
}

var plainPath = regexp.MustCompile(`^\s*event((?:\.[A-Za-z_][A-Za-z0-9_]*)+)\s*$`)

// KeyField is the field that an identity_key rule reads where the rule is a
// plain path (event.data.employee_id), and "data" otherwise.
func KeyField(rule string) string {
	if m := plainPath.FindStringSubmatch(rule); m != nil {
		return m[1][1:]
	}
	return "data"
}

var versionSegment = regexp.MustCompile(`^v[0-9]+$`)

// kindOf reads the last segment of a type; a version may follow it.
func kindOf(eventType string) (joineryv1.LifecycleKind, *Problem) {
	segments := strings.Split(eventType, ".")
	if n := len(segments); n > 1 && versionSegment.MatchString(segments[n-1]) {
		segments = segments[:n-1]
	}
	if kind, ok := kindNamed(segments[len(segments)-1]); ok {
		return kind, nil
	}
	return 0, refuse(UnknownKind, "type", "The last segment of the type says nothing that Joinery knows. End the type with one of: %s.",
		strings.Join(KindNames(), ", "))
}

func kindNamed(name string) (joineryv1.LifecycleKind, bool) {
	for _, kind := range kinds() {
		if identity.KindName(kind) == name {
			return kind, true
		}
	}
	return 0, false
}

// KindNames is the last segments that a type may have.
func KindNames() []string {
	var names []string
	for _, kind := range kinds() {
		names = append(names, identity.KindName(kind))
	}
	return names
}

func kinds() []joineryv1.LifecycleKind {
	var out []joineryv1.LifecycleKind
	for _, n := range slices.Sorted(maps.Keys(joineryv1.LifecycleKind_name)) {
		if n != 0 {
			out = append(out, joineryv1.LifecycleKind(n))
		}
	}
	return out
}

func (s Source) extensions(out *joineryv1.LifecycleEvent, ext map[string]string, values map[string]any) *Problem {
	ext, problem := s.course(ext, values)
	if problem != nil {
		return problem
	}
	for _, name := range slices.Sorted(maps.Keys(ext)) {
		if problem := extension(out, name, ext[name]); problem != nil {
			return problem
		}
	}
	return effective(out, ext["effectivetime"])
}

func extension(out *joineryv1.LifecycleEvent, name, value string) *Problem {
	switch name {
	case "sequence":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return refuse(Invalid, name, `The attribute "sequence" must be a decimal integer.`)
		}
		out.SourceVersion = n
	case "timezone":
		out.TimeZone = value
		if !zoneName.MatchString(value) {
			return refuse(Invalid, name, `The attribute "timezone" must be the IANA name of a time zone, such as "Europe/Berlin".`)
		}
	case "rescinds":
		out.Rescinds = rescinded(out.GetSource(), value)
	case "employment":
		return text(&out.Employment, name, value, maxEmployment)
	case "formerkey":
		return text(&out.FormerKey, name, value, maxKey)
	case "joineryfull":
		return flag(&out.Full, name, value)
	case "joineryurgent":
		return flag(&out.Urgent, name, value)
	case "actor":
		trigger(out).Actor = value
	case "requestid":
		trigger(out).RequestId = value
	case "approver":
		trigger(out).Approver = value
	case "reason":
		trigger(out).Reason = value
	}
	return nil
}

var zoneName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+/-]{0,63}$`)

func flag(out *bool, name, value string) *Problem {
	if value != "true" && value != "false" {
		return refuse(Invalid, name, "The attribute %q must be true or false.", name)
	}
	*out = value == "true"
	return nil
}

func trigger(out *joineryv1.LifecycleEvent) *joineryv1.Trigger {
	if out.Trigger == nil {
		out.Trigger = &joineryv1.Trigger{}
	}
	return out.Trigger
}

// attributes takes what is said of the person: a null clears, the rest is set.
func attributes(out *joineryv1.LifecycleEvent, data map[string]any) *Problem {
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if data[name] == nil {
			out.Cleared = append(out.Cleared, name)
			delete(data, name)
		}
	}
	if out.GetFull() && len(data) == 0 {
		return refuse(Missing, "data", "The event claims to be the whole person (joineryfull) but sets no attribute, which would clear everything. "+
			"Send the attributes, or leave joineryfull out.")
	}
	if len(data) == 0 {
		return nil
	}
	values, err := structpb.NewStruct(data)
	if err != nil {
		return refuse(Invalid, "data", "The data holds a value that cannot be carried.")
	}
	out.Attributes = values
	return nil
}

// object is a value as a JSON object of its own, so that members can be taken
// out of it; absent is the empty object.
func object(v any, field string) (map[string]any, *Problem) {
	if v == nil {
		return map[string]any{}, nil
	}
	members, ok := v.(map[string]any)
	if !ok {
		return nil, refuse(Invalid, field, "%s must be a JSON object.", field)
	}
	return maps.Clone(members), nil
}

// FromLifecycle is the CloudEvent that a canonical event stands for: Interpret
// of it gives the same event again. The time of acceptance is not part of it.
func FromLifecycle(in *joineryv1.LifecycleEvent) Event {
	e := Event{
		ID: in.GetSourceEventId(), Source: in.GetSourceUri(), SpecVersion: in.GetSpecVersion(), Type: in.GetType(),
		Subject: in.GetSubject(), Time: in.GetOccurredAt().AsTime(),
		DataSchema: in.GetDataSchema(), DataContentType: in.GetDataContentType(),
		Extensions: extensionsOf(in),
	}
	if data := dataOf(in); len(data) > 0 {
		e.Data = data
	}
	return e
}

func extensionsOf(in *joineryv1.LifecycleEvent) map[string]string {
	out := map[string]string{
		"timezone": in.GetTimeZone(), "actor": in.GetTrigger().GetActor(), "requestid": in.GetTrigger().GetRequestId(),
		"approver": in.GetTrigger().GetApprover(), "reason": in.GetTrigger().GetReason(),
		"rescinds": in.GetRescinds(), "employment": in.GetEmployment(), "formerkey": in.GetFormerKey(),
	}
	if in.GetEffectiveAt() != nil {
		out["effectivetime"] = in.GetEffectiveAt().AsTime().Format(time.RFC3339Nano)
	}
	if in.GetSourceVersion() != 0 {
		out["sequence"] = fmt.Sprint(in.GetSourceVersion())
	}
	if in.GetFull() {
		out["joineryfull"] = "true"
	}
	if in.GetUrgent() {
		out["joineryurgent"] = "true"
	}
	maps.DeleteFunc(out, func(_, value string) bool { return value == "" })
	if len(out) == 0 {
		return nil
	}
	return out
}

func dataOf(in *joineryv1.LifecycleEvent) map[string]any {
	data := in.GetAttributes().AsMap()
	for _, name := range in.GetCleared() {
		data[name] = nil
	}
	if g := in.GetGrant(); g != nil {
		data["grant"] = grantData(g)
	}
	if g := in.GetGroup(); g != nil {
		data["group"] = groupData(g)
	}
	return data
}
