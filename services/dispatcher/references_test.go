package dispatcher

import (
	"testing"

	"github.com/joinery/joinery/pkg/identity"
)

// However often an account is stored that still waits for somebody who is there,
// it is one reason to go on, until that one goes and comes back.
func TestOneReferenceIsResolvedOnce(t *testing.T) {
	refs := newReferences()
	boss := identity.Account{Identity: "boss", RemoteID: "1"}
	ann := identity.Account{Identity: "ann", Waiting: []string{"boss"}}
	names := map[string]bool{}
	see := func(a identity.Account, rev uint64) {
		for _, r := range refs.seen(a, rev) {
			names[r.name()] = true
		}
	}
	see(boss, 1)
	for rev := range uint64(5) {
		see(ann, 2+rev)
		see(boss, 10+rev)
	}
	if len(names) != 1 {
		t.Fatalf("%v", names)
	}
	see(identity.Account{Identity: "boss"}, 20)
	see(ann, 21)
	see(identity.Account{Identity: "boss", RemoteID: "2"}, 22)
	if len(names) != 2 {
		t.Fatalf("%v", names)
	}
}
