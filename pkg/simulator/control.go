package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/joinery/joinery/pkg/scim"
)

// control serves what a test in another process needs to see and do.
func (s *Server) control(w http.ResponseWriter, r *http.Request) {
	show := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	done := func(err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /_sim/requests":
		show(s.Requests())
	case "GET /_sim/commits":
		show(s.Commits())
	case "GET /_sim/stats":
		show(s.Stats())
	case "GET /_sim/faults":
		show(s.active())
	case "DELETE /_sim/faults":
		s.Heal()
		done(nil)
	case "POST /_sim/faults":
		f, err := ParseFault(r.FormValue("fault"))
		if err == nil {
			s.Inject(f)
		}
		done(err)
	case "POST /_sim/seed":
		done(s.seedFrom(r.Body))
	default:
		http.Error(w, "there are requests, commits, stats (GET), faults (GET, POST fault=..., DELETE) and seed (POST)", http.StatusNotFound)
	}
}

// active are the faults that may still strike.
func (s *Server) active() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Fault{}
	for _, f := range s.faults.active {
		out = append(out, *f)
	}
	return out
}

// seedFrom reads a JSON array of resources; what names the group schema is a
// group.
func (s *Server) seedFrom(body io.Reader) error {
	var raw []json.RawMessage
	if err := json.NewDecoder(io.LimitReader(body, maxBody)).Decode(&raw); err != nil {
		return errors.New("the body must be a JSON array of resources")
	}
	for i, text := range raw {
		r, err := scim.Parse(text)
		if err != nil {
			return fmt.Errorf("read resource %d: %w", i, err)
		}
		kind := scim.Users
		if schemas, _ := r.Get("schemas"); scim.Names(schemas, scim.GroupSchema) {
			kind = scim.Groups
		}
		if err := s.Seed(kind, r); err != nil {
			return fmt.Errorf("seed resource %d: %w", i, err)
		}
	}
	return nil
}
