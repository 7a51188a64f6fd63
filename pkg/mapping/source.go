package mapping

import (
	"errors"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
)

// SourceSpec is how the events of one source are read, as it is written. The
// expressions see the event as the variable event: its CloudEvents attributes
// (event.id, event.source, event.type, event.subject, event.time, extensions)
// and event.data.
type SourceSpec struct {
	// IdentityKey gives the immutable key of the person; it is required.
	IdentityKey string
	// Kind gives what happened ("joined"). Empty leaves it to the event's type.
	Kind string
	// Attributes gives a map of what the event says of the person. Empty leaves it
	// to the event's data.
	Attributes string
	// Course gives when, where and of which employment an event is meant.
	Course CourseSpec
}

// Source reads events. It is safe for concurrent use.
type Source struct {
	key, kind, attributes *expression
	course                course
}

// CompileSource checks a SourceSpec. It finds every problem, and gives a Source
// only where there is none.
func CompileSource(spec SourceSpec) (*Source, []Problem) {
	events, err := newLanguage("event")
	if err != nil {
		return nil, []Problem{{Field: "identity_key", Message: err.Error()}}
	}
	var problems []Problem
	compile := func(field, text string, wanted ...*cel.Type) *expression {
		if text == "" {
			return nil
		}
		compiled, found := events.compile(field, text, wanted...)
		problems = append(problems, found...)
		return compiled
	}
	if spec.IdentityKey == "" {
		problems = append(problems, Problem{Field: "identity_key", Message: "identity_key is missing: say what identifies a person for ever, as in identity_key: event.data.employee_id"})
	}
	s := &Source{
		key:        compile("identity_key", spec.IdentityKey, cel.StringType, cel.IntType, cel.UintType, cel.DoubleType),
		kind:       compile("kind", spec.Kind, cel.StringType),
		attributes: compile("attributes", spec.Attributes, cel.MapType(cel.StringType, cel.DynType)),
		course:     compileCourse(spec.Course, compile),
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return s, nil
}

// errNoValue is why a rule fails for an event that lacks what the rule reads.
var errNoValue = errors.New("the event has no value for it")

// Key is the key of the person that an event is about, never empty. Numbers
// become their digits. The error is a *RuleError.
func (s *Source) Key(event map[string]any) (string, error) {
	v, err := evaluate(s.key, event)
	if err != nil {
		return "", ruleError("identity_key", err)
	}
	key, err := text(v)
	if err != nil {
		return "", ruleError("identity_key", err)
	}
	if key == "" {
		return "", ruleError("identity_key", errNoValue)
	}
	return key.(string), nil
}

// Kind is what happened, by the source's rule; ok is false where there is no
// rule, so that the event's type decides. The error is a *RuleError.
func (s *Source) Kind(event map[string]any) (kind string, ok bool, err error) {
	if s.kind == nil {
		return "", false, nil
	}
	v, err := evaluate(s.kind, event)
	if err != nil {
		return "", true, ruleError("kind", err)
	}
	kind, isText := v.Value().(string)
	if !isText {
		return "", true, ruleError("kind", errNotText)
	}
	return kind, true, nil
}

// Attributes is what an event says of the person, by the source's rule; ok is
// false where there is no rule, so that the event's data says it. A null clears
// an attribute. The error is a *RuleError.
func (s *Source) Attributes(event map[string]any) (attributes map[string]any, ok bool, err error) {
	if s.attributes == nil {
		return nil, false, nil
	}
	v, err := evaluate(s.attributes, event)
	if err != nil {
		return nil, true, ruleError("attributes", err)
	}
	made, err := plain(v)
	if err != nil {
		return nil, true, ruleError("attributes", err)
	}
	attributes, isMap := made.(map[string]any)
	if !isMap {
		return nil, true, ruleError("attributes", errNotMapping)
	}
	return attributes, true, nil
}

var errNotMapping = errors.New("the value is not a map of attributes")

func evaluate(rule *expression, event map[string]any) (ref.Val, error) {
	v, err := rule.eval("event", event)
	if err == nil && v == nil {
		err = errNoValue
	}
	return v, err
}

func ruleError(rule string, err error) error {
	return &RuleError{Rule: rule, Reason: err.Error(), cause: err}
}
