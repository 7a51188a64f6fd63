package event

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Code classifies refusals; a metric label and a log field.
type Code string

// The codes.
const (
	Syntax       Code = "syntax"        // not JSON, or not the JSON of an event
	DuplicateKey Code = "duplicate_key" // one member named twice, in whatever case
	TooDeep      Code = "too_deep"
	TooMany      Code = "too_many"
	TooLong      Code = "too_long"
	BadNumber    Code = "number" // cannot be carried without changing it
	Missing      Code = "missing"
	Invalid      Code = "invalid"
	UnknownKind  Code = "unknown_kind"
)

// Problem is why an event is refused, for the one who sent it.
type Problem struct {
	Code Code
	// Field is where: "type", "data.employee_id", "events[3].id". Empty means
	// the document as a whole.
	Field string
	// Detail is a sentence saying what is wrong and what to do. It repeats no
	// value of the event.
	Detail string
}

// Error names the code and the attribute.
func (p *Problem) Error() string {
	if p.Attribute() == "" {
		return "read event: " + string(p.Code)
	}
	return "read event: " + p.Attribute() + ": " + string(p.Code)
}

// place takes a field apart: where the event is, and its attribute.
var place = regexp.MustCompile(`^(events\[[0-9]+\])?\.?([a-z0-9_]*)`)

// Attribute is Field as far as it is fit for logs. It leaves out what lies below
// data, and names that are no attribute's: those are the sender's own and may be
// personal.
func (p *Problem) Attribute() string {
	m := place.FindStringSubmatch(p.Field)
	name := m[2]
	if name != "" && name != "data" && name != "data_base64" && !specified[name] && !extended[name] {
		name = "other"
	}
	return join(m[1], name)
}

// Problems is everything that is wrong with a batch, at most MaxProblems.
type Problems []*Problem

// MaxProblems bounds how many events of a batch are reported at once: enough to
// see a pattern, little enough to read.
const MaxProblems = 20

// Error is the first problem and how many more there are.
func (ps Problems) Error() string {
	if len(ps) == 1 {
		return ps[0].Error()
	}
	return fmt.Sprintf("%s (and %d more)", ps[0].Error(), len(ps)-1)
}

// ProblemsOf is the problems in err's chain, or nil where err is no refusal.
func ProblemsOf(err error) Problems {
	var many Problems
	if errors.As(err, &many) {
		return many
	}
	var one *Problem
	if errors.As(err, &one) {
		return Problems{one}
	}
	return nil
}

func refuse(code Code, field, detail string, args ...any) *Problem {
	return &Problem{Code: code, Field: field, Detail: fmt.Sprintf(detail, args...)}
}

// At is the problem as seen from the document around the event: At("events[3]").
func (p *Problem) At(root string) *Problem {
	return &Problem{Code: p.Code, Field: join(root, p.Field), Detail: p.Detail}
}

func join(root, field string) string {
	switch {
	case root == "":
		return field
	case field == "" || strings.HasPrefix(field, "["):
		return root + field
	default:
		return root + "." + field
	}
}
