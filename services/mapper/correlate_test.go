package mapper_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/mapper"
)

// links is a bucket in memory.
type links struct {
	held      map[string]identity.Link
	revisions map[string]uint64
	conflicts int
}

func (l *links) Get(_ context.Context, key string) (identity.Link, uint64, error) {
	link, ok := l.held[key]
	if !ok {
		return link, 0, stream.ErrNotFound
	}
	return identity.Link{Keys: slices.Clone(link.Keys)}, l.revisions[key], nil
}

func (l *links) Put(_ context.Context, key string, link identity.Link, rev uint64) (uint64, error) {
	if l.conflicts > 0 || l.revisions[key] != rev {
		l.conflicts--
		return 0, stream.ErrConflict
	}
	l.held[key], l.revisions[key] = link, rev+1
	return rev + 1, nil
}

// correlating is a desk at which the source idp finds people by number, then by
// verified mail.
func correlating(t *testing.T, own bool) (*desk, *links) {
	t.Helper()
	l := &links{held: map[string]identity.Link{}, revisions: map[string]uint64{}}
	d := newDesk(t, mapper.Targets{"acme": live(mailed)})
	d.Heed(mapper.Sources{Links: l, Correlate: map[string]mapper.Correlation{"idp": {
		By: []mapper.Match{{Attribute: "number"}, {Attribute: "email", When: "verified"}}, Own: own,
	}}})
	return d, l
}

func says(source, key, id, kind string, after time.Duration, attributes map[string]any) *joineryv1.LifecycleEvent {
	e := event(id, kind, after, attributes)
	e.Source, e.IdentityKey = source, key
	return e
}

// refused handles an event that must go before a person.
func (d *desk) refused(e *joineryv1.LifecycleEvent, want string) {
	d.Helper()
	err := d.Handle(d.Context(), e)
	if !fault.Is(err, fault.Permanent) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "@") {
		d.Errorf("%s: %v, want %s", e.GetId(), err, want)
	}
}

func TestASourceWithKeysOfItsOwnFindsThePerson(t *testing.T) {
	d, _ := correlating(t, false)
	d.handle(
		says("hr", "1", "e1", "joined", 0, map[string]any{"email": "Ann@b.c", "number": 7.0}),
		says("hr", "2", "e2", "joined", 0, map[string]any{"email": "bo@b.c"}),
		says("idp", "x", "e3", "changed", time.Hour, map[string]any{"number": "7", "phone": "1"}),
		says("idp", "y", "e4", "changed", time.Hour, map[string]any{"email": "BO@B.C", "verified": true, "phone": "2"}),
	)
	for key, want := range map[string]string{"1": "1", "2": "2"} {
		rec := d.persons.records[identity.IDOf(key)]
		if got := rec.Current()["phone"]; got != want {
			t.Errorf("the phone of %s is %v", key, got)
		}
	}
	d.handle(says("idp", "x", "e5", "changed", 2*time.Hour, map[string]any{"number": "8", "phone": "3"}))
	rec := d.persons.records[identity.IDOf("1")]
	if got := rec.Current()["phone"]; got != "3" || len(d.persons.records) != 2 {
		t.Errorf("whom a key means was decided again: %v, %d persons", got, len(d.persons.records))
	}
}

func TestWhoIsNotCertainIsNotGuessed(t *testing.T) {
	d, l := correlating(t, false)
	d.handle(
		says("hr", "1", "e1", "joined", 0, map[string]any{"email": "team@b.c"}),
		says("hr", "2", "e2", "joined", 0, map[string]any{"email": "team@b.c"}),
		says("hr", "3", "e3", "joined", 0, map[string]any{"email": "cy@b.c"}),
	)
	d.refused(says("idp", "x", "e4", "changed", 0, map[string]any{"email": "team@b.c", "verified": true}), "several persons match")
	d.refused(says("idp", "x", "e5", "changed", 0, map[string]any{"email": "cy@b.c"}), "no person of another source matches")
	d.refused(says("idp", "x", "e6", "changed", 0, map[string]any{"email": "cy@b.c", "verified": "true"}), "no person of another source matches")
	d.refused(says("idp", "1", "e7", "changed", 0, nil), "no person of another source matches")
	for key := range l.held {
		if strings.HasPrefix(key, "own.") {
			t.Error("a link was made")
		}
	}
	// Who has the value no more is not meant; then it is certain.
	d.handle(
		says("hr", "2", "e8", "changed", time.Hour, map[string]any{"email": "bo@b.c"}),
		says("idp", "x", "e9", "changed", 2*time.Hour, map[string]any{"email": "team@b.c", "verified": true, "phone": "1"}),
	)
	rec := d.persons.records[identity.IDOf("1")]
	if got := rec.Current()["phone"]; got != "1" {
		t.Errorf("the phone of 1 is %v", got)
	}
}

func TestWhatAFollowingSourceSaysFindsNobody(t *testing.T) {
	d, _ := correlating(t, false)
	d.handle(
		says("hr", "1", "e1", "joined", 0, map[string]any{"number": "7"}),
		says("idp", "x", "e2", "changed", time.Hour, map[string]any{"number": "7", "email": "boss@b.c"}),
	)
	d.refused(says("idp", "y", "e3", "changed", time.Hour, map[string]any{"email": "boss@b.c", "verified": true}), "no person of another source matches")
}

func TestUnmatchedPeopleCanBeTheSourcesOwn(t *testing.T) {
	d, _ := correlating(t, true)
	d.handle(
		says("hr", "1", "e1", "joined", 0, map[string]any{"email": "ann@b.c"}),
		says("idp", "1", "e2", "joined", 0, map[string]any{"email": "bot@b.c"}),
		says("idp", "1", "e3", "changed", time.Hour, map[string]any{"email": "ann@b.c", "verified": true}),
	)
	d.same([]string{"ann@b.c", "ann@b.c"}, d.names("1", "idp/1"))
	if len(d.persons.records) != 2 {
		t.Errorf("%d persons", len(d.persons.records))
	}
}

func TestALostRaceForALinkIsReadAgain(t *testing.T) {
	d, l := correlating(t, false)
	l.conflicts = 3
	d.handle(says("hr", "1", "e1", "joined", 0, map[string]any{"number": "7"}))
	other := &links{held: l.held, revisions: l.revisions}
	_, err := other.Put(t.Context(), identity.OwnKey("idp", "x"), identity.Link{Keys: []string{"1"}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	d.handle(says("idp", "x", "e2", "changed", time.Hour, map[string]any{"phone": "1"}))
	rec := d.persons.records[identity.IDOf("1")]
	if got := rec.Current()["phone"]; got != "1" || errors.Is(err, stream.ErrConflict) {
		t.Errorf("the phone is %v", got)
	}
}
