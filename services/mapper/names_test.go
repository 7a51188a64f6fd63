package mapper_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/mapper"
)

// register is a bucket of names in memory.
type register struct {
	sync.Mutex
	held map[string]identity.Name
	down error
	// stale is how many of the next reads do not see what is there.
	stale int
}

func (r *register) Get(_ context.Context, key string) (identity.Name, uint64, error) {
	r.Lock()
	defer r.Unlock()
	name, ok := r.held[key]
	switch {
	case r.down != nil:
		return name, 0, r.down
	case !ok || r.stale > 0:
		r.stale--
		return identity.Name{}, 0, stream.ErrNotFound
	}
	return name, 1, nil
}

func (r *register) Put(_ context.Context, key string, name identity.Name, rev uint64) (uint64, error) {
	r.Lock()
	defer r.Unlock()
	if _, ok := r.held[key]; ok || rev != 0 {
		return 0, stream.ErrConflict
	}
	r.held[key] = name
	return 1, nil
}

// naming is a target whose user names are unique.
func naming(t *testing.T, names mapper.Names, counter int, unique ...string) mapper.Target {
	t.Helper()
	m, problems := mapping.Compile(mapping.Spec{
		Target: "acme", Assign: "identity.active",
		Users: []mapping.Rule{{To: "userName", Unique: unique, Counter: counter}},
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	target := live(m.Desired)
	target.Names = names
	return target
}

const first, firstLast = `identity.first.slug()`, `identity.first.slug() + "." + identity.last.slug()`

// person is an event about somebody else than 1001.
func person(key, id, kind string, after time.Duration, firstName, lastName string) *joineryv1.LifecycleEvent {
	e := event(id, kind, after, map[string]any{"first": firstName, "last": lastName})
	e.IdentityKey = key
	return e
}

// names are the user names that people should have.
func (d *desk) names(keys ...string) []string {
	var out []string
	for _, key := range keys {
		name, _ := d.persons.records[identity.IDOf(key)].Wishes["acme"].Resource["userName"].(string)
		out = append(out, name)
	}
	return out
}

func TestEverybodyGetsANameOfTheirOwn(t *testing.T) {
	d := newDesk(t, mapper.Targets{"acme": naming(t, &register{held: map[string]identity.Name{}}, 3, first, firstLast)})
	d.handle(
		person("1", "e1", "joined", 0, "Ann", "Lee"),
		person("2", "e2", "joined", 0, "ANN", "Lee"),
		person("3", "e3", "joined", 0, "Änn", "Lee"),
		person("4", "e4", "joined", 0, "ann", "Lee"),
		person("5", "e5", "joined", 0, "Ann", "Poe"),
		person("6", "e6", "joined", 0, "ann", "Lee"),
	)
	d.same([]string{"ann", "ann.lee", "ann.lee2", "ann.lee3", "ann.poe", ""}, d.names("1", "2", "3", "4", "5", "6"))
	d.same([]string{"acme acme users[0] cannot make userName: other people have every candidate"}, d.post.letters)
}

func TestANameIsKeptForWhoeverComesBack(t *testing.T) {
	names := &register{held: map[string]identity.Name{}}
	d := newDesk(t, mapper.Targets{"acme": naming(t, names, 9, first)})
	d.handle(
		person("1", "e1", "joined", 0, "Ann", "Lee"),
		person("1", "e2", "left", time.Hour, "Ann", "Lee"),
		person("2", "e3", "joined", 2*time.Hour, "Ann", "Poe"),
		person("1", "e4", "rehired", 3*time.Hour, "Ann", "Lee"),
	)
	d.same([]string{"ann", "ann2"}, d.names("1", "2"))
	d.handle(person("1", "e5", "changed", 4*time.Hour, "Zoe", "Lee"), person("2", "e6", "changed", 5*time.Hour, "Ann", "Roe"))
	d.same([]string{"zoe", "ann2"}, d.names("1", "2"))
	d.handle(person("1", "e7", "changed", 6*time.Hour, "Ann", "Lee"))
	d.same([]string{"ann", "ann2"}, d.names("1", "2"))
	if len(names.held) != 3 {
		t.Errorf("%d names are reserved", len(names.held))
	}
}

func TestTheSameEventsGiveTheSameNamesAgain(t *testing.T) {
	names := &register{held: map[string]identity.Name{}}
	events := []*joineryv1.LifecycleEvent{
		person("1", "e1", "joined", 0, "Ann", "Lee"), person("2", "e2", "joined", 0, "Ann", "Poe"), person("3", "e3", "joined", 0, "Ann", "Roe"),
	}
	d := newDesk(t, mapper.Targets{"acme": naming(t, names, 9, first)})
	d.handle(events...)
	before := maps.Clone(names.held)
	slices.Reverse(events)
	again := newDesk(t, mapper.Targets{"acme": naming(t, names, 9, first)}) // everything but the names is lost
	again.handle(events...)
	d.same(d.names("1", "2", "3"), again.names("1", "2", "3"))
	if !maps.Equal(before, names.held) {
		t.Error("more names are reserved than before")
	}
}

func TestOfThoseWhoRaceForANameOneGetsIt(t *testing.T) {
	names := &register{held: map[string]identity.Name{}}
	const people = 20
	desks := make([]*desk, people)
	var racing sync.WaitGroup
	for i := range people {
		desks[i] = newDesk(t, mapper.Targets{"acme": naming(t, names, 99, first)})
		racing.Go(func() {
			key := fmt.Sprint(i)
			if err := desks[i].Handle(t.Context(), person(key, "e"+key, "joined", 0, "Ann", "Lee")); err != nil {
				t.Error(err)
			}
		})
	}
	racing.Wait()
	got := map[string]bool{}
	for i, d := range desks {
		got[d.names(fmt.Sprint(i))[0]] = true
	}
	if len(got) != people || !got["ann"] || !got["ann20"] {
		t.Errorf("%d names: %v", len(got), slices.Sorted(maps.Keys(got)))
	}
}

func TestAStaleReadTakesNobodysName(t *testing.T) {
	names := &register{held: map[string]identity.Name{}}
	d := newDesk(t, mapper.Targets{"acme": naming(t, names, 9, first)})
	d.handle(person("1", "e1", "joined", 0, "Ann", "Lee"))
	names.stale = 3
	d.handle(person("2", "e2", "joined", 0, "Ann", "Poe"))
	d.same([]string{"ann", "ann2"}, d.names("1", "2"))
}

func TestAnEventWaitsForTheStoreOfNames(t *testing.T) {
	names := &register{held: map[string]identity.Name{}, down: stream.ErrUnavailable}
	d := newDesk(t, mapper.Targets{"acme": naming(t, names, 9, first), "git": live(everybody)})
	e := person("1", "e1", "joined", 0, "Ann", "Lee")
	if err := d.Handle(t.Context(), e); !errors.Is(err, stream.ErrUnavailable) || strings.Contains(fmt.Sprint(err), "ann") {
		t.Error(err)
	}
	if len(d.persons.records) > 0 || len(d.post.letters) > 0 {
		t.Error("something was decided without names")
	}
	names.down = nil
	d.handle(e)
	d.same([]string{"ann"}, d.names("1"))
}
