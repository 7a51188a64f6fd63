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
//	either, and empty is clear         names it as cleared         loses it, whoever gave it
//	either, and empty is leave         names it as left            keeps what it has
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
	// Allow are the SCIM paths that rules may write; none allows all. Withheld are,
	// by class, the attributes of people that rules for accounts may not read.
	// Neither changes what the mapping makes.
	Allow    []string            `json:"-"`
	Withheld map[string][]string `json:"-"`
}

// Rule gives one attribute its value.
type Rule struct {
	// To is the SCIM path that is written. Attributes of the enterprise extension
	// may be named without its URN.
	To string `json:"to"`
	// From is an expression over identity; it is empty where Unique is not.
	From string `json:"from"`
	// Ref is "identity" where From gives the key of another person, whose account
	// in the same target is meant; else "".
	Ref string `json:"ref,omitempty"`
	// Unique are expressions instead of From: candidates, the best first, of which
	// the person gets the first that nobody else in the target has.
	Unique []string `json:"unique,omitempty"`
	// Counter lets numbers from 2 to itself be put behind the last candidate, in
	// front of an @, where every candidate is taken; 0 does not.
	Counter int `json:"counter,omitempty"`
	// Empty says what becomes of the attribute where the rule gives nothing: Clear,
	// Leave, or Retract, which is the same as "". Where it is given, an empty text
	// is nothing too.
	Empty string `json:"empty,omitempty"`
}

// GroupRule makes one group of the target from each group for which When holds.
type GroupRule struct {
	// DisplayName and When are expressions over group. An empty When always holds.
	DisplayName string `json:"display_name"`
	When        string `json:"when,omitempty"`
	// Members, where it is set, makes the rule one about people: an expression over
	// identity that says who is in; DisplayName is one over identity then.
	Members string `json:"members,omitempty"`
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
	// unique are the candidates, where there is no from.
	unique  []*expression
	counter int
	empty   string
}

type groupRule struct {
	name, when *expression
	// people tells that the expressions are about people.
	people bool
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
	problems = append(problems, checkAttributes(spec, m.users)...)
	m.groups, found = compileGroups(people, spec.Groups)
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
			named = true // perhaps it was this one
		} else {
			problems = append(problems, to.claim(taken, r.name)...)
			named = named || to.String() == "userName"
		}
		r.to, r.empty = to, spec.Empty
		problems = append(problems, r.checkEmpty()...)
		problems = append(problems, r.compile(people, spec)...)
		rules = append(rules, r)
	}
	if !named {
		problems = append(problems, Problem{Field: "users", Message: "no rule writes userName, which every SCIM account must have"})
	}
	return rules, problems
}

// compile reads the rule's expressions.
func (r *rule) compile(people *language, spec Rule) (problems []Problem) {
	if len(spec.Unique) > 0 {
		return r.compileUnique(people, spec)
	}
	if spec.Counter > 0 {
		problems = append(problems, Problem{Field: r.name + ".counter", Message: "only the candidates of unique are counted"})
	}
	from, found := people.compile(r.name+".from", spec.From, r.to.accepts(r.ref)...)
	r.from = from
	return append(problems, found...)
}

func compileGroups(people *language, specs []GroupRule) (rules []groupRule, problems []Problem) {
	if len(specs) == 0 {
		return nil, nil
	}
	groups, err := newLanguage("group")
	if err != nil {
		return nil, []Problem{{Field: "groups", Message: err.Error()}}
	}
	for i, spec := range specs {
		field, words, text, condition := fmt.Sprintf("groups[%d]", i), groups, spec.When, ".when"
		if spec.Members != "" {
			words, text, condition = people, spec.Members, ".members"
			if spec.When != "" && spec.When != "true" {
				problems = append(problems, Problem{Field: field + ".when", Message: "a group of people by rule has members, and no when"})
			}
		}
		if text == "" {
			text = "true"
		}
		name, found := words.compile(field+".displayName", spec.DisplayName, cel.StringType)
		problems = append(problems, found...)
		when, found := words.compile(field+condition, text, cel.BoolType)
		problems = append(problems, found...)
		rules = append(rules, groupRule{name: name, when: when, people: spec.Members != ""})
	}
	return rules, problems
}

// Group is what group rules are asked about.
type Group struct {
	// Key is the immutable key in the source, Name the name there, and Kind a word
	// that the source chose ("team").
	Key, Name, Kind string
}

// GroupName is the name that a source's group has in the target, by the first
// rule that holds for it; "" where it is no group there.
func (m *Mapping) GroupName(g Group) (string, error) {
	values := map[string]any{"key": g.Key, "name": g.Name, "kind": g.Kind}
	for i, rule := range m.groups {
		if rule.people {
			continue
		}
		name, err := rule.nameOf("group", values)
		if err != nil {
			return "", m.failure(fmt.Sprintf("groups[%d]", i), "displayName", err)
		}
		if name != "" {
			return name, nil
		}
	}
	return "", nil
}

// HasGroups tells whether groups of sources become groups of the target.
func (m *Mapping) HasGroups() bool {
	return slices.ContainsFunc(m.groups, func(r groupRule) bool { return !r.people })
}

// madeOf are the names of the groups that rules put a person in, sorted.
func (m *Mapping) madeOf(values map[string]any) ([]string, error) {
	var names []string
	for i, rule := range m.groups {
		if !rule.people {
			continue
		}
		name, err := rule.nameOf("identity", values)
		if err != nil {
			return nil, m.failure(fmt.Sprintf("groups[%d]", i), "displayName", err)
		}
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (r groupRule) nameOf(variable string, values map[string]any) (string, error) {
	wanted, err := r.when.eval(variable, values)
	if err != nil || wanted == nil || wanted.Value() != true {
		return "", err
	}
	name, err := r.name.eval(variable, values)
	if err != nil || name == nil {
		return "", err
	}
	text, ok := name.Value().(string)
	if !ok {
		return "", errNotText
	}
	return text, nil
}
