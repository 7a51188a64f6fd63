package ingest

import (
	"context"
	"time"
)

// refreshEvery is how soon a rotated secret is in force.
const refreshEvery = 30 * time.Second

// Refresh puts what load gives in force, again and again until ctx ends, so that
// a secret can be rotated without a restart. Where load fails, the sources stay
// as they are: a file that is just being written locks nobody out.
func (s *Service) Refresh(ctx context.Context, load func() ([]Source, error)) error {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		sources, err := load()
		if err == nil {
			err = s.Reload(sources)
		}
		if err != nil {
			s.tel.Log.WarnContext(ctx, "sources stay as they are", "error", err)
		}
	}
}
