package mapping

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimesAreCountedByTheCalendar(t *testing.T) {
	p := Person{Attributes: map[string]any{"start": "2026-03-01T23:30:00Z", "zone": "Pacific/Auckland", "n": 3.0, "day": "2026-03-01"}}
	for text, want := range map[string]string{
		`"2024-01-31".dateAdd(1, "months").date()`:                                                           `"2024-02-29"`,
		`"2024-02-29".dateAdd(1, "years").date()`:                                                            `"2025-02-28"`,
		`"2026-03-31".dateAdd(-1, "months").date()`:                                                          `"2026-02-28"`,
		`"2026-11-15".dateAdd(3, "months").date()`:                                                           `"2027-02-15"`,
		`"2026-03-01".dateAdd(-1, "days").date()`:                                                            `"2026-02-28"`,
		`timestamp("2026-03-01T00:00:00Z").dateAdd(90, "minutes").date("HH:mm")`:                             `"01:30"`,
		`"2026-03-01".dateAdd(2, "weeks").date()`:                                                            `"2026-03-15"`,
		`identity.day.dateAdd(int(identity.n), "days").date()`:                                               `"2026-03-04"`,
		`"9999-12-31".dateAdd(1, "days")`:                                                                    nothing,
		`"0001-01-01".dateAdd(-1, "days")`:                                                                   nothing,
		`"2026-03-01".dateAdd(9223372036854775807, "seconds")`:                                               nothing,
		`"2026-03-01".dateAdd(300000000000, "years")`:                                                        nothing,
		`"soon".dateAdd(1, "days")`:                                                                          nothing,
		`identity.start.dateAdd(1, identity.zone)`:                                                           nothing,
		`"2026-01-31".dateDiff("2026-02-28", "months")`:                                                      `1`,
		`"2026-01-31".dateDiff("2026-02-27", "months")`:                                                      `0`,
		`"2026-03-14".dateDiff("2026-01-15", "months")`:                                                      `-1`,
		`"2000-02-29".dateDiff("2026-02-28", "years")`:                                                       `26`,
		`"2026-03-01".dateDiff(identity.start, "hours")`:                                                     `23`,
		`timestamp("2026-03-01T00:00:00Z").dateDiff(timestamp("2026-03-02T00:00:00Z"), "days")`:              `1`,
		`"2026-03-01".dateDiff("soon", "days")`:                                                              nothing,
		`"2026-03-01".dateDiff("2026-03-02", identity.zone)`:                                                 nothing,
		`identity.start.date("yyyy-MM-dd", identity.zone)`:                                                   `"2026-03-02"`,
		`identity.start.date("HH:mm", "America/New_York")`:                                                   `"18:30"`,
		`timestamp(identity.start).date("dd", "Asia/Tokyo")`:                                                 `"02"`,
		`identity.day.date("yyyy-MM-dd", "America/New_York")`:                                                `"2026-03-01"`,
		`identity.start.date("yyyy", identity.day)`:                                                          nothing,
		`"29.03.2026 12:00".parseDate("dd.MM.yyyy HH:mm", "Europe/Berlin").date("HH:mm")`:                    `"12:00"`,
		`"29.03.2026 12:00".parseDate("dd.MM.yyyy HH:mm", "Europe/Berlin").dateAdd(0, "days").date("HH:mm")`: `"10:00"`,
		`"soon".parseDate("dd.MM.yyyy", "Europe/Berlin")`:                                                    nothing,
		`"01.01.2026".parseDate("dd.MM.yyyy", identity.day)`:                                                 nothing,
	} {
		if got := evaluated(t, text, p); got != want {
			t.Errorf("%s gives %s, want %s", text, got, want)
		}
	}
}

func TestZonesAndUnitsAreCheckedWhenTheyAreLoaded(t *testing.T) {
	people, err := newLanguage("identity")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`identity.x.date("yyyy", "Berlin")`:        `"Berlin" is not a time zone: write one as in "Europe/Berlin"`,
		`identity.x.date("yyyy", "Local")`:         `"Local" is not a time zone: write one as in "Europe/Berlin"`,
		`identity.x.parseDate("yyyy", "")`:         `"" is not a time zone: write one as in "Europe/Berlin"`,
		`identity.x.date("YYYY", "UTC")`:           `"YYYY" is not a date layout: write one like "dd.MM.yyyy"`,
		`dateAdd(identity.x, 1, "day")`:            `"day" is not a unit of time: write years, months, weeks, days, hours, minutes, seconds`,
		`dateDiff(identity.x, identity.y, "fort")`: `"fort" is not a unit of time: write years, months, weeks, days, hours, minutes, seconds`,
	} {
		_, problems := people.compile("x", text)
		if len(problems) != 1 || problems[0].Message != want {
			t.Errorf("%s: %v, want %s", text, problems, want)
		}
	}
}

func TestCountingBackUndoesCounting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "from"), 0).UTC()
		n := rapid.Int64Range(-5000, 5000).Draw(t, "n")
		unit := rapid.SampledFrom(units).Draw(t, "unit")
		to, ok := added(from, n, unit)
		if !ok {
			t.Fatal(from, n, unit)
		}
		got, ok := between(from, to, unit)
		// The last day of a shorter month is a whole month away forwards only.
		exact := unit != "months" && unit != "years" || from.Day() <= 28
		if !ok || exact && got != n {
			t.Fatalf("%s %+d %s is %s, which is %d away", from, n, unit, to, got)
		}
	})
}

func TestPiecesOfText(t *testing.T) {
	for text, want := range map[string]string{
		`"åsa".mid(2, 9)`: `"sa"`, `"åsa".mid(-4, 1)`: `"å"`, `"åsa".mid(9, 1)`: `""`, `"åsa".mid(1, -1)`: `""`,
		`"åsa".mid(9223372036854775807, 9223372036854775807)`: `""`,
		`"7".pad(3, "0")`: `"007"`, `"1234".pad(3, "0")`: `"1234"`, `"7".pad(3, "ab")`: nothing, `"7".pad(100000, "0")`: nothing,
		`" YES ".truth()`: `true`, `"0".truth()`: `false`, `"perhaps".truth()`: nothing,
		`"EN-us".locale()`: `"en-US"`, `"zh_hant_tw".locale()`: `"zh-Hant-TW"`, `"German".locale()`: nothing, `"".locale()`: nothing,
		`"ü".hex()`: `"c3bc"`,
	} {
		if got := evaluated(t, text, Person{}); got != want {
			t.Errorf("%s gives %s, want %s", text, got, want)
		}
	}
}
