package event

import (
	"maps"
	"regexp"
	"time"
	_ "time/tzdata" // zones must be known also where the machine has none

	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// maxEmployment is the length of the name of an employment in bytes.
const maxEmployment = 128

// course is the attributes of an event with those that the source's rules give.
// What the event says itself goes before.
func (s Source) course(ext map[string]string, values map[string]any) (map[string]string, *Problem) {
	ruled, err := s.Rules.Course(values)
	if err != nil {
		return nil, refuse(Invalid, "data", "A rule of the source (effective, time_zone, employment, rescinds or former_key) cannot read this event. Correct what it reads.")
	}
	if len(ruled) == 0 {
		return ext, nil
	}
	maps.DeleteFunc(ruled, func(_, value string) bool { return value == "" })
	maps.Copy(ruled, ext)
	return ruled, nil
}

var ownID = regexp.MustCompile(`^[a-z2-7]{26}$`)

// rescinded is what a rescission takes back: the name of a kind, or Joinery's id
// of the event that the source, or Joinery, calls so.
func rescinded(source, named string) string {
	if _, isKind := kindNamed(named); isKind || ownID.MatchString(named) {
		return named
	}
	return IDOf(source, named)
}

// effective sets from when an event holds, of which the zone is known already.
func effective(out *joineryv1.LifecycleEvent, value string) *Problem {
	if value == "" {
		return nil
	}
	var t time.Time
	problem := moment(&t, "effectivetime", value, out.GetTimeZone(), lastDay(out.GetKind()))
	if problem == nil {
		out.EffectiveAt = timestamppb.New(t)
	}
	return problem
}

// lastDay tells whether a date says the last day of something, so that the event
// takes effect when the day is over: who leaves on a day works on that day.
func lastDay(kind joineryv1.LifecycleKind) bool {
	return kind == joineryv1.LifecycleKind_LIFECYCLE_KIND_LEFT
}

// moment reads a time, or a date: the beginning of that day in the zone, or its
// end.
func moment(out *time.Time, name, value, zone string, ends bool) *Problem {
	day, err := time.Parse(time.DateOnly, value)
	if err != nil {
		return instant(out, name, value)
	}
	in, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return refuse(Invalid, "timezone", "The time zone is not in the IANA database, and %s is a date in it. Correct the zone, or give a time.", name)
	}
	if ends {
		day = day.AddDate(0, 0, 1)
	}
	*out = beginning(day, in)
	return nil
}

const (
	// around is how far the beginning of a day can be from where plain arithmetic
	// puts it: a zone that moved across the date line left out a whole day.
	around = 26 * time.Hour
	// step divides every offset of a zone that is in use.
	step = 15 * time.Minute
)

// beginning is the first instant of a day in a zone. Not every day begins at
// midnight: where clocks go forward then, it begins at one.
func beginning(day time.Time, in *time.Location) time.Time {
	y, m, d := day.Date()
	t := time.Date(y, m, d, 0, 0, 0, 0, in).Add(-around)
	for !reached(t.In(in), day) {
		t = t.Add(step)
	}
	return t.UTC()
}

// reached tells whether a local time is on that day or after it.
func reached(local, day time.Time) bool {
	y, m, d := local.Date()
	return !time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Before(day)
}
