package event

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
)

// MaxBatch is how many events one batch may hold: what the broker takes as one
// atomic write.
const MaxBatch = 1000

// Parse reads one event in structured mode (application/cloudevents+json).
// It fails with a *Problem.
func Parse(data []byte) (Event, error) {
	v, err := document(data)
	if err != nil {
		return Event{}, err
	}
	e, problem := fromJSON(v)
	if problem != nil {
		return Event{}, problem
	}
	return e, nil
}

// ParseBatch reads the events of application/cloudevents-batch+json, in their
// order. It fails with Problems; fields there begin with events[N].
func ParseBatch(data []byte) ([]Event, error) {
	var problems Problems
	var events []Event
	err := elements(data, func(v any, root string) {
		e, problem := fromJSON(v)
		if problem != nil && len(problems) < MaxProblems {
			problems = append(problems, problem.At(root))
		}
		events = append(events, e)
	})
	if err != nil {
		return nil, append(problems, ProblemsOf(err)...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return events, nil
}

// elements calls fn for each element of the array that data is, with the name
// it has in fields. The bounds of an event hold for each element by itself.
func elements(data []byte, fn func(v any, root string)) error {
	r, err := newReader(data)
	if err != nil {
		return err
	}
	if open, err := r.dec.Token(); err != nil || open != json.Delim('[') {
		return refuse(Syntax, "", "A batch is a JSON array of events. Send one, or send a single event as application/cloudevents+json.")
	}
	for n := 0; r.dec.More(); n++ {
		root := "events" + index(n)
		if n == MaxBatch {
			return refuse(TooMany, root, "The batch holds more than %d events. Send several batches.", MaxBatch)
		}
		r.path, r.nodes = []string{root}, 0
		v, err := r.value()
		if err != nil {
			return err
		}
		fn(v, root)
	}
	r.path = nil
	if _, err := r.dec.Token(); err != nil {
		return r.syntax(err)
	}
	return r.end()
}

func fromJSON(v any) (Event, *Problem) {
	members, ok := v.(map[string]any)
	if !ok {
		return Event{}, refuse(Syntax, "", "An event is a JSON object.")
	}
	b := newBuilder()
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if name == "data" || name == "data_base64" {
			continue
		}
		if problem := b.member(name, members[name]); problem != nil {
			return Event{}, problem
		}
	}
	e, problem := b.done()
	if problem != nil {
		return Event{}, problem
	}
	e.Data, problem = payload(members)
	return e, problem
}

// member takes an attribute as JSON gives it: null is absent, the attributes of
// the specification are strings, extensions may be booleans and integers too.
func (b *builder) member(name string, v any) *Problem {
	if v == nil {
		return nil
	}
	_, isString := v.(string)
	value, ok := canonical(v)
	if !ok || (specified[name] && !isString) {
		return refuse(Invalid, shown(name), "The attribute %s must be a string.", shown(name))
	}
	return b.set(name, value)
}

// payload is the event's data: given as JSON, or as JSON inside base64.
func payload(members map[string]any) (any, *Problem) {
	data, plain := members["data"]
	encoded, binary := members["data_base64"]
	switch {
	case plain && binary:
		return nil, refuse(Invalid, "data_base64", "The event has both data and data_base64. Send one of them.")
	case !binary || encoded == nil:
		return data, nil
	}
	text, ok := encoded.(string)
	raw, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil {
		return nil, refuse(Invalid, "data_base64", "data_base64 is not a string of base64. Send JSON as data instead.")
	}
	v, err := document(raw, "data_base64")
	if err != nil {
		return nil, ProblemsOf(err)[0]
	}
	return v, nil
}

// MarshalJSON is the event in structured mode.
func (e Event) MarshalJSON() ([]byte, error) { return json.Marshal(e.Values()) }
