package identity_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
)

func TestACommandSaysWhichMappingMadeItAndWhatItClearsAndLeaves(t *testing.T) {
	w := identity.Wish{
		Wish: identity.Present, Revision: 1, Mapping: "v7", Cleared: []string{"title"}, Left: []string{"nickName"},
		Resource: map[string]any{"userName": "ann"},
	}
	r := &identity.Record{ID: identity.IDOf("1001"), Wishes: map[string]identity.Wish{"acme": w}}
	c, err := r.Command("acme", start)
	if err != nil {
		t.Fatal(err)
	}
	got := [][]string{{c.GetMapping()}, c.GetCleared(), c.GetLeft()}
	if diff := cmp.Diff([][]string{{"v7"}, {"title"}, {"nickName"}}, got); diff != "" {
		t.Error(diff)
	}
	other := w
	other.Mapping = "v8"
	if !w.Same(other) {
		t.Error("another version that asks for the same is the same wish")
	}
	other.Left = nil
	if w.Same(other) {
		t.Error("leaving alone and not leaving alone are the same wish")
	}
}
