package simulator_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
	"pgregory.net/rapid"
)

// reopened is a provider that goes on from a file, as `joinery sim --data` does.
func reopened(t *testing.T, path string) *simulator.Server {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	s := simulator.New(simulator.Options{Journal: f})
	if err := s.Replay(f); err != nil {
		t.Fatal(err)
	}
	return s
}

// holdings are everything that a provider holds, as JSON.
func holdings(t *testing.T, s *simulator.Server) string {
	t.Helper()
	return string(jsonOf(t, map[string]any{"users": s.Resources(scim.Users), "groups": s.Resources(scim.Groups)}))
}

func TestATornLineHarmsNoLaterStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "target.jsonl")
	s := reopened(t, path)
	made(t, s, "/Users", user("ann"))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"kind":"Users","id":"000002","verb":"cre`); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	s = reopened(t, path)
	if id := made(t, s, "/Users", user("bo")); id != "000002" {
		t.Error("the next id is", id)
	}
	again := reopened(t, path)
	if diff := cmp.Diff(holdings(t, s), holdings(t, again)); diff != "" {
		t.Error(diff)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if !json.Valid([]byte(line)) || strings.Contains(line, `"before"`) {
			t.Errorf("a line of the journal is %s", line)
		}
	}
}

func TestEveryPrefixOfAJournalIsAStateThatWas(t *testing.T) {
	var journal bytes.Buffer
	s := simulator.New(simulator.Options{Journal: &journal})
	states := map[string]bool{holdings(t, s): true}
	note := func() { states[holdings(t, s)] = true }
	ann := made(t, s, "/Users", user("ann"))
	note()
	made(t, s, "/Groups", group("eng", ann))
	note()
	call(t, s, "PATCH", "/Users/"+ann, patch(`{"op":"replace","path":"title","value":"Lead"}`))
	note()
	for cut := range journal.Len() + 1 {
		again := simulator.New(simulator.Options{})
		if err := again.Replay(bytes.NewReader(journal.Bytes()[:cut])); err != nil {
			t.Fatal(cut, err)
		}
		if !states[holdings(t, again)] {
			t.Fatalf("cut at %d it holds %s", cut, holdings(t, again))
		}
	}
}

func TestADeletionThatACrashCutShortIsFinished(t *testing.T) {
	var journal bytes.Buffer
	s := simulator.New(simulator.Options{Journal: &journal})
	ann := made(t, s, "/Users", user("ann"))
	eng := made(t, s, "/Groups", group("eng", ann))
	call(t, s, "DELETE", "/Users/"+ann, "")
	lines := bytes.SplitAfter(journal.Bytes(), []byte("\n"))
	if len(lines) != 5 { // two created, one deleted, one group changed, nothing
		t.Fatal(len(lines))
	}
	again := simulator.New(simulator.Options{})
	if err := again.Replay(bytes.NewReader(bytes.Join(lines[:3], nil))); err != nil {
		t.Fatal(err)
	}
	if g := got(t, again, "/Groups/"+eng); g["members"] != nil || g.Version() != `W/"2"` {
		t.Error(g)
	}
}

func TestAJournalThatIsNoneIsRefused(t *testing.T) {
	for _, text := range []string{"nonsense\n", "{}\n", `{"kind":"Robots","id":"1","verb":"create","after":{}}` + "\n", `{"kind":"Users","id":"1","verb":"create"}` + "\n"} {
		err := simulator.New(simulator.Options{}).Replay(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), "line 1 of the journal") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := simulator.New(simulator.Options{}).Replay(failing{}); !errors.Is(err, errDisk) {
		t.Error(err)
	}
}

var errDisk = errors.New("the disk is gone")

// failing is a disk that cannot be read or written.
type failing struct{}

func (failing) Read([]byte) (int, error)  { return 0, errDisk }
func (failing) Write([]byte) (int, error) { return 0, errDisk }

var _ io.ReadWriter = failing{}

func TestWhatCannotBeKeptIsNotCommitted(t *testing.T) {
	s := simulator.New(simulator.Options{Journal: failing{}})
	status, r, _ := call(t, s, "POST", "/Users", user("ann"))
	if status != 500 || len(s.Commits()) != 0 || len(s.Resources(scim.Users)) != 0 {
		t.Error(status, r, s.Commits())
	}
}

// The laws of a provider, whatever is done to it: names are unique, members
// exist, versions grow, commits explain what it holds, and its journal brings it
// back.
func TestWhateverIsDoneTheLawsHold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var journal bytes.Buffer
		s := simulator.New(simulator.Options{Journal: &journal, Bulk: 4})
		for range rapid.IntRange(1, 30).Draw(rt, "requests") {
			method, path, body := anything(rt)
			if status, r, _ := call(t, s, method, path, body); status >= 500 {
				rt.Fatalf("%s %s %s: %d %v", method, path, body, status, r)
			}
		}
		unique(rt, s)
		explained(rt, s)
		again := simulator.New(simulator.Options{})
		if err := again.Replay(&journal); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(holdings(t, s), holdings(t, again)); diff != "" {
			rt.Fatal(diff)
		}
		same(t, "shown groups", got(t, s, "/Groups"), got(t, again, "/Groups"))
		same(t, "shown users", got(t, s, "/Users"), got(t, again, "/Users"))
	})
}

// anything is a request that may make sense.
func anything(rt *rapid.T) (method, path, body string) {
	id := fmt.Sprintf("%06d", rapid.IntRange(1, 6).Draw(rt, "id"))
	name := rapid.SampledFrom([]string{"ann", "ANN", "bo", "cy"}).Draw(rt, "name")
	kind := rapid.SampledFrom([]string{"Users", "Groups"}).Draw(rt, "kind")
	switch rapid.IntRange(0, 5).Draw(rt, "what") {
	case 0:
		return "POST", "/Users", user(name)
	case 1:
		return "POST", "/Groups", group(name, id)
	case 2:
		return "DELETE", "/" + kind + "/" + id, ""
	case 3:
		return "PUT", "/Users/" + id, user(name)
	case 4:
		op := rapid.SampledFrom([]string{"add", "replace", "remove"}).Draw(rt, "op")
		return "PATCH", "/Groups/" + id, patch(`{"op":"` + op + `","path":"members","value":[{"value":"` + id + `"},{"value":"000001"}]}`)
	default:
		return "PATCH", "/Users/" + id, patch(`{"op":"replace","value":{"userName":"` + name + `","active":` + rapid.SampledFrom([]string{"true", "false"}).Draw(rt, "active") + `}}`)
	}
}

func unique(rt *rapid.T, s *simulator.Server) {
	names, ids := map[string]bool{}, map[string]bool{}
	for _, u := range s.Resources(scim.Users) {
		name := strings.ToLower(u.UserName())
		if names[name] || ids[u.ID()] {
			rt.Fatalf("%s or %s is there twice", name, u.ID())
		}
		names[name], ids[u.ID()] = true, true
	}
	for _, g := range s.Resources(scim.Groups) {
		ids[g.ID()] = true
	}
	for _, g := range s.Resources(scim.Groups) {
		members, _ := g.Get("members.value")
		had := map[any]bool{}
		list, _ := members.([]any)
		for _, id := range list {
			if text, _ := id.(string); !ids[text] || had[id] {
				rt.Fatalf("%v is a member of %s, but is nobody or is so twice", id, g.ID())
			}
			had[id] = true
		}
	}
}

// explained holds the log of commits against what is held, by its own fold.
func explained(rt *rapid.T, s *simulator.Server) {
	held := map[string]scim.Resource{}
	for _, c := range s.Commits() {
		if diff := cmp.Diff(held[c.ID], c.Before); diff != "" {
			rt.Fatalf("%s of %s does not say what was: %s", c.Verb, c.ID, diff)
		}
		if c.Before != nil && c.After != nil && c.Before.Version() == c.After.Version() {
			rt.Fatalf("%s changed without a new version", c.ID)
		}
		if c.After == nil {
			delete(held, c.ID)
			continue
		}
		held[c.ID] = c.After
	}
	for _, r := range append(s.Resources(scim.Users), s.Resources(scim.Groups)...) {
		if diff := cmp.Diff(held[r.ID()], r); diff != "" {
			rt.Fatal(diff)
		}
		delete(held, r.ID())
	}
	if len(held) > 0 {
		rt.Fatalf("commits know of %v", held)
	}
}
