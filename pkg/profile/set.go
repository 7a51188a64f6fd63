package profile

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/spelling"
)

// Problem is one thing wrong with one knob. It never holds what a person is
// called: knobs are about applications.
type Problem struct {
	Knob    string
	Message string
}

func (p Problem) String() string { return p.Knob + ": " + p.Message }

// With is the knobs with others put over them, as a target's quirks: have them:
// texts, numbers, booleans and lists as YAML or JSON give them. What is wrong is
// reported by name, in order, and left as it was.
func (k Knobs) With(overrides map[string]any) (Knobs, []Problem) {
	var problems []Problem
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		if err := k.set(name, overrides[name]); err != nil {
			problems = append(problems, Problem{name, err.Error()})
		}
	}
	return k, problems
}

// Learned is the knobs with one that a target taught, from its text: a list is
// separated by commas, a rate is written 100/1m. It fails where the knob or the
// value does not exist, and gives the knobs as they were.
func (k Knobs) Learned(name, value string) (Knobs, error) {
	if value == "refused" { // as the first release wrote it
		switch attr, isFilter := strings.CutPrefix(name, "filter."); {
		case name == "patch":
			name, value = "update.style", "put"
		case isFilter && slices.Contains(k.FilterRefused, attr):
			return k, nil
		case isFilter:
			name, value = "filter.refused", strings.Join(append(slices.Clone(k.FilterRefused), attr), ",")
		}
	}
	next := k
	if err := next.set(name, fromText(name, value)); err != nil {
		return k, fmt.Errorf("%s: %w", name, err)
	}
	return next, nil
}

// fromText turns a text into what the knob is made of, as far as it can be.
func fromText(name, text string) any {
	f, ok := field(name)
	if !ok {
		return text
	}
	switch f.Type.Kind() {
	case reflect.Bool:
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	case reflect.Int:
		if n, err := strconv.Atoi(text); err == nil {
			return n
		}
	case reflect.Slice:
		out := []any{}
		for word := range strings.SplitSeq(text, ",") {
			if word = strings.TrimSpace(word); word != "" {
				out = append(out, word)
			}
		}
		return out
	default:
	}
	return text
}

// set puts a value into the knob of a name.
func (k *Knobs) set(name string, value any) error {
	f, ok := field(name)
	if !ok {
		return fmt.Errorf("there is no such knob%s; see: joinery profiles knobs", spelling.DidYouMean(name, Names()))
	}
	read, err := valueOf(f, value)
	if err != nil {
		return err
	}
	reflect.ValueOf(k).Elem().FieldByIndex(f.Index).Set(read)
	return nil
}

// valueOf reads a free value as what a field holds.
func valueOf(f reflect.StructField, value any) (reflect.Value, error) {
	var read any
	var err error
	switch reflect.Zero(f.Type).Interface().(type) {
	case time.Duration:
		read, err = durationOf(value)
	case string:
		read, err = textOf(value, choices(f))
	case bool:
		b, ok := value.(bool)
		read, err = b, unless(ok, "true or false is needed here")
	case int:
		read, err = wholeOf(value)
	case []string:
		read, err = listOf(value, choices(f))
	case []Rate:
		read, err = ratesOf(value)
	default:
		err = fmt.Errorf("a knob cannot be a %s", f.Type)
	}
	if err != nil {
		return reflect.Value{}, err
	}
	return reflect.ValueOf(read), nil
}

func unless(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// textOf is a text among the choices; the first of them is the zero value.
func textOf(value any, choices []string) (string, error) {
	text, ok := value.(string)
	n, isNumber := value.(float64) // 409 without quotes
	switch {
	case isNumber && len(choices) > 0:
		text = strconv.FormatFloat(n, 'f', -1, 64)
	case isWhole(value) && len(choices) > 0:
		text = fmt.Sprint(value)
	case !ok:
		return "", fmt.Errorf("text is needed here%s", oneOf(choices))
	case strings.TrimSpace(text) == "":
		return "", fmt.Errorf("the text is empty%s", oneOf(choices))
	}
	switch {
	case len(choices) == 0:
		return text, nil
	case !slices.Contains(choices, text):
		return "", fmt.Errorf("%q is not allowed here%s%s", text, oneOf(choices), spelling.DidYouMean(text, choices))
	case text == choices[0]:
		return "", nil
	}
	return text, nil
}

func oneOf(choices []string) string {
	if len(choices) == 0 {
		return ""
	}
	return ": write " + strings.Join(choices, " or ")
}

func isWhole(value any) bool {
	switch value.(type) {
	case int, int64, uint64:
		return true
	default:
		return false
	}
}

// maxNumber bounds every number: no count, size or status is beyond it.
const maxNumber = 1_000_000

func wholeOf(value any) (int, error) {
	var n float64
	switch v := value.(type) {
	case int:
		n = float64(v)
	case int64:
		n = float64(v)
	case uint64:
		n = float64(v)
	case float64:
		n = v
	default:
		return 0, fmt.Errorf("a whole number is needed here")
	}
	if n != math.Trunc(n) || n < 0 || n > maxNumber {
		return 0, fmt.Errorf("a whole number from 0 to %d is needed here", maxNumber)
	}
	return int(n), nil
}

// maxDuration bounds every duration: a month.
const maxDuration = 744 * time.Hour

func durationOf(value any) (time.Duration, error) {
	text, _ := value.(string)
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxDuration {
		return 0, fmt.Errorf("a duration like 500ms, 30s or 1h is needed here, up to %s", maxDuration)
	}
	return d, nil
}

// maxList bounds every list.
const maxList = 100

func listOf(value any, choices []string) ([]string, error) {
	items, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("a list is needed here")
	}
	if len(items) > maxList {
		return nil, fmt.Errorf("a list of %d is too much: at most %d", len(items), maxList)
	}
	out := make([]string, 0, len(items))
	for i, item := range items {
		text, isText := item.(string)
		switch {
		case !isText || strings.TrimSpace(text) == "":
			return nil, fmt.Errorf("item %d: text is needed here", i+1)
		case len(choices) > 0 && !slices.Contains(choices, text):
			return nil, fmt.Errorf("item %d: %q is not allowed here%s", i+1, text, oneOf(choices))
		}
		out = append(out, text)
	}
	return out, nil
}

// ratesOf reads [{requests: 100, per: 1m}], or the texts 100/1m.
func ratesOf(value any) ([]Rate, error) {
	items, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("a list of {requests: 100, per: 1m} is needed here")
	}
	var out []Rate
	seen := map[time.Duration]bool{}
	for i, item := range items {
		r, err := rateOf(item)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		if seen[r.Per] {
			return nil, fmt.Errorf("item %d: there is a limit per %s already", i+1, r.Per)
		}
		seen[r.Per] = true
		out = append(out, r)
	}
	return out, nil
}

func rateOf(value any) (Rate, error) {
	m, _ := value.(map[string]any)
	if text, ok := value.(string); ok {
		requests, per, _ := strings.Cut(text, "/")
		n, err := strconv.Atoi(requests)
		if err != nil {
			return Rate{}, fmt.Errorf("a rate like 100/1m is needed here")
		}
		m = map[string]any{"requests": n, "per": per}
	}
	n, err := wholeOf(m["requests"])
	if err != nil || n == 0 || len(m) != 2 {
		return Rate{}, fmt.Errorf("a rate like {requests: 100, per: 1m} is needed here")
	}
	per, err := durationOf(m["per"])
	if err != nil || per < minWindow {
		return Rate{}, fmt.Errorf("per: a duration from %s to %s is needed here", minWindow, maxDuration)
	}
	return Rate{Requests: n, Per: per}, nil
}

// minWindow is the shortest window that is kept to.
const minWindow = 100 * time.Millisecond
