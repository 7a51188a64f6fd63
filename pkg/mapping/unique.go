package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The bounds of what is proposed for one attribute.
const (
	// maxUnique is how many candidates a rule names.
	maxUnique = 16
	// maxCounter is how far a rule counts: each number asked for is a question to
	// the store of names.
	maxCounter = 999
	// maxName is how long a candidate is, in characters; longer ones are left out.
	// Directories end at 256.
	maxName = 256
)

// Proposal is an attribute whose value nobody else in the target may have.
type Proposal struct {
	// Path is the attribute, and Rule what makes it ("users[0]").
	Path, Rule string
	// Candidates are different from each other, the best first; never empty.
	Candidates []Candidate
}

// Candidate is one value that a person could get.
type Candidate struct {
	Value string
	// Why says what made it, as Result.Rules has it.
	Why string
}

// ErrTaken is why a proposal fails: other people have all of its candidates.
var ErrTaken = errors.New("other people have every candidate")

// Failed is the *RuleError of a proposal of which nothing could be had.
func (p Proposal) Failed(target string, why error) error {
	return &RuleError{Target: target, Rule: p.Rule, Path: p.Path, Reason: why.Error(), cause: why}
}

// Take gives an attribute one of its candidates.
func (r *Result) Take(p Proposal, c Candidate) error {
	r.Rules[p.Path] = c.Why
	if err := r.Resource.Set(p.Path, c.Value); err != nil {
		return fmt.Errorf("write %s: %w", p.Path, err)
	}
	return nil
}

// takeFirst gives every attribute its best candidate.
func (r *Result) takeFirst() error {
	for _, p := range r.Proposals {
		if err := r.Take(p, p.Candidates[0]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Result) proposes(path string) bool {
	return slices.ContainsFunc(r.Proposals, func(p Proposal) bool { return p.Path == path })
}

func (r *rule) compileUnique(people *language, spec Rule) (problems []Problem) {
	wrong := func(field, message string) {
		problems = append(problems, Problem{Field: r.name + field, Message: message})
	}
	switch {
	case spec.From != "":
		wrong(".from", "a rule has from or unique, not both")
	case spec.Ref != "":
		wrong(".ref", "what refers to a person cannot be unique")
	case len(spec.Unique) > maxUnique:
		wrong(".unique", fmt.Sprintf("there are more than %d candidates", maxUnique))
	case spec.Counter < 0 || spec.Counter == 1 || spec.Counter > maxCounter:
		wrong(".counter", fmt.Sprintf("the counter begins at 2: write 2 to %d", maxCounter))
	case r.to.list || r.to.kind != "string" && r.to.kind != "":
		wrong(".to", fmt.Sprintf("%s is not a text, and only a text can be made unique", r.to))
	}
	r.counter = spec.Counter
	r.why = r.name + " unique"
	for i, text := range spec.Unique {
		candidate, found := people.compile(fmt.Sprintf("%s.unique[%d]", r.name, i), text, r.to.accepts(false)...)
		problems = append(problems, found...)
		r.unique = append(r.unique, candidate)
	}
	return problems
}

// propose adds the candidates to the result. What gives nothing for the person
// is no candidate, and without any the attribute is absent.
func (r rule) propose(values map[string]any, result *Result) error {
	p := Proposal{Path: r.to.String(), Rule: r.name}
	for i, candidate := range r.unique {
		v, err := candidate.eval("identity", values)
		if err != nil {
			return err
		}
		if v == nil {
			continue
		}
		made, err := text(v)
		if err != nil {
			return err
		}
		name, _ := made.(string)
		p.add(name, fmt.Sprintf("%s.unique[%d] %s", r.name, i, candidate.text))
	}
	if len(p.Candidates) == 0 {
		return r.omit(result)
	}
	last := p.Candidates[len(p.Candidates)-1]
	for n := 2; n <= r.counter; n++ {
		p.add(numbered(last.Value, n), last.Why+" with a number")
	}
	result.Proposals = append(result.Proposals, p)
	return nil
}

// add notes a candidate, once.
func (p *Proposal) add(value, why string) {
	known := slices.ContainsFunc(p.Candidates, func(c Candidate) bool { return c.Value == value })
	if value == "" || known || utf8.RuneCountInString(value) > maxName {
		return
	}
	p.Candidates = append(p.Candidates, Candidate{Value: value, Why: why})
}

// numbered is a name with a number: "ann.lee2", "ann.lee2@example.com".
func numbered(name string, n int) string {
	at := strings.LastIndexByte(name, '@')
	if at < 0 {
		at = len(name)
	}
	return name[:at] + strconv.Itoa(n) + name[at:]
}
