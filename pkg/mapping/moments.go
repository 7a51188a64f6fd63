package mapping

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // containers have no zones of their own

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// moments are the functions that count with times. Each takes a time, or a text
// as date reads it; there is no function that tells the time of now.
func moments() []cel.EnvOption {
	text, number, moment := cel.StringType, cel.IntType, cel.TimestampType
	options := []cel.EnvOption{
		method("parseDate", []*cel.Type{text, text, text}, moment, callParseDateIn),
		method("dateDiff", []*cel.Type{cel.DynType, cel.DynType, text}, number, callDateDiff),
		method("dateAdd", []*cel.Type{text, number, text}, moment, callDateAdd),
		method("dateAdd", []*cel.Type{moment, number, text}, moment, callDateAdd),
	}
	for _, of := range []*cel.Type{text, moment} {
		options = append(options, method("date", []*cel.Type{of, text, text}, text, callDateIn))
	}
	return options
}

// momentOf is the time that a value means.
func momentOf(v ref.Val) (time.Time, bool) {
	if t, ok := v.Value().(time.Time); ok {
		return t, true
	}
	return instant(str(v))
}

// maxZone bounds the name of a time zone, in bytes; the longest has 32.
const maxZone = 64

// zoneOf is a time zone of the IANA database. "Local" is none: it would differ
// from machine to machine.
func zoneOf(name string) (*time.Location, bool) {
	if name == "" || name == "Local" || len(name) > maxZone {
		return nil, false
	}
	zone, err := time.LoadLocation(name)
	return zone, err == nil
}

// callDateIn writes a time as the clocks of a zone show it. A date alone is no
// moment, and stays the same day everywhere.
func callDateIn(args ...ref.Val) ref.Val {
	golang, known := dateLayout(str(args[1]))
	zone, found := zoneOf(str(args[2]))
	t, read := momentOf(args[0])
	if !known || !found || !read {
		return types.WrapErr(errNothing)
	}
	if _, err := time.Parse(time.DateOnly, strings.TrimSpace(str(args[0]))); err == nil {
		return types.String(t.Format(golang))
	}
	return types.String(t.In(zone).Format(golang))
}

// callParseDateIn reads what the clocks of a zone show.
func callParseDateIn(args ...ref.Val) ref.Val {
	golang, known := dateLayout(str(args[1]))
	zone, found := zoneOf(str(args[2]))
	if !known || !found {
		return types.WrapErr(errNothing)
	}
	t, err := time.ParseInLocation(golang, strings.TrimSpace(str(args[0])), zone)
	if err != nil || t.Year() < 1 {
		return types.WrapErr(errNothing)
	}
	return types.Timestamp{Time: t}
}

// units are what times are counted in; those of the calendar have no length.
var units = []string{"years", "months", "weeks", "days", "hours", "minutes", "seconds"}

// lengths are the units that always last as long. Days count as such, because
// times are UTC here.
func lengthOf(unit string) (time.Duration, bool) {
	switch unit {
	case "weeks":
		return 7 * 24 * time.Hour, true
	case "days":
		return 24 * time.Hour, true
	case "hours":
		return time.Hour, true
	case "minutes":
		return time.Minute, true
	case "seconds":
		return time.Second, true
	default:
		return 0, false
	}
}

// The times that CEL has (its language definition, "Timestamps").
const (
	minYear = 1
	maxYear = 9999
	// maxCount bounds what is added: all of CEL's years in seconds.
	maxCount = 10_000 * 366 * 24 * 3600
)

func callDateAdd(args ...ref.Val) ref.Val {
	t, read := momentOf(args[0])
	n := num(args[1])
	if !read || n > maxCount || n < -maxCount {
		return types.WrapErr(errNothing)
	}
	t, ok := added(t.UTC(), n, str(args[2]))
	if !ok || t.Year() < minYear || t.Year() > maxYear {
		return types.WrapErr(errNothing)
	}
	return types.Timestamp{Time: t}
}

// added is a time n units later. A month after the last of January is the last
// of February.
func added(t time.Time, n int64, unit string) (time.Time, bool) {
	switch unit {
	case "years":
		return monthsLater(t, 12*n)
	case "months":
		return monthsLater(t, n)
	}
	length, ok := lengthOf(unit)
	if !ok {
		return t, false
	}
	return time.Unix(t.Unix()+n*int64(length/time.Second), int64(t.Nanosecond())).UTC(), true
}

func monthsLater(t time.Time, n int64) (time.Time, bool) {
	if n > 12*maxYear || n < -12*maxYear {
		return t, false
	}
	first := time.Date(t.Year(), t.Month()+time.Month(n), 1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(t.Day(), last)-1), true
}

// callDateDiff counts the whole units from the first time to the second.
func callDateDiff(args ...ref.Val) ref.Val {
	from, read := momentOf(args[0])
	to, readTo := momentOf(args[1])
	if !read || !readTo {
		return types.WrapErr(errNothing)
	}
	n, ok := between(from.UTC(), to.UTC(), str(args[2]))
	if !ok {
		return types.WrapErr(errNothing)
	}
	return types.Int(n)
}

func between(from, to time.Time, unit string) (int64, bool) {
	switch unit {
	case "years":
		return monthsBetween(from, to) / 12, true
	case "months":
		return monthsBetween(from, to), true
	}
	length, ok := lengthOf(unit)
	if !ok {
		return 0, false
	}
	seconds := to.Unix() - from.Unix()
	switch behind := to.Nanosecond() - from.Nanosecond(); {
	case seconds > 0 && behind < 0:
		seconds--
	case seconds < 0 && behind > 0:
		seconds++
	}
	return seconds / int64(length/time.Second), true
}

func monthsBetween(from, to time.Time) int64 {
	if to.Before(from) {
		return -monthsBetween(to, from)
	}
	n := int64(to.Year()-from.Year())*12 + int64(to.Month()-from.Month())
	if later, _ := monthsLater(from, n); later.After(to) {
		n--
	}
	return n
}

// wrongMoment says why a literal argument of these functions is never right.
func wrongMoment(function string, at int, value string) string {
	switch {
	case (function == "date" || function == "parseDate") && at == 2:
		if _, ok := zoneOf(value); !ok {
			return fmt.Sprintf("%q is not a time zone: write one as in \"Europe/Berlin\"", value)
		}
	case (function == "dateAdd" || function == "dateDiff") && at == 2:
		if _, ok := between(time.Time{}, time.Time{}, value); !ok {
			return fmt.Sprintf("%q is not a unit of time: write %s", value, strings.Join(units, ", "))
		}
	}
	return ""
}
