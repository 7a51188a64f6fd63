package joinery

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestSchemaIsPrintedForEveryKindOfFile(t *testing.T) {
	for args, want := range map[string]string{
		"schema": "", "schema joinery": "#/$defs/joinery", "schema source": "#/$defs/source", "schema target": "#/$defs/target",
	} {
		var out, errs bytes.Buffer
		if code := Main(strings.Fields(args), nil, &out, &errs); code != ExitOK {
			t.Fatalf("%s: %d %s", args, code, &errs)
		}
		var schema map[string]any
		if err := json.Unmarshal(out.Bytes(), &schema); err != nil {
			t.Fatal(err)
		}
		if ref, _ := schema["$ref"].(string); ref != want {
			t.Errorf("%s describes %q, not %q", args, ref, want)
		}
	}
	for _, args := range []string{"schema targets", "schema source target"} {
		var out, errs bytes.Buffer
		if code := Main(strings.Fields(args), nil, &out, &errs); code != ExitUsage || out.Len() > 0 {
			t.Errorf("%s: %d %s", args, code, &errs)
		}
	}
}
