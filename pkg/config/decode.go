package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/spelling"
)

// decoder fills settings from a document and collects everything that is wrong
// with it. What a setting may hold stands in its struct tags:
//
//	yaml     its key
//	doc      what it means; also the description in the JSON Schema
//	default  its value where the key is absent
//	enum     the texts it may be, separated by spaces
//	min max  its least and greatest value; of a list, the number of items
//	need     "true": it must be there; "rule": likewise, which pkg/mapping sees to
//	expr     "true": it is a CEL expression, so that an unquoted number or
//	         boolean is taken as it is written
type decoder struct {
	file     string
	dir      string
	env      func(string) (string, bool)
	problems Problems
	profiles profile.Catalogue
	classes  []Class // of joinery.yaml, which is read first
	// places holds where each setting stands, by its path ("users[2].from").
	places map[string]*node
	// visits bounds the values read: aliases can repeat one many times over.
	visits int
}

// decodable is a setting that reads itself. Its result must be usable, whatever
// it reports.
type decodable interface {
	decode(d *decoder, n *node, path string)
}

// setting is what the struct tags say of a field.
type setting struct {
	key, fallback string
	enum          []string
	least, most   string
	need, expr    bool
}

func settingOf(f reflect.StructField) setting {
	return setting{
		key: f.Tag.Get("yaml"), fallback: f.Tag.Get("default"), enum: strings.Fields(f.Tag.Get("enum")),
		least: f.Tag.Get("min"), most: f.Tag.Get("max"),
		need: f.Tag.Get("need") == "true", expr: f.Tag.Get("expr") == "true",
	}
}

func (d *decoder) report(at *node, format string, args ...any) {
	line, column := 1, 1
	if at != nil {
		line, column = at.line, at.column
	}
	d.reportAt(line, column, format, args...)
}

func (d *decoder) reportAt(line, column int, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.file, Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

// at is the node of a setting, or of the nearest setting around it.
func (d *decoder) at(path string) *node {
	for path != "" {
		if n := d.places[path]; n != nil {
			return n
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return d.places[""]
}

// wrong reports a problem with the setting at path.
func (d *decoder) wrong(path, format string, args ...any) {
	d.report(d.at(path), format, args...)
}

// given tells whether the file holds the setting.
func (d *decoder) given(path string) bool { return d.places[path] != nil }

// read reads a document into a pointer to a struct.
func (d *decoder) read(root *node, into any) {
	d.value(root, reflect.ValueOf(into).Elem(), "", setting{})
}

// value reads a node into v.
func (d *decoder) value(n *node, v reflect.Value, path string, s setting) {
	d.places[path] = n
	if !d.visit(n) || n.kind == unknown { // reported when it was read
		return
	}
	if own, ok := v.Addr().Interface().(decodable); ok {
		own.decode(d, n, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, s)
	case reflect.Struct:
		d.table(n, v, path)
	case reflect.Slice:
		d.list(n, v, path, s)
	case reflect.Map, reflect.Interface:
		d.anything(n, v, path)
	default:
		d.scalar(n, v, s)
	}
}

// visit counts a value that is read, and is false when there are too many.
func (d *decoder) visit(n *node) bool {
	if d.visits++; d.visits == maxNodes+1 {
		d.report(n, "the file has more than %d values once its aliases are followed", maxNodes)
	}
	return d.visits <= maxNodes
}

// is reports a value of the wrong kind.
func (d *decoder) is(n *node, wanted kind) bool {
	if n.kind != wanted {
		d.report(n, "%s is needed here, not %s", wanted, n.kind)
	}
	return n.kind == wanted
}

// table reads keys and values into a struct, and fills in what is absent.
func (d *decoder) table(n *node, v reflect.Value, path string) {
	if !d.is(n, table) {
		return
	}
	var known []string
	for f := range fields(v.Type()) {
		s := settingOf(f)
		known = append(known, s.key)
		if found := n.get(s.key); found != nil && found.kind != absent {
			d.value(found, v.FieldByIndex(f.Index), join(path, s.key), s)
			continue
		}
		if s.need {
			d.report(n, "%s is missing", s.key)
		}
		d.absent(v.FieldByIndex(f.Index), s)
	}
	for _, e := range n.entries {
		if !slices.Contains(known, e.key) {
			d.reportAt(e.line, e.column, "unknown key %q%s", e.key, meant(e.key, known))
		}
	}
}

// fields are the settings of a struct: its fields with a key.
func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if f := t.Field(i); f.Tag.Get("yaml") != "" && !yield(f) {
				return
			}
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func meant(key string, known []string) string {
	if hint := spelling.DidYouMean(key, known); hint != "" {
		return hint
	}
	return ": the keys here are " + strings.Join(known, ", ")
}

// absent gives a setting its default, and the settings within it theirs. The
// defaults are literals in this package; TestDefaultsAreValid reads them all.
func (d *decoder) absent(v reflect.Value, s setting) {
	switch {
	case v.Kind() == reflect.Struct:
		for f := range fields(v.Type()) {
			d.absent(v.FieldByIndex(f.Index), settingOf(f))
		}
	case s.fallback == "":
	case v.Kind() == reflect.Slice:
		for word := range strings.FieldsSeq(s.fallback) {
			v.Set(reflect.Append(v, reflect.ValueOf(word)))
		}
	default:
		d.scalar(&node{kind: scalar, text: s.fallback, value: plain(s.fallback)}, v, s)
	}
}

// plain is a default as YAML would read it.
func plain(text string) any {
	if b, err := strconv.ParseBool(text); err == nil && len(text) > 1 {
		return b
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n
	}
	return text
}

func (d *decoder) list(n *node, v reflect.Value, path string, s setting) {
	if !d.is(n, list) {
		return
	}
	d.within(n, s, int64(len(n.items)), items)
	for i, item := range n.items {
		element, at := reflect.New(v.Type().Elem()).Elem(), fmt.Sprintf("%s[%d]", path, i)
		if item.kind == absent {
			d.places[at] = item
			d.report(item, "an item of the list is empty")
		} else {
			d.value(item, element, at, setting{})
		}
		v.Set(reflect.Append(v, element))
	}
}

// anything reads a free value: of quirks, and of the operator's tests.
func (d *decoder) anything(n *node, v reflect.Value, path string) {
	if v.Kind() == reflect.Map && !d.is(n, table) {
		return
	}
	for _, e := range n.entries {
		d.places[join(path, e.key)] = e.value
	}
	if free := d.free(n); free != nil {
		v.Set(reflect.ValueOf(free))
	}
}

func (d *decoder) free(n *node) any {
	if !d.visit(n) {
		return nil
	}
	switch n.kind {
	case scalar:
		return number(n.value)
	case list:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			out[i] = d.free(item)
		}
		return out
	case table:
		out := make(map[string]any, len(n.entries))
		for _, e := range n.entries {
			out[e.key] = d.free(e.value)
		}
		return out
	default:
		return nil
	}
}

// number is a free number as JSON has it.
func number(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	default:
		return v
	}
}

// scalar reads a single value.
func (d *decoder) scalar(n *node, v reflect.Value, s setting) {
	if !d.is(n, scalar) {
		return
	}
	switch v.Interface().(type) {
	case time.Duration:
		d.duration(n, v, s)
	case string:
		d.text(n, v, s)
	case bool:
		if b, ok := n.value.(bool); ok {
			v.SetBool(b)
		} else {
			d.report(n, "%q is neither true nor false", n.text)
		}
	case int:
		d.integer(n, v, s)
	default:
		panic("config: a setting has a type that is not read: " + v.Type().String())
	}
}

func (d *decoder) text(n *node, v reflect.Value, s setting) {
	text, ok := n.value.(string)
	if !ok && !s.expr {
		d.report(n, "text is needed here: put it in quotes")
		return
	}
	if !ok {
		text = n.text
	}
	if len(s.enum) > 0 && !slices.Contains(s.enum, text) {
		d.report(n, "%q is not allowed here: write %s%s", text, strings.Join(s.enum, " or "), spelling.DidYouMean(text, s.enum))
		return
	}
	if s.need && strings.TrimSpace(text) == "" {
		d.report(n, "%s is empty", s.key)
		return
	}
	v.SetString(text)
}

func (d *decoder) integer(n *node, v reflect.Value, s setting) {
	var whole int64
	switch value := n.value.(type) {
	case int64:
		whole = value
	case uint64:
		whole = int64(min(value, 1<<62))
	default:
		d.report(n, "%q is not a whole number", n.text)
		return
	}
	d.within(n, s, whole, count)
	v.SetInt(whole)
}

func (d *decoder) duration(n *node, v reflect.Value, s setting) {
	length, ok := durationOf(n.text)
	if !ok {
		d.report(n, "%q is not a duration: write one like 500ms, 30s, 15m, 24h or 30d", n.text)
		return
	}
	d.within(n, s, int64(length), span)
	v.SetInt(int64(length))
}

// durationOf reads Go's durations, and days.
func durationOf(text string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil
	}
	length, err := time.ParseDuration(text)
	return length, err == nil
}

// shortest is a duration without the zeros that Go puts behind it.
func shortest(length time.Duration) string {
	text := length.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// within reports a value outside the limits of its setting.
func (d *decoder) within(n *node, s setting, value int64, in unit) {
	switch {
	case s.least != "" && value < in.read(s.least):
		d.report(n, "%s is too little: at least %s", in.write(value), s.least)
	case s.most != "" && value > in.read(s.most):
		d.report(n, "%s is too much: at most %s", in.write(value), s.most)
	}
}

// unit is how limits are read and values written.
type unit int

const (
	count unit = iota
	items
	span
)

func (u unit) read(limit string) int64 {
	if u == span {
		length, _ := durationOf(limit)
		return int64(length)
	}
	n, _ := strconv.ParseInt(limit, 10, 64)
	return n
}

func (u unit) write(value int64) string {
	switch u {
	case span:
		return shortest(time.Duration(value))
	case items:
		return fmt.Sprintf("a list of %d", value)
	default:
		return strconv.FormatInt(value, 10)
	}
}
