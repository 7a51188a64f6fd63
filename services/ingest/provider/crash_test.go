package provider_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/ingest"
	"github.com/joinery/joinery/services/ingest/directory"
	"golang.org/x/sync/errgroup"
)

// faultyBroker fails one call to the broker, counted over all of them: before it has
// done anything, or after, when only the answer is lost.
type faultyBroker struct {
	mu    sync.Mutex
	calls int
	at    int
	after bool
	// names are the calls, in order.
	names []string
	// down fails every call of the names in it.
	down map[string]bool
}

func (f *faultyBroker) call(name string, do func() error) error {
	f.mu.Lock()
	f.calls++
	f.names = append(f.names, name)
	hit, down := f.calls == f.at, f.down[name]
	f.mu.Unlock()
	if down || hit && !f.after {
		return fmt.Errorf("%s: %w", name, stream.ErrUnavailable)
	}
	err := do()
	if hit {
		return fmt.Errorf("%s: the answer is lost: %w", name, stream.ErrUnavailable)
	}
	return err
}

func (f *faultyBroker) set(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = map[string]bool{}
	for _, name := range names {
		f.down[name] = true
	}
}

// between puts the fault between the door and the broker.
func (f *faultyBroker) between(p *scimParts) {
	p.keep, p.journal = faultyKeep{p.keep, f}, faultyJournal{p.journal, f}
}

type faultyKeep struct {
	directory.Keep
	fault *faultyBroker
}

func (k faultyKeep) Get(ctx context.Context, key string) (item directory.Item, rev uint64, err error) {
	err = k.fault.call("get", func() error { item, rev, err = k.Keep.Get(ctx, key); return err })
	return item, rev, err
}

func (k faultyKeep) PutAll(ctx context.Context, writes []stream.Write[directory.Item]) (rev uint64, err error) {
	err = k.fault.call("put", func() error { rev, err = k.Keep.PutAll(ctx, writes); return err })
	return rev, err
}

func (k faultyKeep) Keys(ctx context.Context, prefix string) (keys []string, err error) {
	err = k.fault.call("keys", func() error { keys, err = k.Keep.Keys(ctx, prefix); return err })
	return keys, err
}

func (k faultyKeep) Each(ctx context.Context, prefix string, fn func(string, directory.Item, uint64) error) error {
	return k.fault.call("each", func() error { return k.Keep.Each(ctx, prefix, fn) })
}

type faultyJournal struct {
	ingest.Journal
	fault *faultyBroker
}

func (j faultyJournal) Add(ctx context.Context, e *joineryv1.LifecycleEvent) (stored bool, err error) {
	err = j.fault.call("add", func() error { stored, err = j.Journal.Add(ctx, e); return err })
	return stored, err
}

func (j faultyJournal) AddAll(ctx context.Context, entries []ingest.Entry) error {
	return j.fault.call("add", func() error { return j.Journal.AddAll(ctx, entries) })
}

func (j faultyJournal) Find(ctx context.Context, e *joineryv1.LifecycleEvent) (found ingest.Stored, err error) {
	err = j.fault.call("find", func() error { found, err = j.Journal.Find(ctx, e); return err })
	return found, err
}

// client calls as an identity provider does: what is answered 503 it sends again,
// a create that is answered 409 then it looks up.
type client struct {
	*scimDoor
	t testing.TB
	// repeated counts what it sent again.
	repeated int
}

func (c *client) send(method, path, body string) *httptest.ResponseRecorder {
	c.t.Helper()
	for range 5 {
		w := c.ask(method, path, body)
		if w.Code != http.StatusServiceUnavailable {
			return w
		}
		if w.Header().Get("Retry-After") == "" || w.Header().Get("Content-Type") != scimJSON || !strings.Contains(w.Body.String(), `"status":"503"`) {
			c.t.Errorf("503 with headers %v: %s", w.Header(), w.Body)
		}
		c.repeated++
	}
	c.t.Fatalf("%s %s is never answered", method, path)
	return nil
}

func (c *client) create(kind, filter, body string) string {
	c.t.Helper()
	before := c.repeated
	w := c.send(http.MethodPost, "/"+kind, body)
	if w.Code == http.StatusConflict && c.repeated > before {
		w = c.send(http.MethodGet, "/"+kind+"?filter="+strings.ReplaceAll(filter, " ", "%20"), "")
	} else if w.Code != http.StatusCreated {
		c.t.Fatalf("POST %s: %d: %s", kind, w.Code, w.Body)
	}
	var answer struct {
		ID        string
		Resources []struct{ ID string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		c.t.Fatal(err)
	}
	for _, r := range answer.Resources {
		return r.ID
	}
	return answer.ID
}

func (c *client) change(status int, method, path, body string) {
	c.t.Helper()
	before := c.repeated
	w := c.send(method, path, body)
	gone := method == http.MethodDelete && w.Code == http.StatusNotFound && c.repeated > before
	if w.Code != status && !gone {
		c.t.Fatalf("%s %s: %d: %s", method, path, w.Code, w.Body)
	}
}

const (
	annUser = `{"userName":"ann","externalId":"e-ann","title":"Rep","active":true}`
	bobUser = `{"userName":"bob","externalId":"e-bob","active":true}`
)

// life is a story in which every kind of change happens.
func (c *client) life() {
	c.t.Helper()
	ann := c.create("Users", `userName eq "ann"`, annUser)
	bob := c.create("Users", `userName eq "bob"`, bobUser)
	c.change(200, "PATCH", "/Users/"+ann, `{"Operations":[{"op":"Replace","path":"title","value":"Lead"}]}`)
	eng := c.create("Groups", `displayName eq "eng"`, fmt.Sprintf(`{"displayName":"eng","members":[{"value":%q},{"value":%q}]}`, ann, bob))
	c.change(200, "PATCH", "/Groups/"+eng, fmt.Sprintf(`{"Operations":[{"op":"Remove","path":"members","value":[{"value":%q}]}]}`, bob))
	c.change(200, "PUT", "/Users/"+ann, `{"userName":"ann.ash","externalId":"e-ann","active":false}`)
	c.change(200, "PATCH", "/Users/"+ann, `{"Operations":[{"op":"Replace","path":"active","value":"True"}]}`)
	c.change(204, "DELETE", "/Users/"+ann, "")
	c.change(204, "DELETE", "/Groups/"+eng, "")
	ann = c.create("Users", `userName eq "ann.ash"`, `{"userName":"ann.ash","externalId":"e-ann","active":true}`)
	c.change(200, "PUT", "/Users/"+ann, `{"userName":"ann.ash","externalId":"e-ann","active":false}`)
}

func lifeLines() []string {
	return []string{
		"joined ann", "joined bob", "changed ann", "group_changed eng", "member_added eng", "member_added eng", "member_removed eng",
		"disabled ann.ash", "enabled ann.ash", "member_removed eng", "left", "group_deleted eng", "joined ann.ash", "disabled ann.ash",
	}
}

// holds is what the door shows in the end, without what differs each time.
func (c *client) holds() []string {
	c.t.Helper()
	out := []string{}
	for _, kind := range []string{"Users", "Groups"} {
		var page struct {
			Resources []map[string]any
		}
		if err := json.Unmarshal(c.send(http.MethodGet, "/"+kind, "").Body.Bytes(), &page); err != nil {
			c.t.Fatal(err)
		}
		for _, r := range page.Resources {
			meta, _ := r["meta"].(map[string]any)
			out = append(out, fmt.Sprint(kind, r["userName"], r["displayName"], r["active"], r["members"], meta["version"]))
		}
	}
	return out
}

// TestWhateverIsLostOnTheWayEachChangeIsToldOnce fails each call to the broker in
// turn, before it does anything and after, as a process that dies there and a
// client that asks again would see it: in the end everything is as if nothing had
// happened.
func TestWhateverIsLostOnTheWayEachChangeIsToldOnce(t *testing.T) {
	b := start(t)
	defer b.stop()
	first := &faultyBroker{}
	undisturbed := &client{scimDoor: b.scimNamed(t, "idp0", first.between), t: t}
	undisturbed.life()
	want, calls := undisturbed.holds(), first.calls
	if diff := cmp.Diff(lifeLines(), undisturbed.linesOf("idp0")); diff != "" || calls < 40 {
		t.Fatalf("%d calls, events (-want +got)\n%s", calls, diff)
	}
	var all errgroup.Group
	all.SetLimit(8) // they wait for the disk, each in its turn
	for at := 2; at <= 2*calls+1; at++ {
		if name := first.names[at/2-1]; at%2 == 1 && name != "put" && name != "add" {
			continue // a read does nothing of which the answer could be lost
		}
		all.Go(func() error {
			t.Run(fmt.Sprintf("call %d, after it %v", at/2, at%2 == 1), func(t *testing.T) {
				f := &faultyBroker{at: at / 2, after: at%2 == 1}
				c := &client{scimDoor: b.scimNamed(t, fmt.Sprintf("idp%d", at), f.between), t: t}
				c.life()
				if diff := cmp.Diff(want, c.holds()); diff != "" {
					t.Errorf("holds (-want +got)\n%s", diff)
				}
				// What was owed longer comes later, under its own time.
				if diff := cmp.Diff(slices.Sorted(slices.Values(lifeLines())), slices.Sorted(slices.Values(c.lines()))); diff != "" {
					t.Errorf("events (-want +got)\n%s", diff)
				}
			})
			return nil
		})
	}
	_ = all.Wait()
}

// TestWhatIsAnsweredIsTold: no success, not even of a read, before the event of
// what it shows is on disk.
func TestWhatIsAnsweredIsTold(t *testing.T) {
	f := &faultyBroker{}
	d := openSCIM(t, byID(), f.between)
	c := &client{scimDoor: d, t: t}
	ann := c.create("Users", "", annUser)
	f.set("add")
	for _, row := range []struct{ method, path, body string }{
		{"PATCH", "/Users/" + ann, `{"Operations":[{"op":"replace","path":"title","value":"Lead"}]}`},
		{"GET", "/Users/" + ann, ""},
		{"GET", "/Users?filter=userName%20eq%20%22ann%22", ""},
		{"POST", "/Users", bobUser},
		{"POST", "/Users", bobUser},
		{"GET", "/Users?filter=userName%20eq%20%22bob%22", ""},
		{"PUT", "/Users/" + ann, annUser},
		{"DELETE", "/Users/" + ann, ""},
	} {
		if w := d.ask(row.method, row.path, row.body); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s %s: %d: %s", row.method, row.path, w.Code, w.Body)
		}
	}
	if diff := cmp.Diff([]string{"joined ann"}, d.lines()); diff != "" {
		t.Error(diff)
	}
	f.set()
	d.insist(http.StatusOK, "GET", "/Users/"+ann, "")
	d.insist(http.StatusCreated, "POST", "/Users", bobUser)
	d.insist(http.StatusConflict, "POST", "/Users", bobUser)
	if diff := cmp.Diff([]string{"joined ann", "changed ann", "joined bob"}, d.lines()); diff != "" {
		t.Error(diff)
	}
	f.set("put", "get", "each", "keys")
	for _, path := range []string{"/Users", "/Users/" + ann, "/Users?filter=title%20pr", "/Groups?sortBy=displayName"} {
		if w := d.ask("GET", path, ""); w.Code != http.StatusServiceUnavailable {
			t.Errorf("GET %s: %d", path, w.Code)
		}
	}
}

func TestReplicasThatChangeOneResourceLoseNothing(t *testing.T) {
	b := start(t)
	defer b.stop()
	doors := []*scimDoor{b.scim(t, byID()), b.scim(t, byID())}
	var mu sync.Mutex
	seen := map[int]int{}
	var all sync.WaitGroup
	each := func(n int, fn func(i int) *httptest.ResponseRecorder) {
		for i := range n {
			all.Go(func() {
				w := fn(i)
				mu.Lock()
				defer mu.Unlock()
				seen[w.Code]++
			})
		}
		all.Wait()
	}
	each(6, func(i int) *httptest.ResponseRecorder { return doors[i%2].ask("POST", "/Users", annUser) })
	if diff := cmp.Diff(map[int]int{201: 1, 409: 5}, seen); diff != "" {
		t.Fatal(diff)
	}
	page := doors[0].insist(200, "GET", "/Users", "")
	resources, _ := page["Resources"].([]any)
	ann, _ := resources[0].(map[string]any)["id"].(string)
	seen = map[int]int{}
	const writers = 6
	each(writers, func(i int) *httptest.ResponseRecorder {
		return doors[i%2].ask("PATCH", "/Users/"+ann, fmt.Sprintf(`{"Operations":[{"op":"add","path":"roles","value":[{"value":"r%d"}]}]}`, i))
	})
	if diff := cmp.Diff(map[int]int{200: writers}, seen); diff != "" {
		t.Fatal(diff)
	}
	got := doors[1].insist(200, "GET", "/Users/"+ann, "")
	roles, _ := got["roles"].([]any)
	if meta, _ := got["meta"].(map[string]any); len(roles) != writers || meta["version"] != fmt.Sprintf(`W/"%d"`, writers+1) {
		t.Errorf("%d roles at %v", len(roles), meta["version"])
	}
	if events := doors[0].lines(); len(events) != writers+1 {
		t.Errorf("events %v", events)
	}
}
