package mapper

import (
	"context"
	"time"
)

// countEvery is the pause between two counts of what is scheduled.
const countEvery = time.Minute

// CountScheduled keeps the number of wake-ups that are to come in a metric until
// ctx ends; count asks the broker.
func (s *Service) CountScheduled(ctx context.Context, count func(context.Context) (uint64, error)) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if n, err := count(ctx); err == nil {
			s.scheduled.Set(float64(n))
		} else if ctx.Err() == nil {
			s.log.WarnContext(ctx, "scheduled wake-ups not counted", "error", err)
		}
		timer.Reset(countEvery)
	}
}
