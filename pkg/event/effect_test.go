package event_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/mapping"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// dated is an event of a type in a zone whose effectivetime is a date.
func dated(kind, zone, date string) event.Event {
	ext := map[string]string{"effectivetime": date}
	if zone != "" {
		ext["timezone"] = zone
	}
	return event.Event{
		ID: "1", Source: "/hr", SpecVersion: "1.0", Type: kind, Extensions: ext,
		Data: map[string]any{"employee_id": "1001"},
	}
}

func TestADateIsADayWhereThePersonIs(t *testing.T) {
	source := compiled(t, mapping.SourceSpec{IdentityKey: "event.data.employee_id"})
	for _, row := range []struct{ name, kind, zone, date, want string }{
		{"without a zone", "joined", "", "2026-04-01", "2026-04-01T00:00:00Z"},
		{"a hire begins with its day", "joined", "Europe/Berlin", "2026-04-01", "2026-03-31T22:00:00Z"},
		{"a change begins with its day", "changed", "Europe/Berlin", "2026-04-01", "2026-03-31T22:00:00Z"},
		{"the last day is a day of work", "left", "Europe/Berlin", "2026-03-31", "2026-03-31T22:00:00Z"},
		{"thirteen hours ahead", "left", "Pacific/Tongatapu", "2026-06-30", "2026-06-30T11:00:00Z"},
		{"ten hours behind", "left", "Pacific/Honolulu", "2026-06-30", "2026-07-01T10:00:00Z"},
		{"the day on which clocks go forward", "left", "Europe/Berlin", "2026-03-29", "2026-03-29T22:00:00Z"},
		{"the day on which clocks go back", "left", "Europe/Berlin", "2026-10-25", "2026-10-25T23:00:00Z"},
		{"a day without a midnight", "joined", "Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00Z"},
		{"the day before one without a midnight", "left", "Africa/Cairo", "2026-04-23", "2026-04-23T22:00:00Z"},
		{"a day with two midnights", "joined", "America/Havana", "2026-11-01", "2026-11-01T04:00:00Z"},
		{"a day that was left out", "joined", "Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"},
		{"a time is a time wherever", "left", "Pacific/Honolulu", "2026-06-30T12:00:00+02:00", "2026-06-30T10:00:00Z"},
	} {
		out, err := source.Interpret(dated(row.kind, row.zone, row.date), time.Now())
		if err != nil {
			t.Fatal(row.name, err)
		}
		if got := out.GetEffectiveAt().AsTime().Format(time.RFC3339); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
		again, err := source.Interpret(event.FromLifecycle(out), out.GetReceivedAt().AsTime())
		if err != nil || !again.GetEffectiveAt().AsTime().Equal(out.GetEffectiveAt().AsTime()) {
			t.Errorf("%s: read again %v, %v", row.name, again.GetEffectiveAt(), err)
		}
	}
}

func TestADateInAZoneThatDoesNotExistIsRefused(t *testing.T) {
	source := compiled(t, mapping.SourceSpec{IdentityKey: "event.data.employee_id"})
	for _, zone := range []string{"Europe/Berlim", "Local"} {
		var problem *event.Problem
		if _, err := source.Interpret(dated("left", zone, "2026-04-01"), time.Now()); !errors.As(err, &problem) || problem.Field != "timezone" {
			t.Errorf("%s: %v", zone, err)
		}
	}
	var problem *event.Problem
	if _, err := source.Interpret(dated("left", "Europe/Berlin", "2026-02-30"), time.Now()); !errors.As(err, &problem) || problem.Field != "effectivetime" {
		t.Errorf("a day that does not exist: %v", err)
	}
}

func TestASourcesRulesSayWhenAndOfWhichEmployment(t *testing.T) {
	source := compiled(t, mapping.SourceSpec{
		IdentityKey: "event.data.employee_id", Attributes: "{}",
		Course: mapping.CourseSpec{
			// Access ends with the last day of work, not with the contract.
			Effective:  `event.type == "left" ? event.data.?last_working_day.orValue(event.data.termination_date) : event.data.start`,
			TimeZone:   `event.data.?zone.orValue("Europe/Berlin")`,
			Employment: "string(event.data.contract)",
			Rescinds:   "event.data.undo",
		},
	})
	type course struct {
		At, Zone, Employment, Rescinds string
	}
	for _, row := range []struct {
		name, kind string
		data       map[string]any
		ext        map[string]string
		want       course
	}{
		{
			"the last working day", "left",
			map[string]any{"last_working_day": "2026-03-13", "termination_date": "2026-03-31", "contract": 7.0},
			nil,
			course{"2026-03-13T23:00:00Z", "Europe/Berlin", "7", ""},
		},
		{
			"no last working day is known", "left",
			map[string]any{"termination_date": "2026-03-31", "zone": "Asia/Tokyo"},
			nil,
			course{"2026-03-31T15:00:00Z", "Asia/Tokyo", "", ""},
		},
		{"what no rule finds holds at once", "joined", map[string]any{}, nil, course{"", "Europe/Berlin", "", ""}},
		{"a kind is taken back", "rescinded", map[string]any{"undo": "left"}, nil, course{"", "Europe/Berlin", "", "left"}},
		{"an event is taken back", "rescinded", map[string]any{"undo": "77"}, nil, course{"", "Europe/Berlin", "", event.IDOf("hr", "77")}},
		{
			"the event itself goes before", "joined",
			map[string]any{"start": "2026-03-31", "contract": 7.0},
			map[string]string{"effectivetime": "2026-05-01", "timezone": "UTC", "employment": "a"},
			course{"2026-05-01T00:00:00Z", "UTC", "a", ""},
		},
	} {
		row.data["employee_id"] = "1001"
		e := event.Event{ID: "1", Source: "/hr", SpecVersion: "1.0", Type: row.kind, Extensions: row.ext, Data: row.data}
		out, err := source.Interpret(e, time.Now())
		if err != nil {
			t.Fatal(row.name, err)
		}
		got := course{"", out.GetTimeZone(), out.GetEmployment(), out.GetRescinds()}
		if out.GetEffectiveAt() != nil {
			got.At = out.GetEffectiveAt().AsTime().Format(time.RFC3339)
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s: %s", row.name, diff)
		}
	}
	if _, problems := mapping.CompileSource(mapping.SourceSpec{IdentityKey: "event.id", Course: mapping.CourseSpec{Effective: "1 + 1", TimeZone: "evnt.x"}}); len(problems) != 2 || problems[0].Field != "effective" || problems[1].Field != "time_zone" {
		t.Error(problems)
	}
	wrong := event.Event{ID: "1", Source: "/hr", SpecVersion: "1.0", Type: "joined", Data: map[string]any{"employee_id": "1", "start": map[string]any{}}}
	if _, err := source.Interpret(wrong, time.Now()); err == nil {
		t.Error("a start that is no text was read")
	}
}

func TestAGrantThatExpiresOnADateEndsWithThatDay(t *testing.T) {
	source := compiled(t, mapping.SourceSpec{IdentityKey: "event.data.employee_id"})
	e := dated("access_granted", "Asia/Tokyo", "2026-03-01")
	e.Data = map[string]any{"employee_id": "1001", "grant": map[string]any{"target": "acme", "expires_at": "2026-03-31"}}
	out, err := source.Interpret(e, time.Now())
	want := &joineryv1.Grant{Target: "acme", ExpiresAt: timestamppb.New(time.Date(2026, 3, 31, 15, 0, 0, 0, time.UTC))}
	if err != nil || out.GetGrant().String() != want.String() {
		t.Error(out.GetGrant(), err)
	}
}
