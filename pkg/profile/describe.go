package profile

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Knob is what can be known of a knob before any provider is looked at.
type Knob struct {
	Name string `json:"name"`
	// Type is text, number, boolean, duration, list or rates.
	Type string `json:"type"`
	// Choices are the texts it may be; empty means any.
	Choices []string `json:"choices,omitempty"`
	Doc     string   `json:"doc"`
	// Default is its value for a provider as the RFCs have it, in text.
	Default string `json:"default,omitempty"`
}

// Describe gives all knobs, in the order in which they are declared.
func Describe() []Knob {
	var out []Knob
	for f := range fields() {
		k := Knob{Name: f.Tag.Get("knob"), Type: typeName(f.Type), Choices: choices(f), Doc: f.Tag.Get("doc")}
		k.Default = text(reflect.Zero(f.Type), k.Choices)
		out = append(out, k)
	}
	return out
}

// Names are the names of all knobs, in the order in which they are declared.
func Names() []string {
	var out []string
	for f := range fields() {
		out = append(out, f.Tag.Get("knob"))
	}
	return out
}

// Text is the value of the knob of a name, as Learned reads it; "" where it says
// nothing or does not exist.
func (k Knobs) Text(name string) string {
	f, ok := field(name)
	if !ok {
		return ""
	}
	return text(reflect.ValueOf(k).FieldByIndex(f.Index), choices(f))
}

// Value is the value of the knob of a name as With reads it: text, int, bool, a
// list of texts, or of rates. Nil where it does not exist.
func (k Knobs) Value(name string) any {
	f, ok := field(name)
	if !ok {
		return nil
	}
	v := reflect.ValueOf(k).FieldByIndex(f.Index)
	switch read := v.Interface().(type) {
	case bool, int:
		return read
	case []string:
		out := []any{}
		for _, s := range read {
			out = append(out, s)
		}
		return out
	case []Rate:
		out := []any{}
		for _, r := range read {
			out = append(out, map[string]any{"requests": r.Requests, "per": short(r.Per)})
		}
		return out
	}
	return text(v, choices(f))
}

// Differing are the names of the knobs of which k and other disagree, in order.
func (k Knobs) Differing(other Knobs) []string {
	var out []string
	for f := range fields() {
		a, b := reflect.ValueOf(k).FieldByIndex(f.Index), reflect.ValueOf(other).FieldByIndex(f.Index)
		if text(a, nil) != text(b, nil) {
			out = append(out, f.Tag.Get("knob"))
		}
	}
	return out
}

func fields() func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		t := reflect.TypeFor[Knobs]()
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

func field(name string) (reflect.StructField, bool) {
	for f := range fields() {
		if f.Tag.Get("knob") == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

func choices(f reflect.StructField) []string { return strings.Fields(f.Tag.Get("enum")) }

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[[]Rate]():
		return "rates"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int:
		return "number"
	case reflect.Slice:
		return "list"
	default:
		return "text"
	}
}

func text(v reflect.Value, choices []string) string {
	switch read := v.Interface().(type) {
	case time.Duration:
		return short(read)
	case string:
		if read == "" && len(choices) > 0 {
			return choices[0]
		}
		return read
	case bool:
		return strconv.FormatBool(read)
	case int:
		return strconv.Itoa(read)
	case []string:
		return strings.Join(read, ", ")
	case []Rate:
		var out []string
		for _, r := range read {
			out = append(out, strconv.Itoa(r.Requests)+"/"+short(r.Per))
		}
		return strings.Join(out, ", ")
	}
	return ""
}

// short is a duration without the zeros that Go puts behind it.
func short(d time.Duration) string {
	s := d.String()
	if rest, ok := strings.CutSuffix(s, "m0s"); ok {
		s = rest + "m"
	}
	if rest, ok := strings.CutSuffix(s, "h0m"); ok {
		s = rest + "h"
	}
	return s
}

// Clone is a copy that shares no list.
func (k Knobs) Clone() Knobs {
	v := reflect.ValueOf(&k).Elem()
	for i := range v.NumField() {
		switch list := v.Field(i).Interface().(type) {
		case []string:
			v.Field(i).Set(reflect.ValueOf(slices.Clone(list)))
		case []Rate:
			v.Field(i).Set(reflect.ValueOf(slices.Clone(list)))
		}
	}
	return k
}
