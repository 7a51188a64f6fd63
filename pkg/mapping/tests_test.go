package mapping

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
)

// failures runs tests against the design's example.
func failures(t *testing.T, tests ...Test) []TestFailure {
	t.Helper()
	return compiled(t, spec(func(s *Spec) { s.Tests = tests })).RunTests()
}

func TestExampleOfTheDesignPasses(t *testing.T) {
	got := failures(t, Test{
		Given: map[string]any{"email": "Ann@Example.com"},
		Want:  map[string]any{"userName": "ann@example.com"},
	})
	if len(got) > 0 {
		t.Fatal(got)
	}
}

func TestPassingTestsSayNothing(t *testing.T) {
	yes, no := true, false
	person := map[string]any{"email": "A@b.c", "first_name": "Ann", "department": "Support", "manager": "E7", "key": "E1"}
	got := failures(
		t,
		Test{Given: person, Assigned: &yes, Want: map[string]any{
			"USERNAME": "a@b.c", "externalId": "E1", "name.givenName": "Ann", "name": map[string]any{"givenName": "Ann"},
			`emails[type eq "work"].value`: "A@b.c", "department": "Support", "manager": "E7", "manager.value": "E7",
			"active": true, "title": nil, "emails": []any{map[string]any{"value": "A@b.c", "type": "work"}},
			scim.EnterpriseSchema: map[string]any{"department": "Support"},
		}},
		Test{Given: map[string]any{"active": false, "department": "Support"}, Assigned: &no},
		Test{Given: map[string]any{}, Assigned: &no},
		Test{Given: map[string]any{"state": "on_leave", "key": "E1"}, Want: map[string]any{"externalId": "E1", "userName": nil}},
	)
	if len(got) > 0 {
		t.Fatal(got)
	}
}

func TestEveryDifferenceIsShown(t *testing.T) {
	yes, no := true, false
	got := failures(
		t,
		Test{Given: map[string]any{"email": "<Ann>@b.c", "department": "Sales"}, Assigned: &yes, Want: map[string]any{
			"userName": "bob", "externalId": 5.0, "title": "x", "name": map[string]any{"givenName": "Ann"}, "emails": nil,
		}},
		Test{Given: map[string]any{"department": "Support"}, Assigned: &no},
		Test{Given: map[string]any{"email": 7.0}, Want: map[string]any{"externalId": "x"}},
	)
	want := []string{
		`tests[0].assigned: want true, got false`,
		`tests[0].want.emails: want nothing, got [{"type":"work","value":"<Ann>@b.c"}]`,
		`tests[0].want.externalId: want 5, got "test"`,
		`tests[0].want.name: want {"givenName":"Ann"}, got nothing`,
		`tests[0].want.title: want "x", got nothing`,
		`tests[0].want.userName: want "bob", got "<ann>@b.c"`,
		`tests[1].assigned: want false, got true`,
		`tests[2]: want an account, got an error: acme users[0] cannot make userName: an operation does not suit the type of its value (no such overload: lowerAscii(double))`,
	}
	var lines []string
	for _, f := range got {
		lines = append(lines, f.String())
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Fatal(diff)
	}
}

func TestFailingAssignmentIsShownInATest(t *testing.T) {
	yes := true
	got := compiled(t, spec(assign("identity.email > 5"), func(s *Spec) {
		s.Tests = []Test{{Given: map[string]any{"email": "a"}, Assigned: &yes}}
	})).RunTests()
	want := []TestFailure{{
		Field: "tests[0].assigned", Want: "true",
		Got: "an error: acme assign: an operation does not suit the type of its value (no such overload)",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}
