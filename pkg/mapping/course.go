package mapping

import (
	"time"

	"cel.dev/cel-go/cel"
)

// CourseSpec is how a source tells of the course of a life, as it is written:
// expressions over event. An empty one leaves it to the event's own attribute, and
// so does one that gives nothing for an event.
type CourseSpec struct {
	// Effective gives from when the event holds: a time, or a date (attribute
	// effectivetime).
	Effective string
	// TimeZone gives the IANA name of the zone in which dates are meant (timezone).
	TimeZone string
	// Employment gives which of several employments is meant (employment).
	Employment string
	// Rescinds gives what a rescission takes back (rescinds).
	Rescinds string
	// FormerKey gives the key that the person had before (formerkey).
	FormerKey string
}

// course is a compiled CourseSpec: the rules by the attribute they stand for.
type course map[string]*expression

func compileCourse(spec CourseSpec, compile func(field, text string, wanted ...*cel.Type) *expression) course {
	out := course{}
	for _, rule := range []struct{ field, attribute, text string }{
		{"effective", "effectivetime", spec.Effective},
		{"time_zone", "timezone", spec.TimeZone},
		{"employment", "employment", spec.Employment},
		{"rescinds", "rescinds", spec.Rescinds},
		{"former_key", "formerkey", spec.FormerKey},
	} {
		wanted := []*cel.Type{cel.StringType}
		if rule.field == "effective" {
			wanted = append(wanted, cel.TimestampType)
		}
		if compiled := compile(rule.field, rule.text, wanted...); compiled != nil {
			out[rule.attribute] = compiled
		}
	}
	return out
}

// Course is what the source's rules say of when, where and of which employment an
// event is meant, by the attribute of the event that each rule stands for; what
// they leave open is missing. The error is a *RuleError.
func (s *Source) Course(event map[string]any) (map[string]string, error) {
	var out map[string]string
	for attribute, rule := range s.course {
		v, err := rule.eval("event", event)
		if err != nil {
			return nil, ruleError(attribute, err)
		}
		if v == nil {
			continue
		}
		text := ""
		switch v := v.Value().(type) {
		case string:
			text = v
		case time.Time:
			text = v.Format(time.RFC3339Nano)
		default:
			return nil, ruleError(attribute, errNotText)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[attribute] = text
	}
	return out, nil
}
