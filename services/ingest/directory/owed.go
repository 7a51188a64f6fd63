package directory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
)

// Teller brings facts to the rest of Joinery.
type Teller interface {
	// Judge says whether a fact about a user can be told, and the identity key of
	// the person. It fails with an error for the client where it never can.
	Judge(ctx context.Context, f Fact) (person string, err error)
	// Tell returns when the facts are on disk. The same facts may be told again:
	// each is known by its ID.
	Tell(ctx context.Context, facts []Fact) error
}

// What can be said of a resource; the words are those of lifecycle events.
const (
	Joined        = "joined"
	Changed       = "changed"
	Disabled      = "disabled"
	Enabled       = "enabled"
	Left          = "left"
	GroupChanged  = "group_changed"
	GroupDeleted  = "group_deleted"
	MemberAdded   = "member_added"
	MemberRemoved = "member_removed"
)

// Fact is one thing that became true by a change.
type Fact struct {
	// ID is the fact's own, the same however often it is told.
	ID   string
	What string
	At   time.Time
	// Version orders the facts of one resource.
	Version int64
	// User is the user as it is now; of one that was removed, only its id.
	User Resource
	// Person is the identity key of the user or the member.
	Person string
	// Group is the id and GroupName the name of the group, where it is about one.
	Group, GroupName string
}

// Owed is what a change owes, as little as the facts can be made of again.
type Owed struct {
	Version int64     `json:"version,omitempty"`
	At      time.Time `json:"at,omitzero"`
	// What is said of the user, or of the group itself where anything is.
	What string `json:"what,omitempty"`
	// Person is of a user, Name of a group.
	Person string `json:"person,omitempty"`
	Name   string `json:"name,omitempty"`
	// Added and Removed are members, of whom nothing may be left to read when it is
	// told.
	Added   []Member `json:"added,omitempty"`
	Removed []Member `json:"removed,omitempty"`
}

// Member is who was added to a group, or removed from it.
type Member struct {
	ID     string `json:"id"`
	Person string `json:"person"`
}

func (o *Owed) empty() bool { return o == nil || o.Version == 0 }

// tell tells what the last change of a resource owes; r is the resource as it is
// since, or where it was.
func (d Directory) tell(ctx context.Context, r Resource, owed Owed) error {
	facts := factsOf(r, owed)
	for len(facts) > 0 {
		n := min(len(facts), tellTogether)
		if err := d.Teller.Tell(ctx, facts[:n]); err != nil {
			return fmt.Errorf("tell what a change owes: %w", err)
		}
		facts = facts[n:]
	}
	return nil
}

// note notes that what an entry owes is told.
func (d Directory) note(ctx context.Context, key string, item Item, rev uint64) error {
	_, err := d.Keep.PutAll(ctx, []stream.Write[Item]{{Key: key, Value: &Item{Record: item.Record}, Rev: rev}})
	if err != nil {
		return fmt.Errorf("note that a change was told: %w", err)
	}
	return nil
}

// tellTogether bounds the facts that are told at a time.
const tellTogether = 500

// factsOf are what is owed, spelled out.
func factsOf(r Resource, owed Owed) []Fact {
	base := Fact{
		ID: fmt.Sprintf("%s/%s/%d", r.Kind, r.ID, owed.Version), What: owed.What, At: owed.At, Version: owed.Version,
		User: r, Person: owed.Person,
	}
	if r.Kind == scim.Users {
		return []Fact{base}
	}
	base.User, base.Group, base.GroupName = Resource{}, r.ID, owed.Name
	var out []Fact
	if owed.What != "" {
		out = append(out, base)
	}
	for _, change := range []struct {
		what    string
		members []Member
	}{{MemberRemoved, owed.Removed}, {MemberAdded, owed.Added}} {
		for _, m := range change.members {
			f := base
			f.ID, f.What, f.User, f.Person = base.ID+"/"+m.ID, change.what, Resource{Kind: scim.Users, ID: m.ID}, m.Person
			out = append(out, f)
		}
	}
	return out
}

const (
	// settleAfter is how long the process that made a change is left to tell it.
	settleAfter = 10 * time.Second
	// settleEvery is between looks at what nobody told.
	settleEvery = 5 * time.Second
)

// Debts watches what the changes of all sources owe, and has it told where the
// process that owed it died or could not.
type Debts struct {
	keep Keep
	// changed is told how many changes owe something.
	changed func(n int)
	mu      sync.Mutex
	// since is, by key, since when something is owed.
	since map[string]time.Time
}

// NewDebts watches a bucket once Run runs, and tells changed how many changes owe
// something, each time that it may be another number.
func NewDebts(keep Keep, changed func(n int)) *Debts {
	return &Debts{keep: keep, changed: changed, since: map[string]time.Time{}}
}

// Run settles until ctx ends. of gives the directory of a source; one that is not
// configured keeps its debts.
func (b *Debts) Run(ctx context.Context, of func(source string) (Directory, bool), failed func(source string, err error)) error {
	watched := make(chan error, 2)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	for _, prefix := range []string{"r.", "o."} {
		go func() { watched <- b.keep.Watch(watching, prefix, b.note) }()
	}
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-watched:
			return err
		case <-tick.C:
		}
		for _, key := range b.due(time.Now()) {
			d, ok := of(stream.Token(key, 1))
			if !ok {
				continue
			}
			if _, err := d.hold(ctx, scim.Kind(stream.Token(key, 2)), stream.Token(key, 3)); err != nil {
				failed(d.Source, err)
			}
		}
	}
}

func (b *Debts) note(key string, value *Item, _ uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case key == "":
	case value == nil || value.Owed.empty():
		delete(b.since, key)
	default:
		b.since[key] = time.Now()
	}
	b.changed(len(b.since))
}

func (b *Debts) due(now time.Time) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for key, since := range b.since {
		if now.Sub(since) >= settleAfter {
			out = append(out, key)
		}
	}
	return out
}
