package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/scim"
)

// Commit is one change that took effect, whatever was answered: the ground
// truth for an oracle.
type Commit struct {
	At   time.Time `json:"at"`
	Kind scim.Kind `json:"kind"`
	ID   string    `json:"id"`
	// Verb is create, update or delete.
	Verb string `json:"verb"`
	// After is the resource as it is now; nil after a delete.
	After scim.Resource `json:"after,omitempty"`
}

// store holds the resources in the order they were made.
type store struct {
	options Options
	next    int
	byID    map[scim.Kind]map[string]scim.Resource
	order   map[scim.Kind][]string
	commits []Commit
}

func newStore(o Options) *store {
	return &store{
		options: o, order: map[scim.Kind][]string{},
		byID: map[scim.Kind]map[string]scim.Resource{scim.Users: {}, scim.Groups: {}},
	}
}

func (st *store) get(kind scim.Kind, id string) (scim.Resource, bool) {
	r, ok := st.byID[kind][id]
	return r, ok
}

// matching gives the resources that a filter finds; a new one is not found
// before its time, but is listed.
func (st *store) matching(kind scim.Kind, f scim.Filter) []scim.Resource {
	out := []scim.Resource{}
	for _, id := range st.order[kind] {
		r := st.byID[kind][id]
		if f != nil && (!f.Match(r) || st.fresh(r)) {
			continue
		}
		out = append(out, r)
	}
	return out
}

func (st *store) fresh(r scim.Resource) bool {
	if st.options.Visibility == 0 {
		return false
	}
	v, _ := r.Get("meta.created")
	text, _ := v.(string)
	made, err := time.Parse(time.RFC3339Nano, text)
	return err == nil && time.Since(made) < st.options.Visibility
}

func (st *store) create(kind scim.Kind, r scim.Resource) (scim.Resource, error) {
	if err := st.unique(kind, r, ""); err != nil {
		return nil, err
	}
	st.next++
	id := fmt.Sprintf("%s%06d", st.options.Prefix, st.next)
	out := r.Clone()
	now := time.Now().UTC().Format(time.RFC3339Nano)
	out["id"] = id
	out["meta"] = map[string]any{
		"resourceType": strings.TrimSuffix(string(kind), "s"), "created": now, "lastModified": now,
		"location": st.options.Base + "/" + string(kind) + "/" + id, "version": `W/"1"`,
	}
	if _, said := out.Active(); kind == scim.Users && !said {
		out["active"] = true
	}
	return out, st.commit(Commit{At: time.Now(), Kind: kind, ID: id, Verb: "create", After: out})
}

func (st *store) update(kind scim.Kind, current, next scim.Resource) (scim.Resource, error) {
	id := current.ID()
	if err := st.unique(kind, next, id); err != nil {
		return nil, err
	}
	out := next.Clone()
	out["id"] = id
	meta := current.Clone()["meta"].(map[string]any)
	var version int
	_, _ = fmt.Sscanf(current.Version(), `W/"%d"`, &version)
	meta["version"] = fmt.Sprintf(`W/"%d"`, version+1)
	meta["lastModified"] = time.Now().UTC().Format(time.RFC3339Nano)
	out["meta"] = meta
	return out, st.commit(Commit{At: time.Now(), Kind: kind, ID: id, Verb: "update", After: out})
}

func (st *store) remove(kind scim.Kind, current scim.Resource) error {
	return st.commit(Commit{At: time.Now(), Kind: kind, ID: current.ID(), Verb: "delete"})
}

// unique refuses a userName that somebody else has, whatever its case.
func (st *store) unique(kind scim.Kind, r scim.Resource, self string) error {
	name := r.UserName()
	if kind != scim.Users || name == "" {
		return nil
	}
	for id, other := range st.byID[kind] {
		if id != self && strings.EqualFold(other.UserName(), name) {
			return &scim.Error{Status: http.StatusConflict, ScimType: scim.Uniqueness, Detail: "userName is already taken"}
		}
	}
	return nil
}

// commit makes a change take effect, in the journal first.
func (st *store) commit(c Commit) error {
	if st.options.Journal != nil {
		line, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("encode a journal line: %w", err)
		}
		if _, err := st.options.Journal.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("write the journal: %w", err)
		}
	}
	st.take(c)
	return nil
}

func (st *store) take(c Commit) {
	switch c.Verb {
	case "create":
		st.byID[c.Kind][c.ID] = c.After
		st.order[c.Kind] = append(st.order[c.Kind], c.ID)
	case "update":
		st.byID[c.Kind][c.ID] = c.After
	case "delete":
		delete(st.byID[c.Kind], c.ID)
		st.order[c.Kind] = slices.DeleteFunc(st.order[c.Kind], func(id string) bool { return id == c.ID })
		st.forget(c.ID)
	}
	st.commits = append(st.commits, c)
}

// forget takes a deleted user out of all groups.
func (st *store) forget(user string) {
	f := scim.Eq("value", user)
	for id, g := range st.byID[scim.Groups] {
		after, err := g.Apply([]scim.Operation{{Op: "remove", Path: "members[" + f.String() + "]"}})
		if err == nil {
			st.byID[scim.Groups][id] = after
		}
	}
}

// Replay reads a journal, so that the provider is as it was. A last line that
// was cut off by a crash had no effect.
func (s *Server) Replay(journal io.Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := json.NewDecoder(journal)
	for {
		var c Commit
		err := d.Decode(&c)
		if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // the decoder gives exactly these
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		s.store.take(c)
		var n int
		if _, err := fmt.Sscanf(strings.TrimPrefix(c.ID, s.options.Prefix), "%d", &n); err == nil {
			s.store.next = max(s.store.next, n)
		}
	}
}

// Seed puts resources in place as if somebody else had made them.
func (s *Server) Seed(kind scim.Kind, resources ...scim.Resource) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range resources {
		if _, err := s.store.create(kind, r); err != nil {
			return err
		}
	}
	return nil
}

// Edit changes a resource behind Joinery's back.
func (s *Server) Edit(kind scim.Kind, id string, ops ...scim.Operation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	current, ok := s.store.get(kind, id)
	if !ok {
		return fmt.Errorf("no %s %s", kind, id)
	}
	next, err := current.Apply(ops)
	if err != nil {
		return err
	}
	_, err = s.store.update(kind, current, next)
	return err
}

// Remove deletes a resource behind Joinery's back.
func (s *Server) Remove(kind scim.Kind, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	current, ok := s.store.get(kind, id)
	if !ok {
		return fmt.Errorf("no %s %s", kind, id)
	}
	return s.store.remove(kind, current)
}

// Resources gives what it holds, in the order it was made.
func (s *Server) Resources(kind scim.Kind) []scim.Resource {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []scim.Resource{}
	for _, r := range s.store.matching(kind, nil) {
		out = append(out, r.Clone())
	}
	return out
}

// Commits gives every change that took effect.
func (s *Server) Commits() []Commit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.store.commits)
}

// Requests gives every request that came.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.record)
}

// Stats are counts for a report.
type Stats struct {
	Requests int `json:"requests"`
	Commits  int `json:"commits"`
	// Refused counts requests above the rate; Most is the largest number in a window.
	Refused int `json:"refused"`
	Most    int `json:"most"`
	Users   int `json:"users"`
	Groups  int `json:"groups"`
}

// Stats gives counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Requests: len(s.record), Commits: len(s.store.commits), Refused: s.refused, Most: s.most,
		Users: len(s.store.byID[scim.Users]), Groups: len(s.store.byID[scim.Groups]),
	}
}
