// Package mapping owns the rules that turn a person into accounts: who has one
// in a target, what it looks like, and how a source's events are read. Rules are
// CEL expressions, compiled and type-checked when they are loaded; evaluating
// them is deterministic, bounded and total.
//
// Values can be set, cleared and left alone:
//
//	a rule's expression gives          the desired resource        the account then
//	a value                            has the attribute           shows it
//	nothing: what it reads is missing  lacks the attribute         loses it, if Joinery sent it before
//	null, or an empty list             lacks the attribute         likewise
//	(there is no rule)                 lacks the attribute         keeps what it has
//	an error                           is not made                 keeps what it has; a case is opened
//
// The package knows no files: a problem names the rule, and whoever read the
// rule knows where it stands.
package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"github.com/joinery/joinery/pkg/scim"
)

// Spec is the mapping of one target, as it is written.
type Spec struct {
	// Target names the target in errors.
	Target string `json:"target"`
	// Assign says who has an account: an expression over identity.
	Assign string `json:"assign"`
	// Users says what an account looks like.
	Users []Rule `json:"users"`
	// Groups says which groups exist in the target.
	Groups []GroupRule `json:"groups"`
	// Tests are the author's own examples; they do not change the mapping.
	Tests []Test `json:"-"`
}

// Rule gives one attribute its value.
type Rule struct {
	// To is the SCIM path that is written. Attributes of the enterprise extension
	// may be named without its URN.
	To string `json:"to"`
	// From is an expression over identity.
	From string `json:"from"`
	// Ref is "identity" where From gives the key of another person, whose account
	// in the same target is meant; else "".
	Ref string `json:"ref,omitempty"`
}

// GroupRule makes one group of the target from each group for which When holds.
type GroupRule struct {
	// DisplayName and When are expressions over group. An empty When always holds.
	DisplayName string `json:"display_name"`
	When        string `json:"when,omitempty"`
}

// refIdentity is the one kind of reference.
const refIdentity = "identity"

// Problem is one thing wrong with a Spec.
type Problem struct {
	// Field is where: "assign", "users[2].from", "users".
	Field string
	// Line and Column are the place within the field's expression, from 1; 0 where
	// the whole field is meant.
	Line, Column int
	// Message says what is wrong and, where possible, what to do.
	Message string
}

// String is the problem on one line.
func (p Problem) String() string { return p.Field + ": " + p.Message }

// Mapping is a compiled Spec. It is safe for concurrent use.
type Mapping struct {
	// Version changes whenever the rules do, and with nothing else.
	Version string

	target string
	assign *expression
	users  []rule
	groups []groupRule
	tests  []Test
}

// rule is a compiled Rule.
type rule struct {
	name string // "users[2]"
	why  string // "users[2] identity.email"
	to   destination
	ref  bool
	from *expression
}

type groupRule struct {
	name, when *expression
}

// Compile checks a Spec. It finds every problem, and gives a Mapping only where
// there is none.
func Compile(spec Spec) (*Mapping, []Problem) {
	people, err := newLanguage("identity")
	if err != nil {
		return nil, []Problem{{Field: "assign", Message: err.Error()}}
	}
	m := &Mapping{Version: versionOf(spec), target: spec.Target, tests: spec.Tests}
	var problems, found []Problem
	if spec.Assign == "" {
		found = []Problem{{Field: "assign", Message: "assign is missing: say who has an account, as in assign: identity.active"}}
	} else {
		m.assign, found = people.compile("assign", spec.Assign, cel.BoolType)
	}
	problems = append(problems, found...)
	m.users, found = compileUsers(people, spec.Users)
	problems = append(problems, found...)
	m.groups, found = compileGroups(spec.Groups)
	problems = append(problems, found...)
	problems = append(problems, checkTests(spec.Tests)...)
	if len(problems) > 0 {
		return nil, problems
	}
	return m, nil
}

func versionOf(spec Spec) string {
	// A Spec is made of texts: encoding cannot fail.
	data, _ := json.Marshal(spec)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

func compileUsers(people *language, specs []Rule) (rules []rule, problems []Problem) {
	taken := map[string]string{}
	named := false
	for i, spec := range specs {
		r := rule{name: fmt.Sprintf("users[%d]", i), ref: spec.Ref == refIdentity}
		r.why = r.name + " " + strings.TrimSpace(spec.From)
		if spec.Ref != "" && !r.ref {
			problems = append(problems, Problem{Field: r.name + ".ref", Message: fmt.Sprintf("%q cannot be referred to: the one kind of reference is identity", spec.Ref)})
		}
		to, wrong := destinationOf(spec.To, r.ref)
		if wrong != "" {
			problems = append(problems, Problem{Field: r.name + ".to", Message: wrong})
		} else {
			problems = append(problems, to.claim(taken, r.name)...)
			named = named || to.String() == "userName"
		}
		var found []Problem
		r.to = to
		r.from, found = people.compile(r.name+".from", spec.From, to.accepts(r.ref)...)
		problems = append(problems, found...)
		rules = append(rules, r)
	}
	if !named {
		problems = append(problems, Problem{Field: "users", Message: "no rule writes userName, which every SCIM account must have"})
	}
	return rules, problems
}

func compileGroups(specs []GroupRule) (rules []groupRule, problems []Problem) {
	if len(specs) == 0 {
		return nil, nil
	}
	groups, err := newLanguage("group")
	if err != nil {
		return nil, []Problem{{Field: "groups", Message: err.Error()}}
	}
	for i, spec := range specs {
		field := fmt.Sprintf("groups[%d]", i)
		name, found := groups.compile(field+".displayName", spec.DisplayName, cel.StringType)
		problems = append(problems, found...)
		when := spec.When
		if when == "" {
			when = "true"
		}
		condition, found := groups.compile(field+".when", when, cel.BoolType)
		problems = append(problems, found...)
		rules = append(rules, groupRule{name: name, when: condition})
	}
	return rules, problems
}

// Person is whom a mapping is asked about.
type Person struct {
	// Key is the immutable key that the source gave.
	Key string
	// Active tells whether the person is employed and at work.
	Active bool
	// State is where they stand: active, on_leave, terminated ...
	State string
	// Attributes hold what sources said: nil, bool, string, float64, []any or
	// map[string]any. Null is the same as absent.
	Attributes map[string]any
}

// values is the person as expressions see them. Key, active and state hide
// attributes of the same names.
func (p Person) values() map[string]any {
	values := withoutNulls(p.Attributes)
	values["key"], values["active"], values["state"] = p.Key, p.Active, p.State
	return values
}

// withoutNulls is a copy in which no key has a null, at any depth.
func withoutNulls(from map[string]any) map[string]any {
	out := make(map[string]any, len(from)+3)
	for name, v := range from {
		if v = pruned(v); v != nil {
			out[name] = v
		}
	}
	return out
}

func pruned(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return withoutNulls(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = pruned(e)
		}
		return out
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	default:
		return v
	}
}

// Result is what a mapping says of a person.
type Result struct {
	// Assigned tells whether the person has an account; if not, the rest is empty.
	Assigned bool
	// Resource holds the attributes that Joinery manages.
	Resource scim.Resource
	// Rules says what made each attribute: its path and "users[2] identity.email".
	Rules map[string]string
	// References holds, by the path where its id in the target belongs, the key of
	// another person. They are not in Resource.
	References map[string]string
}

// RuleError is a rule that fails for a person. Its text names the rule and what
// it should have made, never a value.
type RuleError struct {
	// Target is the mapping's target, or "".
	Target string
	// Rule is "assign" or "users[2]".
	Rule string
	// Path is the attribute that the rule makes, or "".
	Path string
	// Reason is one of a few fixed texts.
	Reason string

	cause error
}

// Error names target, rule, attribute and reason.
func (e *RuleError) Error() string {
	text := e.Rule
	if e.Target != "" {
		text = e.Target + " " + text
	}
	if e.Path != "" {
		text += " cannot make " + e.Path
	}
	return text + ": " + e.Reason
}

func (m *Mapping) failure(rule, path string, err error) error {
	return &RuleError{Target: m.target, Rule: rule, Path: path, Reason: err.Error(), cause: err}
}

// Desired is what the target should show for a person. The same person and
// mapping always give the same result. A failing rule is a *RuleError.
func (m *Mapping) Desired(p Person) (Result, error) {
	values := p.values()
	assigned, err := m.assigned(values)
	if err != nil || !assigned {
		return Result{}, err
	}
	r, err := m.account(values)
	if err != nil {
		return Result{}, err
	}
	if name := r.Resource.UserName(); name == "" {
		return Result{}, &RuleError{
			Target: m.target, Rule: "users", Path: "userName",
			Reason: "it has no value for this person, and every SCIM account must have one",
		}
	}
	return r, nil
}

// assigned tells whether the person has an account; a missing attribute means no.
func (m *Mapping) assigned(values map[string]any) (bool, error) {
	v, err := m.assign.eval("identity", values)
	if err != nil {
		return false, m.failure("assign", "", err)
	}
	if v == nil {
		return false, nil
	}
	yes, ok := v.Value().(bool)
	if !ok {
		return false, m.failure("assign", "", errNotBool)
	}
	return yes, nil
}

// account is the result of all rules, whether or not the person is assigned.
func (m *Mapping) account(values map[string]any) (Result, error) {
	r := Result{Assigned: true, Resource: scim.Resource{}, Rules: map[string]string{}, References: map[string]string{}}
	for _, rule := range m.users {
		if err := rule.apply(values, &r); err != nil {
			return Result{}, m.failure(rule.name, rule.to.String(), err)
		}
	}
	if _, said := r.Resource.Active(); !said {
		r.Resource["active"] = true
		r.Rules["active"] = "assign"
	}
	return r, nil
}

// apply adds what the rule makes to the result.
func (r rule) apply(values map[string]any, result *Result) error {
	v, err := r.from.eval("identity", values)
	if err != nil || v == nil {
		return err
	}
	made, err := r.to.convert(v)
	if err != nil || made == nil {
		return err
	}
	path := r.to.String()
	result.Rules[path] = r.why
	if r.ref {
		result.References[path], _ = made.(string)
		return nil
	}
	return result.Resource.Set(path, made)
}

// Group is what group rules are asked about.
type Group struct {
	// Key is the immutable key in the source, Name the name there, and Kind a word
	// that the source chose ("team").
	Key, Name, Kind string
}

// GroupNames are the names of the groups that a source's group becomes in the
// target, without repetition, in the order of the rules.
func (m *Mapping) GroupNames(g Group) ([]string, error) {
	values := map[string]any{"key": g.Key, "name": g.Name, "kind": g.Kind}
	var names []string
	for i, rule := range m.groups {
		name, err := rule.nameOf(values)
		if err != nil {
			return nil, m.failure(fmt.Sprintf("groups[%d]", i), "displayName", err)
		}
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (r groupRule) nameOf(values map[string]any) (string, error) {
	wanted, err := r.when.eval("group", values)
	if err != nil || wanted == nil || wanted.Value() != true {
		return "", err
	}
	name, err := r.name.eval("group", values)
	if err != nil || name == nil {
		return "", err
	}
	text, ok := name.Value().(string)
	if !ok {
		return "", errNotText
	}
	return text, nil
}
