// Package directory owns the resources that an identity provider keeps at the
// door: users and groups of one source, found by id and by name, changed by
// compare-and-swap, and the facts that each change owes to the rest of Joinery.
//
// A change and what it owes are stored at one instant, so that a process may die
// at any point after it: what is owed is told again until it is certain, and no
// change of the resource goes before. It must not know what a fact leads to, or
// how requests come.
package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/google/uuid"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	"golang.org/x/sync/errgroup"
)

// Keep is the bucket of the entries, under compare-and-swap; *stream.Bucket[Item]
// is one, and says what its errors mean.
type Keep interface {
	Get(ctx context.Context, key string) (Item, uint64, error)
	PutAll(ctx context.Context, writes []stream.Write[Item]) (uint64, error)
	Keys(ctx context.Context, prefix string) ([]string, error)
	Each(ctx context.Context, prefix string, fn func(key string, value Item, rev uint64) error) error
	Watch(ctx context.Context, prefix string, fn func(key string, value *Item, rev uint64)) error
}

// Open opens the bucket in which all sources keep theirs.
func Open(ctx context.Context, conn *stream.Conn) (Keep, error) {
	return stream.OpenBucket[Item](ctx, conn, stream.Directory)
}

// Item is one entry:
//
//	r.<source>.<kind>.<id>   Record   a resource, and Owed what its last change owes
//	o.<source>.<kind>.<id>   Owed     what its removal owes
//	x.<source>.<hash>        Index    whose name a name is; the hash hides it
//
// So most changes write one key, which costs the broker a tenth of several at one
// instant. An Index is emptied, never deleted: a bucket cannot swap what was
// deleted (stream.Bucket.PutAll).
type Item struct {
	Record *Record `json:"record,omitempty"`
	Index  *Index  `json:"index,omitempty"`
	Owed   *Owed   `json:"owed,omitempty"`
}

// Record is a resource as it is stored.
type Record struct {
	// Body is what clients wrote, but for the members of a group.
	Body    json.RawMessage `json:"body"`
	Members []string        `json:"members,omitempty"`
	// Version grows by one with each change.
	Version  int64     `json:"version"`
	Created  time.Time `json:"created"`
	Modified time.Time `json:"modified"`
	// Person is the identity key of the user, as it was made out at the first
	// change.
	Person string `json:"person,omitempty"`
	// Begun is whether the user was ever active here.
	Begun bool `json:"begun,omitempty"`
}

// The bounds.
const (
	// MaxMembers of a group: with 36 bytes an id they take 400 KiB of the 1 MiB
	// that an entry may have.
	MaxMembers = 10_000
	// MaxMemberChanges in one request: what it owes must fit into an entry, with the
	// person of each.
	MaxMemberChanges = 5_000
	// MaxSize of a resource in bytes, without members: an event of it must fit too.
	MaxSize = 512 << 10
	// maxSharing is how many may share a name that need not be one's own.
	maxSharing = 64
	// maxRounds is how often a change begins again because another came between.
	maxRounds = 12
	// parallel reads at a time.
	parallel = 16
)

// What is said of requests that cannot be done.
var (
	ErrNotFound = errors.New("there is no such resource")
	// ErrContended: others kept changing the resource; ask again.
	ErrContended = errors.New("the resource changes too often")
)

// Resource is a resource that the directory holds.
type Resource struct {
	Kind scim.Kind
	ID   string
	// Body is a copy: it holds what clients wrote, members included, and neither id
	// nor meta.
	Body              scim.Resource
	Version           int64
	Created, Modified time.Time
	// Person is the identity key of a user.
	Person string
	// Begun is whether a user was ever active.
	Begun bool
}

// ETag is the version as an entity tag (RFC 7644 section 3.14).
func (r Resource) ETag() string { return fmt.Sprintf(`W/"%d"`, r.Version) }

// View is the resource with id and meta, but for its location.
func (r Resource) View() scim.Resource {
	out := r.Body.Clone()
	out["id"] = r.ID
	out["meta"] = map[string]any{
		"resourceType": r.Kind.ResourceType(), "version": r.ETag(),
		"created": r.Created.UTC().Format(time.RFC3339Nano), "lastModified": r.Modified.UTC().Format(time.RFC3339Nano),
	}
	return out
}

// Members are the ids of a group's members.
func (r Resource) Members() []string {
	var out []string
	for _, m := range r.Body.Members() {
		out = append(out, scim.Resource(m).Text("value"))
	}
	return out
}

// Directory is the directory of one source. It is safe for concurrent use, and
// by several processes.
type Directory struct {
	// Source is the source's name.
	Source string
	Keep   Keep
	Teller Teller
	// Scans holds a place for each look through all resources at a time; nil is no
	// bound.
	Scans chan struct{}
	// Lists may be nil.
	Lists *Lists
}

// scanning waits for a place to look through all resources.
func (d Directory) scanning(ctx context.Context) (done func(), err error) {
	if d.Scans == nil {
		return func() {}, nil
	}
	select {
	case d.Scans <- struct{}{}:
		return func() { <-d.Scans }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to look through resources: %w", ctx.Err())
	}
}

// idPattern is what ids look like: UUIDs of version 7, which sort by the time
// they were made (RFC 9562 section 5.7).
var idPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return id.String(), nil
}

func (d Directory) recordKey(kind scim.Kind, id string) string {
	return "r." + d.Source + "." + string(kind) + "." + id
}

func (d Directory) removedKey(kind scim.Kind, id string) string {
	return "o." + d.Source + "." + string(kind) + "." + id
}

// Get reads a resource, or fails with ErrNotFound. What it owes is told first: a
// client that sees its change takes it for done.
func (d Directory) Get(ctx context.Context, kind scim.Kind, id string) (Resource, error) {
	h, err := d.hold(ctx, kind, id)
	if err != nil {
		return Resource{}, err
	}
	if h.rev == 0 {
		return Resource{}, ErrNotFound
	}
	return h.Resource, nil
}

// Person is the identity key of the user with an id, or "" where there is none.
func (d Directory) Person(ctx context.Context, id string) (string, error) {
	if !idPattern.MatchString(id) {
		return "", nil
	}
	r, _, err := d.read(ctx, scim.Users, id)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	return r.Person, err
}

// held is a resource as it was read for a change, with nothing owed. A rev of 0
// means that there is none.
type held struct {
	Resource
	rev uint64
	// settled is what was owed until it was read, or nil.
	settled *Owed
}

// hold reads a resource for a change, or what its removal owes; and has told what
// is owed.
func (d Directory) hold(ctx context.Context, kind scim.Kind, id string) (held, error) {
	var h held
	if !idPattern.MatchString(id) {
		return h, nil
	}
	for range maxRounds {
		key := d.recordKey(kind, id)
		item, rev, err := d.Keep.Get(ctx, key)
		if errors.Is(err, stream.ErrNotFound) {
			key = d.removedKey(kind, id)
			item, rev, err = d.Keep.Get(ctx, key)
		}
		if err != nil && !errors.Is(err, stream.ErrNotFound) {
			return h, fmt.Errorf("read a resource: %w", err)
		}
		h.Resource, h.rev = Resource{Kind: kind, ID: id}, 0
		if item.Record != nil {
			h.rev = rev
			if h.Resource, err = item.Record.resource(kind, id); err != nil {
				return h, err
			}
		}
		if item.Owed.empty() {
			return h, nil
		}
		h.settled = item.Owed
		if err := d.tell(ctx, h.Resource, *item.Owed); err != nil {
			return h, err
		}
		// Whoever noted it first leaves something to read.
		if err := d.note(ctx, key, item, rev); err != nil && !errors.Is(err, stream.ErrConflict) {
			return h, err
		}
	}
	return h, ErrContended
}

func (d Directory) read(ctx context.Context, kind scim.Kind, id string) (Resource, uint64, error) {
	item, rev, err := d.Keep.Get(ctx, d.recordKey(kind, id))
	if errors.Is(err, stream.ErrNotFound) || err == nil && item.Record == nil {
		return Resource{Kind: kind, ID: id}, 0, ErrNotFound
	}
	if err != nil {
		return Resource{}, 0, fmt.Errorf("read a resource: %w", err)
	}
	r, err := item.Record.resource(kind, id)
	return r, rev, err
}

func (rec Record) resource(kind scim.Kind, id string) (Resource, error) {
	body, err := scim.Parse(rec.Body)
	if err != nil {
		return Resource{}, fmt.Errorf("decode a stored resource: %w", err)
	}
	members := make([]any, len(rec.Members))
	for i, member := range rec.Members {
		members[i] = map[string]any{"value": member}
	}
	if kind == scim.Groups {
		body.SetMembers(members)
	}
	return Resource{
		Kind: kind, ID: id, Body: body, Version: rec.Version, Created: rec.Created, Modified: rec.Modified, Person: rec.Person, Begun: rec.Begun,
	}, nil
}

func (r Resource) record() (*Record, error) {
	body := r.Body.Clone()
	body.Drop("members")
	if r.Kind == scim.Users {
		body = r.Body
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode a resource: %w", err)
	}
	if len(text) > MaxSize {
		return nil, &scim.Error{Status: 413, Detail: fmt.Sprintf("A resource may have %d bytes; leave out pictures and documents.", MaxSize)}
	}
	rec := &Record{Body: text, Version: r.Version, Created: r.Created, Modified: r.Modified, Person: r.Person, Begun: r.Begun}
	if r.Kind == scim.Groups {
		rec.Members = r.Members()
	}
	return rec, nil
}

// several reads resources, those that are there, in the order of the ids.
func (d Directory) several(ctx context.Context, places []Place) ([]Resource, error) {
	found := make([]*Resource, len(places))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, p := range places {
		group.Go(func() error {
			r, _, err := d.read(ctx, p.Kind, p.ID)
			if err == nil {
				found[i] = &r
			} else if !errors.Is(err, ErrNotFound) {
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	out := make([]Resource, 0, len(places))
	for _, r := range found {
		if r != nil {
			out = append(out, *r)
		}
	}
	return out, nil
}
