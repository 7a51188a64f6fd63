package guard_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/guard"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func named(at time.Time) string { return "batch-" + at.Format("150405") }

func TestTheStricterOfNumberAndShareCounts(t *testing.T) {
	for _, row := range []struct {
		what  string
		limit guard.Limit
		total int
		want  int
	}{
		{"the number", guard.Limit{Max: 50, Percent: 10}, 10_000, 50},
		{"the share", guard.Limit{Max: 50, Percent: 10}, 200, 20},
		{"a small company's floor", guard.Limit{Max: 50, Percent: 10}, 8, guard.Floor},
		{"no share", guard.Limit{Max: 50, Percent: 100}, 8, 50},
		{"a number below the floor", guard.Limit{Max: 2, Percent: 10}, 8, 2},
	} {
		if got := row.limit.Allowed(row.total); got != row.want {
			t.Errorf("%s: %d, want %d", row.what, got, row.want)
		}
	}
}

func TestWhatExceedsTheLimitIsHeldTogether(t *testing.T) {
	var w guard.Window
	l := guard.Limit{Max: 3, Percent: 100, Per: time.Hour}
	passed := 0
	for i := range 10 {
		var ok bool
		if w, ok = w.Admit(start.Add(time.Duration(i)*time.Second), l, 100, false, named); ok {
			passed++
		}
	}
	if passed != 3 || w.Batch != "batch-090003" {
		t.Errorf("%d passed, %+v", passed, w)
	}
	// An hour and a bit later the first ones no longer count.
	w, ok := w.Admit(start.Add(time.Hour+time.Minute+2*time.Second), l, 100, false, named)
	if !ok || w.Count() != 1 {
		t.Errorf("%v %+v", ok, w)
	}
}

func TestABatchEndsWhenNothingWasHeldForAWindow(t *testing.T) {
	l := guard.Limit{Max: 0, Percent: 100, Per: time.Hour}
	w, _ := guard.Window{}.Admit(start, l, 100, false, named)
	w, _ = w.Admit(start.Add(50*time.Minute), l, 100, false, named)
	if w.Batch != "batch-090000" {
		t.Error(w.Batch)
	}
	w, _ = w.Admit(start.Add(3*time.Hour), l, 100, false, named)
	if w.Batch != "batch-120000" {
		t.Error(w.Batch)
	}
}

func TestSingleLeaversPassOnTheReserve(t *testing.T) {
	l := guard.Limit{Max: 0, Percent: 100, Per: time.Hour}
	w, first := guard.Window{}.Admit(start, l, 100, true, named)
	w, second := w.Admit(start.Add(time.Minute), l, 100, true, named)
	w, third := w.Admit(start.Add(12*time.Minute), l, 100, true, named)
	_, many := w.Admit(start.Add(30*time.Minute), l, 100, false, named)
	if !first || second || !third || many {
		t.Error(first, second, third, many)
	}
}

// However changes come, no stretch of a window's length lets more pass than the
// limit and the reserve.
func TestNoWindowLetsMorePassThanItsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := guard.Limit{Max: rapid.IntRange(0, 20).Draw(t, "max"), Percent: 100, Per: time.Hour}
		var w guard.Window
		var passed []time.Time
		now := start
		for range rapid.IntRange(1, 200).Draw(t, "changes") {
			now = now.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "pause")) * time.Second)
			var ok bool
			if w, ok = w.Admit(now, l, 1000, rapid.Bool().Draw(t, "single"), named); ok {
				passed = append(passed, now)
			}
			in := 0
			for _, at := range passed {
				if now.Sub(at) < l.Per {
					in++
				}
			}
			if in > l.Max+guard.Reserve {
				t.Fatal(fmt.Sprintf("%d passed in an hour, %+v", in, w))
			}
		}
		if len(w.Slots) > 62 {
			t.Fatalf("%d slots", len(w.Slots))
		}
	})
}
