package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// validator knows as much of JSON Schema as Schema uses.
type validator struct{ defs map[string]any }

func (v validator) errors(schema map[string]any, at string, value any) []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, at+": "+fmt.Sprintf(format, args...)) }
	if ref, ok := schema["$ref"].(string); ok {
		return v.errors(v.defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any), at, value)
	}
	if _, never := schema["not"]; never {
		wrong("is not allowed")
	}
	if options, ok := schema["oneOf"].([]any); ok {
		matched := 0
		for _, o := range options {
			if len(v.errors(o.(map[string]any), at, value)) == 0 {
				matched++
			}
		}
		if matched != 1 {
			wrong("matches %d of %d", matched, len(options))
		}
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, value) {
		wrong("is not one of %v", enum)
	}
	if !typed(schema["type"], value) {
		wrong("is a %T", value)
	}
	switch value := value.(type) {
	case map[string]any:
		out = append(out, v.object(schema, at, value)...)
	case []any:
		items, _ := schema["items"].(map[string]any)
		for i, item := range value {
			out = append(out, v.errors(items, fmt.Sprintf("%s[%d]", at, i), item)...)
		}
		if most, ok := schema["maxItems"].(float64); ok && float64(len(value)) > most {
			wrong("is too long")
		}
	case string:
		if pattern, ok := schema["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(value) {
			wrong("does not match %s", pattern)
		}
	case float64:
		if least, ok := schema["minimum"].(float64); ok && value < least {
			wrong("is too little")
		}
		if most, ok := schema["maximum"].(float64); ok && value > most {
			wrong("is too much")
		}
	}
	return out
}

func (v validator) object(schema map[string]any, at string, value map[string]any) []string {
	var out []string
	properties, closed := schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(value)) {
		property, ok := properties[name].(map[string]any)
		switch {
		case ok:
			out = append(out, v.errors(property, at+"."+name, value[name])...)
		case closed:
			out = append(out, at+"."+name+": is unknown")
		}
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := value[name.(string)]; !ok {
			out = append(out, fmt.Sprintf("%s.%s: is missing", at, name))
		}
	}
	return out
}

func typed(allowed, value any) bool {
	if several, ok := allowed.([]any); ok {
		return slices.ContainsFunc(several, func(a any) bool { return typed(a, value) })
	}
	name := map[string]string{
		"map[string]interface {}": "object", "[]interface {}": "array", "string": "string", "bool": "boolean", "float64": "number",
	}[fmt.Sprintf("%T", value)]
	return allowed == nil || allowed == name || (allowed == "integer" && name == "number")
}

// described validates a YAML text against a part of the schema.
func described(t *testing.T, part, text string) []string {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	defs := doc["$defs"].(map[string]any)
	return validator{defs}.errors(defs[part].(map[string]any), part, value)
}

func TestSchemaDescribesTheExampleFolder(t *testing.T) {
	for _, f := range archive(t, "testdata/example.txtar").Files {
		part := map[string]string{"joinery.yaml": "joinery"}[f.Name]
		switch {
		case strings.HasPrefix(f.Name, "sources/"):
			part = "source"
		case strings.HasPrefix(f.Name, "targets/"):
			part = "target"
		}
		if part == "" {
			continue
		}
		if wrong := described(t, part, string(f.Data)); len(wrong) > 0 {
			t.Errorf("%s: %v", f.Name, wrong)
		}
	}
}

func TestSchemaRefusesWhatLoadRefuses(t *testing.T) {
	const target = "target: x\nendpoint: https://x.example\nauth: { bearer: { env: X } }\nassign: true\n" + userName
	for text, want := range map[string]string{
		target + "profil: x":                          "target.profil: is unknown",
		target + "mode: liv":                          "target.mode: is not one of [simulate live paused]",
		target + "concurrency: 0":                     "target.concurrency: is too little",
		target + "reconcile: { every: soon }":         "target.reconcile.every: does not match",
		target + "rate: [{ requests: 5 }]":            "target.rate[0].per: is missing",
		strings.Replace(target, "{ env: X }", "x", 1): "target.auth.bearer: matches 0 of 2",
		"target: x": "target.assign: is missing",
	} {
		wrong := described(t, "target", text)
		if len(wrong) == 0 || !strings.HasPrefix(wrong[0], want) {
			t.Errorf("%q: %v, want %s", text, wrong, want)
		}
	}
}

func TestEverySettingIsDescribed(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal(Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		properties, _ := m["properties"].(map[string]any)
		for name, p := range properties {
			about, _ := p.(map[string]any)["description"].(string)
			if !strings.HasSuffix(about, ".") && at != "secret" {
				t.Errorf("%s.%s is described as %q", at, name, about)
			}
			walk(at+"."+name, p)
		}
		walk(at, m["items"])
	}
	for name, d := range doc["$defs"].(map[string]any) {
		if name != "secret" {
			walk(name, d)
		}
	}
}

func TestSchemaIsTheSameEachTime(t *testing.T) {
	first := Schema()
	if again := Schema(); string(first) != string(again) {
		t.Fatal("two calls differ")
	}
}
