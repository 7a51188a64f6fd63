package directory_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/embedded"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/services/ingest/directory"
	"pgregory.net/rapid"
)

func bucket(t testing.TB) directory.Keep {
	t.Helper()
	b, err := embedded.StartBroker(embedded.BrokerOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	conn, err := stream.Dial(t.Context(), b.Options("ingest"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := conn.Apply(t.Context(), stream.Design(nil, 1)); err != nil {
		t.Fatal(err)
	}
	keep, err := directory.Open(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return keep
}

// listener is told facts, and names people by their externalId, or else by their
// userName.
type listener struct {
	mu    sync.Mutex
	facts []directory.Fact
	deaf  error
}

func (l *listener) Judge(_ context.Context, f directory.Fact) (string, error) {
	if f.Group != "" {
		return "", nil
	}
	if id := f.User.Body.ExternalID(); id != "" {
		return id, nil
	}
	return "name:" + strings.ToLower(f.User.Body.UserName()), nil
}

func (l *listener) Tell(_ context.Context, facts []directory.Fact) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deaf != nil {
		return l.deaf
	}
	l.facts = append(l.facts, facts...)
	return nil
}

func (l *listener) said() (out []string) {
	for _, f := range l.facts {
		out = append(out, strings.TrimSpace(f.What+" "+f.Person+" "+f.GroupName))
	}
	return out
}

func user(name, external string) scim.Resource {
	r := scim.Resource{"schemas": []any{scim.UserSchema}, "userName": name, "active": true}
	if external != "" {
		r["externalId"] = external
	}
	return r
}

func group(name string, members ...string) scim.Resource {
	r := scim.Resource{"schemas": []any{scim.GroupSchema}, "displayName": name}
	for _, m := range members {
		list, _ := r["members"].([]any)
		r["members"] = append(list, map[string]any{"value": m})
	}
	return r
}

func to(body scim.Resource) func(directory.Resource) (scim.Resource, error) {
	return func(directory.Resource) (scim.Resource, error) { return body, nil }
}

func whole(r directory.Resource) scim.Resource { return r.View() }

// people is the directory as it ought to be: names, in lower case, by id.
type people map[string]string

func (p people) holder(name string) string {
	for id, held := range p {
		if held == strings.ToLower(name) {
			return id
		}
	}
	return ""
}

// TestTheDirectoryIsWhatWasDoneToIt does anything in any order, and looks after
// each step whether every way to find somebody agrees.
func TestTheDirectoryIsWhatWasDoneToIt(t *testing.T) {
	keep := bucket(t)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		if n++; n > 20 {
			return // each takes a tenth of a second at the broker
		}
		ctx := context.Background()
		d := directory.Directory{Source: fmt.Sprintf("s%d", n), Keep: keep, Teller: &listener{}, Lists: &directory.Lists{}}
		want := people{}
		names := rapid.SampledFrom([]string{"ann", "Ann", "bob", "cid"})
		pick := func(t *rapid.T) string {
			return rapid.SampledFrom(append(slices.Sorted(maps.Keys(want)), "nobody")).Draw(t, "id")
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				name := names.Draw(t, "name")
				taken := want.holder(name) != ""
				r, err := d.Create(ctx, scim.Users, user(name, ""))
				if e := scim.As(err); taken != (e != nil && e.Status == 409) || !taken && err != nil {
					t.Fatalf("create %s, taken %v: %v", name, taken, err)
				}
				if !taken {
					want[r.ID] = strings.ToLower(name)
				}
			},
			"change": func(t *rapid.T) {
				id, title := pick(t), rapid.SampledFrom([]string{"Rep", "Lead"}).Draw(t, "title")
				body := user(want[id], "")
				body["title"] = title
				r, err := d.Update(ctx, scim.Users, id, to(body))
				if _, there := want[id]; there != (err == nil) || !there && !errors.Is(err, directory.ErrNotFound) {
					t.Fatalf("change %s: %v", id, err)
				}
				if err == nil && r.Body.Text("title") != title {
					t.Fatalf("%v", r.Body)
				}
			},
			"remove": func(t *rapid.T) {
				id := pick(t)
				err := d.Delete(ctx, scim.Users, id, func(directory.Resource) error { return nil })
				if _, there := want[id]; there != (err == nil) {
					t.Fatalf("remove %s: %v", id, err)
				}
				delete(want, id)
			},
			"": func(t *rapid.T) {
				ids, err := d.IDs(ctx, scim.Users)
				if err != nil || !slices.Equal(ids, slices.Sorted(maps.Keys(want))) {
					t.Fatalf("ids %v, want %v: %v", ids, want, err)
				}
				for _, name := range []string{"ANN", "bob", "cid"} {
					found, err := d.Find(ctx, scim.Users, scim.Eq("userName", name), whole)
					if err != nil {
						t.Fatal(err)
					}
					if holder := want.holder(name); (len(found) == 1) != (holder != "") || holder != "" && found[0].ID() != holder {
						t.Fatalf("%s is %v, want %q", name, found, holder)
					}
				}
			},
		})
	})
}

func TestFactsSayWhatAChangeMadeTrue(t *testing.T) {
	l := &listener{}
	d := directory.Directory{Source: "idp", Keep: bucket(t), Teller: l}
	ctx := t.Context()
	must := func(r directory.Resource, err error) directory.Resource {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ann := must(d.Create(ctx, scim.Users, user("ann", "e-ann")))
	bob := must(d.Create(ctx, scim.Users, user("bob", "e-bob")))
	eng := must(d.Create(ctx, scim.Groups, group("eng", ann.ID, bob.ID)))
	must(d.Update(ctx, scim.Groups, eng.ID, to(group("eng", bob.ID, ann.ID)))) // members are a set
	must(d.Update(ctx, scim.Groups, eng.ID, to(group("engineering", bob.ID))))
	if err := d.Delete(ctx, scim.Users, bob.ID, func(directory.Resource) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if got := must(d.Get(ctx, scim.Groups, eng.ID)); len(got.Members()) != 0 || got.Version != 3 {
		t.Errorf("the group is %v", got)
	}
	back := must(d.Create(ctx, scim.Users, user("bob", "e-bob")))
	if diff := cmp.Diff([]string{
		"joined e-ann", "joined e-bob", "group_changed  eng", "member_added e-ann eng", "member_added e-bob eng",
		"group_changed  engineering", "member_removed e-ann engineering", "member_removed e-bob engineering", "left e-bob", "joined e-bob",
	}, l.said()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	ids, last := map[string]bool{}, l.facts[len(l.facts)-1]
	for _, f := range l.facts {
		if ids[f.ID] = true; f.Person == "e-bob" && f.ID != last.ID && !f.At.Before(last.At) {
			t.Errorf("%s is told at %v, the return at %v", f.What, f.At, last.At)
		}
	}
	if len(ids) != len(l.facts) || last.User.ID != back.ID {
		t.Errorf("%d ids of %d facts, the last of %s", len(ids), len(l.facts), last.User.ID)
	}
}

func TestAGroupTakesInWhoIsThereAndIsWhatItsClientCallsIt(t *testing.T) {
	d := directory.Directory{Source: "idp", Keep: bucket(t), Teller: &listener{}}
	ctx := t.Context()
	if _, err := d.Create(ctx, scim.Groups, group("g", "nobody")); scim.As(err) == nil || scim.As(err).Status != 400 {
		t.Errorf("a member who is not there: %v", err)
	}
	one := group("g")
	one["externalId"] = "x1"
	if _, err := d.Create(ctx, scim.Groups, one); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create(ctx, scim.Groups, group("g")); err != nil {
		t.Errorf("two groups of one name: %v", err)
	}
	if _, err := d.Create(ctx, scim.Groups, one); scim.As(err) == nil || scim.As(err).Status != 409 {
		t.Errorf("two groups of one externalId: %v", err)
	}
	found, err := d.Find(ctx, scim.Groups, scim.Eq("displayName", "G"), whole)
	if err != nil || len(found) != 2 {
		t.Errorf("found %v: %v", found, err)
	}
	inner, err := d.Create(ctx, scim.Groups, group("inner"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create(ctx, scim.Groups, group("outer", inner.ID)); scim.As(err) == nil || scim.As(err).Status != 400 {
		t.Errorf("a group in a group: %v", err)
	}
}

func TestSourcesHaveDirectoriesOfTheirOwn(t *testing.T) {
	keep := bucket(t)
	a := directory.Directory{Source: "a", Keep: keep, Teller: &listener{}}
	b := directory.Directory{Source: "b", Keep: keep, Teller: &listener{}}
	ann, err := a.Create(t.Context(), scim.Users, user("ann", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(t.Context(), scim.Users, ann.ID); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("b shows a's user: %v", err)
	}
	if _, err := b.Create(t.Context(), scim.Users, user("ann", "1")); err != nil {
		t.Errorf("b's names are taken by a: %v", err)
	}
	for _, id := range []string{"", "*", ">", "a.b", "../x", ann.ID + ".x", strings.ToUpper(ann.ID)} {
		if _, err := a.Get(t.Context(), scim.Users, id); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("id %q: %v", id, err)
		}
	}
}

func TestAnotherPersonIsAnotherUser(t *testing.T) {
	l := &listener{}
	d := directory.Directory{Source: "idp", Keep: bucket(t), Teller: l}
	ann, err := d.Create(t.Context(), scim.Users, user("ann", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Update(t.Context(), scim.Users, ann.ID, to(user("ann", "2"))); scim.As(err) == nil || scim.As(err).ScimType != scim.Mutability {
		t.Errorf("another person: %v", err)
	}
	if _, err := d.Create(t.Context(), scim.Users, user("ann2", "1")); scim.As(err) == nil || scim.As(err).ScimType != scim.Uniqueness {
		t.Errorf("the same person: %v", err)
	}
	if len(l.facts) != 1 {
		t.Errorf("told %v", l.said())
	}
}

func TestAListShowsWhatThisProcessDidAtOnceAndOthersSoon(t *testing.T) {
	keep := bucket(t)
	here := directory.Directory{Source: "idp", Keep: keep, Teller: &listener{}, Lists: &directory.Lists{}}
	there := directory.Directory{Source: "idp", Keep: keep, Teller: &listener{}}
	count := func() int {
		ids, err := here.IDs(t.Context(), scim.Users)
		if err != nil {
			t.Fatal(err)
		}
		return len(ids)
	}
	ann, err := here.Create(t.Context(), scim.Users, user("ann", ""))
	if err != nil || count() != 1 {
		t.Fatal(count(), err)
	}
	if _, err := there.Create(t.Context(), scim.Users, user("bob", "")); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 && n != 2 {
		t.Errorf("%d users", n)
	}
	if found, err := here.Find(t.Context(), scim.Users, scim.Eq("userName", "bob"), whole); err != nil || len(found) != 1 {
		t.Errorf("a lookup by name finds %v: %v", found, err)
	}
	if err := here.Delete(t.Context(), scim.Users, ann.ID, func(directory.Resource) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("%d users after a removal here", n)
	}
}
