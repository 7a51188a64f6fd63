package simulator

import (
	"fmt"
	"slices"

	"github.com/joinery/joinery/pkg/scim"
)

// Seed puts resources in place as if somebody else had made them. They are not
// checked, except that a name must be free.
func (s *Server) Seed(kind scim.Kind, resources ...scim.Resource) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range resources {
		if err := s.unique(kind, r, ""); err != nil {
			return err
		}
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
	if err := s.unique(kind, next, id); err != nil {
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
	for _, r := range s.store.all(kind) {
		out = append(out, r.Clone())
	}
	return out
}

// Commits gives every change that took effect, the first million of them.
func (s *Server) Commits() []Commit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.store.commits)
}

// Requests gives every request that came, the first 100,000 of them.
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
		Requests: s.requests, Commits: s.store.committed, Refused: s.refused, Most: s.most,
		Users: len(s.store.byID[scim.Users]), Groups: len(s.store.byID[scim.Groups]),
	}
}
