package mapper

import "github.com/joinery/joinery/pkg/identity"

// Sources is what is configured of the sources together.
type Sources struct {
	// Precedence names, by attribute, the sources whose word counts first. Without
	// it the newest statement counts.
	Precedence map[string][]string
	// Correlate says, by source, how those with keys of their own find people; Links
	// is where that is kept. It may be nil where no source does.
	Correlate map[string]Correlation
	Links     Links
}

// Heed puts what is configured of the sources in force. People whom it changes
// are brought in line by Recompute, or with their next event.
func (s *Service) Heed(sources Sources) { s.sources.Store(&sources) }

// heed lets a record go by the sources in force.
func (s *Service) heed(rec *identity.Record) {
	rec.Precedence = nil
	for name, order := range s.sources.Load().Precedence {
		if len(rec.Attributes[name]) < 2 {
			continue // there is nothing to choose from
		}
		if rec.Precedence == nil {
			rec.Precedence = map[string][]string{}
		}
		rec.Precedence[name] = order
	}
}
