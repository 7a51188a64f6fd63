package mapping

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// names are rules that make a user name.
func names(counter int, unique ...string) func(*Spec) {
	return func(s *Spec) { s.Users = []Rule{{To: "userName", Unique: unique, Counter: counter}} }
}

const (
	firstLast = `identity.first_name.slug() + "." + identity.last_name.slug() + "@example.com"`
	initial   = `identity.first_name.slug().left(1) + identity.last_name.slug() + "@example.com"`
)

func TestCandidatesAreProposedInOrderAndThenCounted(t *testing.T) {
	m := compiled(t, spec(names(4, firstLast, initial, firstLast)))
	got, err := m.Desired(ann(with("first_name", "Änn"), with("last_name", "Lee")))
	if err != nil {
		t.Fatal(err)
	}
	want := []Proposal{{Path: "userName", Rule: "users[0]", Candidates: []Candidate{
		{"ann.lee@example.com", "users[0].unique[0] " + firstLast},
		{"alee@example.com", "users[0].unique[1] " + initial},
		{"alee2@example.com", "users[0].unique[1] " + initial + " with a number"},
		{"alee3@example.com", "users[0].unique[1] " + initial + " with a number"},
		{"alee4@example.com", "users[0].unique[1] " + initial + " with a number"},
	}}}
	if diff := cmp.Diff(want, got.Proposals); diff != "" {
		t.Error(diff)
	}
	if name := got.Resource.UserName(); name != "" {
		t.Errorf("a name is desired before it is reserved: %s", name)
	}
	if err := got.Take(got.Proposals[0], got.Proposals[0].Candidates[1]); err != nil {
		t.Fatal(err)
	}
	if got.Resource.UserName() != "alee@example.com" || got.Rules["userName"] != "users[0].unique[1] "+initial {
		t.Errorf("taken: %v %v", got.Resource, got.Rules)
	}
}

func TestWhatGivesNothingIsNoCandidate(t *testing.T) {
	m := compiled(t, spec(names(0, `identity.login`, `""`, `"x".left(1) + identity.pad`, `identity.key`)))
	got, err := m.Desired(ann(with("pad", strings.Repeat("y", maxName))))
	if err != nil {
		t.Fatal(err)
	}
	want := []Candidate{{"E1042", "users[0].unique[3] identity.key"}}
	if diff := cmp.Diff(want, got.Proposals[0].Candidates); diff != "" {
		t.Error(diff)
	}
	_, err = compiled(t, spec(names(0, `identity.login`))).Desired(ann())
	if failed := (*RuleError)(nil); !errors.As(err, &failed) || failed.Path != "userName" {
		t.Errorf("a person without any candidate: %v", err)
	}
}

func TestWrongUniqueRulesAreRefused(t *testing.T) {
	for _, c := range []struct {
		rule Rule
		want string
	}{
		{Rule{To: "userName", From: "identity.key", Unique: []string{"identity.key"}}, "users[0].from: a rule has from or unique, not both"},
		{Rule{To: "userName", Unique: []string{"identity.key"}, Counter: 1}, "users[0].counter: the counter begins at 2: write 2 to 999"},
		{Rule{To: "userName", Unique: []string{"identity.kex("}}, "users[0].unique[0]: syntax error"},
		{Rule{To: "userName", Unique: []string{"identity.key", "true"}}, "users[0].unique[1]: the expression gives true or false where"},
		{Rule{To: "userName", From: "identity.key", Counter: 5}, "users[0].counter: only the candidates of unique are counted"},
		{Rule{To: "active", Unique: []string{"identity.key"}}, "users[0].to: active is not a text, and only a text can be made unique"},
		{Rule{To: "manager", Ref: "identity", Unique: []string{"identity.key"}}, "users[0].ref: what refers to a person cannot be unique"},
		{Rule{To: "userName", Unique: strings.Fields(strings.Repeat("identity.key ", 17))}, "users[0].unique: there are more than 16 candidates"},
	} {
		_, problems := Compile(Spec{Target: "acme", Assign: "true", Users: []Rule{c.rule}})
		if len(problems) == 0 || !strings.HasPrefix(problems[0].String(), c.want) {
			t.Errorf("%+v: %v, want %s", c.rule, problems, c.want)
		}
	}
}

func TestATestSeesTheBestCandidate(t *testing.T) {
	failed := compiled(t, spec(names(0, firstLast), func(s *Spec) {
		s.Tests = []Test{{Given: map[string]any{"first_name": "Ann", "last_name": "Lee"}, Want: map[string]any{"userName": "ann.lee@example.com"}}}
	})).RunTests()
	if len(failed) > 0 {
		t.Error(failed)
	}
}

func TestAFailedProposalNamesNoValue(t *testing.T) {
	p := Proposal{Path: "userName", Rule: "users[0]", Candidates: []Candidate{{Value: "ann"}}}
	err := p.Failed("acme", ErrTaken)
	if want := "acme users[0] cannot make userName: other people have every candidate"; fmt.Sprint(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}
