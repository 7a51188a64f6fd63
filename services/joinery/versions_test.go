package joinery

import (
	"bytes"
	"strings"
	"testing"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/services/deadletter"
)

func TestIdentityShowsWhichMappingMadeAnAccount(t *testing.T) {
	for shown, want := range map[string]string{"": "new", "new": "new", "old": "old -> new"} {
		var out bytes.Buffer
		writeStory(&out, deadletter.Story{
			Person:   identity.Record{Wishes: map[string]identity.Wish{"acme": {Wish: identity.Present, Mapping: "new"}}},
			Accounts: []identity.Account{{Target: "acme", Mapping: shown}},
		})
		if !strings.Contains(out.String(), want+"\n") {
			t.Errorf("an account by %q is told as\n%s", shown, out.String())
		}
	}
}
