package rate_test

import (
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/rate"
)

func TestBulkWorkWaitsForItsHours(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	night := rate.OffPeak{From: 22 * 60, To: 6*60 + 30, Zone: berlin}
	day := rate.OffPeak{From: 9 * 60, To: 17 * 60, Zone: time.UTC}
	for _, row := range []struct {
		what string
		o    rate.OffPeak
		now  string
		want time.Duration
	}{
		{"no hours are named", rate.OffPeak{}, "2026-03-02T12:00:00Z", 0},
		{"before the evening", night, "2026-03-02T12:00:00Z", 9 * time.Hour},
		{"in the evening", night, "2026-03-02T21:00:00Z", 0},
		{"after midnight", night, "2026-03-03T05:29:00Z", 0},
		{"at the end", night, "2026-03-03T05:30:00Z", 15*time.Hour + 30*time.Minute},
		{"in summer", night, "2026-07-02T20:00:00Z", 0},
		{"on the night the clock goes forward", night, "2026-03-29T19:30:00Z", 30 * time.Minute},
		{"in the day", day, "2026-03-02T09:00:00Z", 0},
		{"after the day", day, "2026-03-02T17:00:00Z", 16 * time.Hour},
	} {
		now, err := time.Parse(time.RFC3339, row.now)
		if err != nil {
			t.Fatal(err)
		}
		if got := row.o.Wait(now); got != row.want {
			t.Errorf("%s: %s, want %s", row.what, got, row.want)
		}
	}
}
