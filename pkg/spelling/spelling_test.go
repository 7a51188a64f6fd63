package spelling

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNearestNameIsSuggested(t *testing.T) {
	names := []string{"endpoint", "concurrency", "rate", "assign", "match", "mode"}
	for _, c := range []struct{ wrote, want string }{
		{"endpiont", " (did you mean endpoint?)"},
		{"Endpoint", " (did you mean endpoint?)"},
		{"concurency", " (did you mean concurrency?)"},
		{"rates", " (did you mean rate?)"},
		{"asign", " (did you mean assign?)"},
		{"mod", " (did you mean mode?)"},
		{"frequency", ""},
		{"x", ""},
		{"", ""},
		{strings.Repeat("endpoint", 20), ""},
	} {
		if got := DidYouMean(c.wrote, names); got != c.want {
			t.Errorf("DidYouMean(%q) = %q, want %q", c.wrote, got, c.want)
		}
	}
}

func TestFirstOfEquallyNearNamesIsSuggested(t *testing.T) {
	got, ok := Closest("teams", []string{"beams", "reams"})
	if !ok || got != "beams" {
		t.Fatalf("Closest = %q, %v", got, ok)
	}
}

func TestDistanceIsSymmetricAndZeroOnlyForEqualWords(t *testing.T) {
	word := rapid.StringMatching(`[a-cé]{0,8}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		d := distance(a, b)
		if d != distance(b, a) {
			t.Fatalf("distance(%q, %q) depends on the order", a, b)
		}
		if (d == 0) != (a == b) {
			t.Fatalf("distance(%q, %q) = %d", a, b, d)
		}
		if longest := max(len([]rune(a)), len([]rune(b))); d > longest {
			t.Fatalf("distance(%q, %q) = %d, more than %d", a, b, d, longest)
		}
	})
}
