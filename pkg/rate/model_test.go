package rate_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/joinery/joinery/pkg/rate"
	"github.com/joinery/joinery/pkg/rate/ratetest"
)

// model is the arithmetic and nothing else: every caller asks for itself. That it
// passes the suite shows that right of way is in the buckets, not in a queue.
type model struct {
	mu     sync.Mutex
	limits map[string]rate.Limits
	states map[string]rate.State
}

func (m *model) Configure(target string, l rate.Limits) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limits[target] = l
	return l.Validate()
}

func (m *model) Hold(_ context.Context, target string, pause time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states[target] = m.states[target].Hold(clock(), pause, true)
	return nil
}

func (m *model) Wait(ctx context.Context, target string, lane rate.Lane, cost int) error {
	for {
		a, err := m.ask(target, rate.Demand{Lane: lane, Cost: cost})
		if err != nil {
			return err
		}
		next := min(a.Wait, 100*time.Millisecond) // the limits may change
		if a.Granted == 1 {
			next = a.Delay
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(next):
		}
		if a.Granted == 1 {
			return nil
		}
	}
}

func (m *model) ask(target string, d rate.Demand) (a rate.Answer, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d.Cost < 1 || d.Cost > m.limits[target].MaxCost() {
		return a, fmt.Errorf("a cost of %d", d.Cost)
	}
	m.states[target], a = m.states[target].Take(clock(), m.limits[target], d)
	return a, nil
}

func clock() rate.Micros { return rate.Micros(time.Now().UnixMicro()) }

func TestTheArithmeticAlonePassesTheSuite(t *testing.T) {
	ratetest.Suite{
		Open: func(*testing.T) func() ratetest.Limiter {
			m := &model{limits: map[string]rate.Limits{}, states: map[string]rate.State{}}
			return func() ratetest.Limiter { return m }
		},
		Within:  synctest.Test,
		Minutes: true,
	}.Run(t)
}
