package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// editor is the schema of a kind of file as an editor uses it: by a library that
// knows all of JSON Schema.
func editor(t *testing.T, part string) *jsonschema.Schema {
	t.Helper()
	text, ok := SchemaOf(part)
	if !ok {
		t.Fatalf("no schema of %s", part)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(part+".json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(part + ".json") // also against the meta-schema
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// seen is what the editor says of a YAML text.
func seen(t *testing.T, schema *jsonschema.Schema, text []byte) error {
	t.Helper()
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(value)
}

// partOf is the kind of a file by its path, or "".
func partOf(name string) string {
	switch {
	case filepath.Base(name) == mainFile:
		return "joinery"
	case filepath.Base(filepath.Dir(name)) == sourcesDir:
		return "source"
	case filepath.Base(filepath.Dir(name)) == targetsDir:
		return "target"
	default:
		return ""
	}
}

func TestAnEditorAcceptsEveryExample(t *testing.T) {
	examples := map[string][]byte{}
	for _, pattern := range []string{"../../deploy/*/*.yaml", "../../deploy/*/*/*.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range found {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			examples[name] = data
		}
	}
	for _, f := range archive(t, "testdata/example.txtar").Files {
		examples[f.Name] = f.Data
	}
	scenarios, err := filepath.Glob("../../services/joinery/testdata/scenarios/*.txtar")
	if err != nil || len(scenarios) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, name := range scenarios {
		for _, f := range archive(t, name).Files {
			if strings.HasPrefix(f.Name, "config/") {
				examples[name+"/"+f.Name] = f.Data
			}
		}
	}
	checked := map[string]int{}
	for name, text := range examples {
		part := partOf(name)
		if part == "" {
			continue
		}
		checked[part]++
		if err := seen(t, editor(t, part), text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, part := range Parts() {
		if checked[part] == 0 {
			t.Errorf("no example of a %s", part)
		}
	}
}

func TestAnEditorRefusesARuleThatMakesNothing(t *testing.T) {
	const target = "target: x\nendpoint: https://x.example\nauth: { bearer: { env: X } }\nassign: true\nusers:\n  - "
	schema := editor(t, "target")
	for rule, right := range map[string]bool{
		"{ to: userName, from: identity.key }":                               true,
		"{ to: userName, unique: [identity.key], counter: 9, empty: clear }": true,
		"{ to: userName }": false,
		"{ to: userName, from: identity.key, unique: [identity.key] }": false,
		"{ to: userName, from: identity.key, empty: keep }":            false,
		"{ to: userName, from: identity.key, form: x }":                false,
	} {
		if err := seen(t, schema, []byte(target+rule)); (err == nil) != right {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

// TestTheSchemaHasTheKeysThatAreRead goes through the settings as the decoder
// does, and through the schema beside them.
func TestTheSchemaHasTheKeysThatAreRead(t *testing.T) {
	defs, _ := func() (map[string]any, bool) {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
		if err != nil {
			t.Fatal(err)
		}
		d, ok := doc.(map[string]any)["$defs"].(map[string]any)
		return d, ok
	}()
	var walk func(at string, of reflect.Type, schema map[string]any)
	walk = func(at string, of reflect.Type, schema map[string]any) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			if of.Kind() == reflect.Slice {
				schema, _ = schema["items"].(map[string]any)
			}
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || of == reflect.TypeFor[Secret]() || of == reflect.TypeFor[time.Duration]() || of == reflect.TypeFor[Unsupported]() {
			return
		}
		properties, _ := schema["properties"].(map[string]any)
		var read, described []string
		for i := range of.NumField() {
			key := of.Field(i).Tag.Get("yaml")
			if key == "" {
				continue
			}
			read = append(read, key)
			property, _ := properties[key].(map[string]any)
			walk(at+"."+key, of.Field(i).Type, property)
		}
		for key := range properties {
			described = append(described, key)
		}
		slices.Sort(read)
		slices.Sort(described)
		if diff := cmp.Diff(read, described); diff != "" {
			t.Errorf("%s: %s", at, diff)
		}
	}
	for part, of := range map[string]reflect.Type{
		"joinery": reflect.TypeFor[Joinery](), "source": reflect.TypeFor[Source](), "target": reflect.TypeFor[Target](),
	} {
		schema, _ := defs[part].(map[string]any)
		walk(part, of, schema)
	}
}

func TestTheRulesOfTheManualAreRules(t *testing.T) {
	manual, err := os.ReadFile("../../docs/mapping.md")
	if err != nil {
		t.Fatal(err)
	}
	schema, rules := editor(t, "target"), 0
	for _, block := range regexp.MustCompile("(?s)```yaml\n(users:.*?)```").FindAllSubmatch(manual, -1) {
		rules++
		text := "target: x\nendpoint: https://x.example\nauth: { bearer: { env: HR_SECRET } }\nassign: true\n" + string(block[1])
		if err := seen(t, schema, []byte(text)); err != nil {
			t.Errorf("%s: %v", block[1], err)
		}
		if !strings.Contains(text, "userName") {
			text += "  - { to: userName, from: identity.key }\n"
		}
		if wrong := problemsOf(t, map[string]string{"targets/x.yaml": text}); len(wrong) > 0 {
			t.Errorf("%s: %v", block[1], wrong)
		}
	}
	if rules < 2 {
		t.Errorf("%d blocks of rules", rules)
	}
}
