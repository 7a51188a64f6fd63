package directory

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
)

// Index tells whose a name is.
type Index struct {
	IDs []string `json:"ids,omitempty"`
	// At is, of a person, when something was last said of them: whoever comes
	// back, comes back later.
	At time.Time `json:"at,omitzero"`
}

// Place is where a resource is.
type Place struct {
	Kind scim.Kind
	ID   string
}

func placesOf(kind scim.Kind, ids []string) []Place {
	out := make([]Place, len(ids))
	for i, id := range ids {
		out[i] = Place{kind, id}
	}
	return out
}

// errTaken: a name that must be one's own is another's.
var errTaken = errors.New("the name is taken")

// name is one thing by which a resource is found.
type name struct {
	attr, value string
	// own tells that nobody else may have it.
	own bool
}

// person is the attribute under which identity keys are indexed; SCIM has none
// of that name.
const person = "$person"

// namesOf is all by which a resource is found: userName or displayName,
// externalId, and the person.
func namesOf(r Resource) []name {
	if r.Version == 0 {
		return nil
	}
	// Two groups may be called the same, but what the client calls one is its own:
	// of users, the person says so.
	out := []name{
		{r.Kind.NameAttribute(), strings.ToLower(r.Body.Text(r.Kind.NameAttribute())), r.Kind == scim.Users},
		{"externalId", r.Body.ExternalID(), r.Kind == scim.Groups},
		{person, r.Person, true},
	}
	return slices.DeleteFunc(out, func(n name) bool { return n.value == "" })
}

func (d Directory) indexKey(kind scim.Kind, n name) string {
	sum := sha256.Sum256([]byte(string(kind) + "\x00" + n.attr + "\x00" + n.value))
	return "x." + d.Source + "." + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

func (d Directory) index(ctx context.Context, key string) (Index, uint64, error) {
	item, rev, err := d.Keep.Get(ctx, key)
	if err != nil && !errors.Is(err, stream.ErrNotFound) {
		return Index{}, 0, fmt.Errorf("look up a name: %w", err)
	}
	if item.Index == nil {
		return Index{}, rev, nil
	}
	return *item.Index, rev, nil
}

// holder is the user who has the name of r, or "".
func (d Directory) holder(ctx context.Context, r Resource) (string, error) {
	if r.Kind != scim.Users {
		return "", nil
	}
	i, _, err := d.index(ctx, d.indexKey(r.Kind, namesOf(r)[0]))
	if err != nil || len(i.IDs) == 0 {
		return "", err
	}
	return i.IDs[0], nil
}

// indexing collects what a change does to the names.
type indexing struct {
	directory Directory
	id        string
	writes    []stream.Write[Item]
}

// move takes away the names that the resource has no more and gives it those it
// has now. It gives the holder of a name that is another's.
func (x *indexing) move(ctx context.Context, now held, next *held, owed *Owed) (holder string, err error) {
	had := namesOf(now.Resource)
	var has []name
	if next != nil {
		has = namesOf(next.Resource)
	}
	for _, n := range had {
		if slices.Contains(has, n) {
			continue
		}
		err := x.change(ctx, now.Kind, n, func(i *Index) error {
			i.IDs = slices.DeleteFunc(i.IDs, func(id string) bool { return id == x.id })
			if n.attr == person {
				i.At = owed.At
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	for _, n := range has {
		if slices.Contains(had, n) {
			continue
		}
		err := x.change(ctx, now.Kind, n, func(i *Index) error {
			switch {
			case n.own && len(i.IDs) > 0:
				holder = i.IDs[0]
				return errTaken
			case len(i.IDs) >= maxSharing:
				return &scim.Error{Status: 409, ScimType: scim.Uniqueness, Detail: fmt.Sprintf("%s: %d resources have this value already", n.attr, maxSharing)}
			}
			if n.attr == person && !next.Modified.After(i.At) {
				next.Modified = after(i.At)
				next.Created, owed.At = next.Modified, next.Modified
			}
			i.IDs = append(i.IDs, x.id)
			return nil
		})
		if err != nil {
			return holder, err
		}
	}
	return "", nil
}

func (x *indexing) change(ctx context.Context, kind scim.Kind, n name, fn func(*Index) error) error {
	key := x.directory.indexKey(kind, n)
	i, rev, err := x.directory.index(ctx, key)
	if err != nil {
		return err
	}
	i.IDs = slices.Clone(i.IDs)
	if err := fn(&i); err != nil {
		return err
	}
	x.writes = append(x.writes, stream.Write[Item]{Key: key, Value: &Item{Index: &i}, Rev: rev})
	return nil
}

// candidates are the places of everything that a filter may find, where it asks
// for one value of what resources are found by; direct is false where it does not.
func (d Directory) candidates(ctx context.Context, kind scim.Kind, f scim.Filter) (places []Place, direct bool, err error) {
	for _, eq := range scim.Equalities(f) {
		n := name{attr: eq.Attr, value: eq.Value}
		switch {
		case eq.Value == "":
			continue
		case strings.EqualFold(eq.Attr, "id"):
			if !idPattern.MatchString(eq.Value) {
				return nil, true, nil
			}
			return []Place{{kind, eq.Value}}, true, nil
		case strings.EqualFold(eq.Attr, kind.NameAttribute()):
			n = name{kind.NameAttribute(), strings.ToLower(eq.Value), false}
		case strings.EqualFold(eq.Attr, "externalId"):
			n.attr = "externalId"
		default:
			continue
		}
		i, _, err := d.index(ctx, d.indexKey(kind, n))
		return placesOf(kind, i.IDs), true, err
	}
	return nil, false, nil
}

// MaxScan bounds the resources that one search looks through.
const MaxScan = 100_000

// Find gives the resources of a kind that a filter finds, as reduce leaves them,
// by id, which is the order in which they were made. A filter by id, name or
// externalId reads only those; any other looks through all, and fails with
// tooMany where there are more than MaxScan.
func (d Directory) Find(ctx context.Context, kind scim.Kind, f scim.Filter, reduce func(Resource) scim.Resource) ([]scim.Resource, error) {
	places, direct, err := d.candidates(ctx, kind, f)
	if err != nil {
		return nil, err
	}
	if !direct {
		return d.scan(ctx, kind, f, reduce)
	}
	var out []scim.Resource
	for _, p := range places {
		r, err := d.Get(ctx, p.Kind, p.ID) // what is found by name is about to be relied on
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return nil, err
		case f.Match(r.View()):
			out = append(out, reduce(r))
		}
	}
	return byID(out), nil
}

func (d Directory) scan(ctx context.Context, kind scim.Kind, f scim.Filter, reduce func(Resource) scim.Resource) ([]scim.Resource, error) {
	done, err := d.scanning(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	found, seen := map[string]scim.Resource{}, 0
	err = d.Keep.Each(ctx, "r."+d.Source+"."+string(kind)+".", func(key string, item Item, _ uint64) error {
		if seen++; seen > MaxScan {
			return &scim.Error{Status: 400, ScimType: scim.TooMany, Detail: fmt.Sprintf(
				"The search would look through more than %d resources. Search by id, %s or externalId.", MaxScan, kind.NameAttribute())}
		}
		if item.Record == nil {
			return nil
		}
		r, err := item.Record.resource(kind, stream.Token(key, 3))
		if err != nil {
			return err
		}
		delete(found, r.ID)
		if f == nil || f.Match(r.View()) {
			found[r.ID] = reduce(r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look through resources: %w", err)
	}
	out := make([]scim.Resource, 0, len(found))
	for _, r := range found {
		out = append(out, r)
	}
	return byID(out), nil
}

func byID(all []scim.Resource) []scim.Resource {
	slices.SortFunc(all, func(a, b scim.Resource) int { return strings.Compare(a.ID(), b.ID()) })
	return all
}

// IDs are the ids of all resources of a kind, in the order in which they were
// made. They must not be changed.
func (d Directory) IDs(ctx context.Context, kind scim.Kind) ([]string, error) {
	return d.Lists.of(d.Source, kind, func() ([]string, error) { return d.ids(ctx, kind) })
}

func (d Directory) ids(ctx context.Context, kind scim.Kind) ([]string, error) {
	done, err := d.scanning(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	keys, err := d.Keep.Keys(ctx, "r."+d.Source+"."+string(kind)+".")
	if err != nil {
		return nil, fmt.Errorf("list resources: %w", err)
	}
	for i, key := range keys {
		keys[i] = stream.Token(key, 3)
	}
	return keys, nil
}

// Read gives the resources at places, those that are there, in their order.
func (d Directory) Read(ctx context.Context, places []Place) ([]Resource, error) {
	return d.several(ctx, places)
}
