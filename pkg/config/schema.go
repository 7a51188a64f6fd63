package config

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// Schema is a JSON Schema (draft 2020-12) for editors. A file of the folder is
// described by #/$defs/joinery, #/$defs/source or #/$defs/target. It is made from
// the same tags that Load goes by; what only Load can see, such as the meaning
// of an expression, it leaves open.
func Schema() []byte { return schemaFor("") }

// SchemaOf is the JSON Schema of one kind of file alone, "joinery", "source" or
// "target": what an editor wants for a file that says which it is. ok is false
// for other kinds.
func SchemaOf(part string) (schema []byte, ok bool) {
	if !slices.Contains(Parts(), part) {
		return nil, false
	}
	return schemaFor(part), true
}

// Parts are the kinds of files.
func Parts() []string { return []string{"joinery", "source", "target"} }

func schemaFor(part string) []byte {
	parts := Parts()
	var kinds []map[string]any
	for _, part := range parts {
		kinds = append(kinds, map[string]any{"$ref": "#/$defs/" + part})
	}
	target := schemaOf(reflect.TypeFor[Target](), setting{})
	describeProfile(target)
	doc := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "Joinery configuration",
		"anyOf":   kinds,
		"$defs": map[string]any{
			parts[0]: schemaOf(reflect.TypeFor[Joinery](), setting{}),
			parts[1]: schemaOf(reflect.TypeFor[Source](), setting{}),
			parts[2]: target,
			"secret": secretSchema(),
		},
	}
	if part != "" {
		delete(doc, "anyOf")
		doc["$ref"] = "#/$defs/" + part
	}
	// Maps of texts and numbers: encoding cannot fail.
	data, _ := json.MarshalIndent(doc, "", "  ")
	return append(data, '\n')
}

func secretSchema() map[string]any {
	text := map[string]any{"type": "string", "minLength": 1}
	return map[string]any{
		"description": "Where a secret is kept: " + howSecret + ".",
		"oneOf": []any{
			map[string]any{"type": "object", "properties": map[string]any{"env": text}, "required": []string{"env"}, "additionalProperties": false},
			map[string]any{"type": "object", "properties": map[string]any{"file": text}, "required": []string{"file"}, "additionalProperties": false},
		},
	}
}

func schemaOf(t reflect.Type, s setting) map[string]any {
	switch t {
	case reflect.TypeFor[Secret]():
		return map[string]any{"$ref": "#/$defs/secret"}
	case reflect.TypeFor[time.Duration]():
		return map[string]any{"type": "string", "pattern": `^([0-9]+d|([0-9.]+(ns|us|ms|s|m|h))+)$`}
	case reflect.TypeFor[Unsupported]():
		return map[string]any{"not": map[string]any{}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), s)
	case reflect.Struct:
		return objectSchema(t)
	case reflect.Slice:
		return limited(map[string]any{"type": "array", "items": schemaOf(t.Elem(), setting{})}, s, "minItems", "maxItems")
	case reflect.Map:
		return map[string]any{"type": "object"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return limited(map[string]any{"type": "integer"}, s, "minimum", "maximum")
	default:
		return textSchema(s)
	}
}

func textSchema(s setting) map[string]any {
	switch {
	case len(s.enum) > 0:
		return map[string]any{"enum": s.enum}
	case s.expr:
		return map[string]any{"type": []string{"string", "boolean", "number"}}
	default:
		return map[string]any{"type": "string"}
	}
}

func limited(schema map[string]any, s setting, least, most string) map[string]any {
	if n, err := strconv.Atoi(s.least); err == nil {
		schema[least] = n
	}
	if n, err := strconv.Atoi(s.most); err == nil {
		schema[most] = n
	}
	return schema
}

func objectSchema(t reflect.Type) map[string]any {
	properties := map[string]any{}
	required := []string{}
	for f := range fields(t) {
		s := settingOf(f)
		property := schemaOf(f.Type, s)
		property["description"] = f.Tag.Get("doc")
		if s.fallback != "" && f.Type.Kind() != reflect.Slice {
			property["default"] = plain(s.fallback)
		}
		properties[s.key] = property
		if f.Tag.Get("need") != "" {
			required = append(required, s.key)
		}
	}
	slices.Sort(required)
	schema := map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
	if t == reflect.TypeFor[Rule]() {
		schema["oneOf"] = []any{map[string]any{"required": []string{"from"}}, map[string]any{"required": []string{"unique"}}}
	}
	return schema
}
