package mapping

import (
	"encoding/json"

	"github.com/joinery/joinery/pkg/scim"
)

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
	// Granted tells that an approval gives the person an account in the target,
	// whether or not assign does.
	Granted bool
	// Grants name the targets in which approvals give an account, Entitlements what
	// approvals give in this target.
	Grants, Entitlements []string
}

// values is the person as expressions see them. Key, active and state hide
// attributes of the same names; so do grants and entitlements, where there are any.
func (p Person) values() map[string]any {
	values := withoutNulls(p.Attributes)
	values["key"], values["active"], values["state"] = p.Key, p.Active, p.State
	granted(values, "grants", p.Grants)
	granted(values, "entitlements", p.Entitlements)
	return values
}

// granted is a list that rules can always read.
func granted(values map[string]any, name string, names []string) {
	if _, said := values[name]; len(names) > 0 || !said {
		list := make([]any, len(names))
		for i, n := range names {
			list[i] = n
		}
		values[name] = list
	}
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
	// ByGrant tells that they have it by an approval alone: assign says no.
	ByGrant bool
	// Resource holds the attributes that Joinery manages.
	Resource scim.Resource
	// Rules says what made each attribute: its path and "users[2] identity.email".
	Rules map[string]string
	// References holds, by the path where its id in the target belongs, the key of
	// another person. They are not in Resource.
	References map[string]string
	// Groups are the names of the groups that rules put the person in, sorted.
	Groups []string
	// Cleared are the paths of attributes that the account must not have, whoever
	// gave them to it, and Left those that stay as they are.
	Cleared, Left []string
	// Proposals are attributes that must differ from everybody else's in the
	// target. They are not in Resource: the caller reserves a candidate of each, and
	// gives it to Take.
	Proposals []Proposal
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
	if err != nil || (!assigned && !p.Granted) {
		return Result{}, err
	}
	r, err := m.account(values)
	if err != nil {
		return Result{}, err
	}
	r.ByGrant = !assigned
	if r.Groups, err = m.madeOf(values); err != nil {
		return Result{}, err
	}
	if name := r.Resource.UserName(); name == "" && !r.proposes("userName") {
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
	if len(r.unique) > 0 {
		return r.propose(values, result)
	}
	v, err := r.from.eval("identity", values)
	if err != nil {
		return err
	}
	if v == nil || r.empty != "" && !says(v) {
		return r.omit(result)
	}
	made, err := r.to.convert(v)
	if err != nil {
		return err
	}
	if made == nil {
		return r.omit(result)
	}
	path := r.to.String()
	result.Rules[path] = r.why
	if r.ref {
		result.References[path], _ = made.(string)
		return nil
	}
	return result.Resource.Set(path, made)
}
