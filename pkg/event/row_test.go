package event_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/event"
)

func TestARowIsReadAsStrictlyAsAnEvent(t *testing.T) {
	row, err := event.ParseRow([]byte(` {"id": "1", "n": 2, "gone": null, "in": {"a": ["b"]}} `))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"id": "1", "n": 2.0, "gone": nil, "in": map[string]any{"a": []any{"b"}}}
	if diff := cmp.Diff(want, row); diff != "" {
		t.Error(diff)
	}
	for what, text := range map[string]string{
		"an array": `[1]`, "a doubled member": `{"id":1,"ID":2}`, "a huge number": `{"id":9007199254740993}`,
		"two documents": `{} {}`, "nothing": ``, "half of it": `{"id":`, "no UTF-8": "{\"id\":\"\xff\"}",
	} {
		if _, err := event.ParseRow([]byte(text)); event.ProblemsOf(err) == nil {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
