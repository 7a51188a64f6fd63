package mapping

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/scim"
)

// FuzzExpression: whatever a rule says, it is refused when it is loaded, or it
// gives JSON or a RuleError without values, in bounded time.
func FuzzExpression(f *testing.F) {
	for _, fn := range Functions() {
		f.Add("title", fn.Example)
		f.Add("urn:a:b:User:x", fn.Example)
	}
	for _, seed := range []string{
		"identity.email.lowerAscii()", "identity.list.map(x, x + x)", "{'a': identity.list}", "identity.?x.orValue([])",
		"identity.list.map(a, identity.list.map(b, identity.list.map(c, a + b + c)))", "b'x'", "[[1u], {true: null}]",
		"type(identity)", "duration('1h')", "identity.map.map(k, identity.map[k])", "0.0 / 0.0", "dyn(identity)",
	} {
		f.Add("urn:a:b:User:x", seed)
		f.Add(`emails[type eq "work"].value`, seed)
		f.Add("roles", seed)
	}
	const canary = "canary7731"
	f.Fuzz(func(t *testing.T, to, from string) {
		m, problems := Compile(Spec{Target: "fuzz", Assign: "true", Users: []Rule{
			{To: "userName", From: "'x'"}, {To: to, From: from},
		}})
		if len(problems) > 0 {
			return
		}
		begun := time.Now()
		r, err := m.Desired(Person{Key: "1", Active: true, State: "active", Attributes: map[string]any{
			"email": canary, "list": []any{canary, 1.5, true, nil}, "map": map[string]any{"a": canary}, "n": 7.0,
		}})
		if took := time.Since(begun); took > 10*time.Second {
			t.Fatalf("took %v", took)
		}
		if err != nil {
			if e := (*RuleError)(nil); !errors.As(err, &e) {
				t.Fatalf("not a RuleError: %v", err)
			}
			if strings.Contains(err.Error(), canary) {
				t.Fatalf("a value is in the error: %v", err)
			}
			return
		}
		data, err := json.Marshal(r.Resource)
		if err != nil {
			t.Fatalf("not JSON: %v", err)
		}
		if len(r.Resource) == 0 {
			t.Fatal("an empty account")
		}
		if _, err := scim.Parse(data); err != nil && len(data) < 1<<20 {
			t.Logf("not a SCIM resource: %v", err)
		}
	})
}

// FuzzText: the text functions never fail, and what should be stable is.
func FuzzText(f *testing.F) {
	for _, seed := range []string{"", "Ann", "Søren Müller", "+49 (0)30 123-45 x9", "2026-03-01", "'T'yyyy", "\xff\xfe", "o'NEIL-smith"} {
		f.Add(seed, int64(3))
	}
	f.Fuzz(func(t *testing.T, s string, n int64) {
		if once := slug(s); slug(once) != once {
			t.Errorf("slug(%q) is not stable", s)
		}
		_, _, _ = normalize(s), left(s, n), right(s, n)
		_, _ = word(s, n)
		if home, ok := nationOf("DE"); ok {
			if number, ok := e164(s, home); ok {
				if again, ok := e164(number, home); !ok || again != number {
					t.Errorf("e164(%q) = %q is not stable: %q", s, number, again)
				}
			}
		}
		if layout, ok := dateLayout(s); ok {
			_ = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Format(layout)
			_, _ = time.Parse(layout, s)
		}
		_, _ = instant(s)
	})
}
