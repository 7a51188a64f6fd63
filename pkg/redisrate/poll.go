package redisrate

import (
	"context"
	"time"

	"github.com/joinery/joinery/pkg/rate"
)

const (
	// maxBatch bounds how many callers are asked for at once.
	maxBatch = 64
	// minRest keeps fast targets from asking for every single token: what gathers
	// meanwhile is not lost (rate.Bucket).
	minRest = 2 * time.Millisecond
	// maxRest bounds how long a change that nobody tells this process of goes
	// unnoticed, such as the end of a pause by a person's decision.
	maxRest = 10 * time.Second
)

// poll asks for the callers of one target until none is left. There is one poller
// for a target at a time.
func (l *Limiter) poll(ctx context.Context, t *target) {
	for {
		batch, limits := t.batch()
		if len(batch) == 0 {
			return
		}
		demands := make([]rate.Demand, len(batch))
		for i, w := range batch {
			demands[i] = rate.Demand{Lane: w.lane, Cost: w.cost}
		}
		a, shared := l.take(ctx, t, limits, demands)
		t.hand(batch, a, shared)
		if !l.rest(t, a.Wait) {
			return
		}
	}
}

// rest waits until the next demand may be due. It tells whether to go on.
func (l *Limiter) rest(t *target, wait time.Duration) bool {
	if wait <= 0 {
		return !l.isClosed()
	}
	timer := time.NewTimer(min(max(wait, minRest), maxRest))
	defer timer.Stop()
	select {
	case <-l.closed:
		return false
	case <-t.wake:
	case <-timer.C:
	}
	return true
}

// take asks Redis, or memory while Redis is away, which never fails.
func (l *Limiter) take(ctx context.Context, t *target, limits rate.Limits, demands []rate.Demand) (rate.Answer, bool) {
	if l.reachable() {
		a, err := l.ask(ctx, t, l.shared, limits, demands)
		if err == nil {
			return a, true
		}
		l.lose(ctx, err)
	}
	a, err := l.ask(ctx, t, l.local, limits, demands)
	if err != nil {
		a = rate.Answer{Wait: minRest}
	}
	return a, false
}

// ask asks one store. A store that does not know of the latest grants starts with
// empty buckets (rate.State.Verify); a pause that it may not know is handed over.
func (l *Limiter) ask(
	ctx context.Context, t *target, s store, limits rate.Limits, demands []rate.Demand,
) (rate.Answer, error) {
	seen, switched := t.lastSeen(s)
	held := t.held()
	if switched && held > 0 {
		if err := s.hold(ctx, t.name, limits, held, false); err != nil {
			return rate.Answer{}, err
		}
	}
	a, err := s.take(ctx, t.name, limits, seen, demands)
	if err != nil {
		return rate.Answer{}, err
	}
	if a.Lost && !switched {
		l.log.WarnContext(ctx, "the limiter's state was lost; it starts empty", "target", t.name)
		if held > 0 {
			// What was granted without knowing of the pause is not used.
			if err := s.hold(ctx, t.name, limits, held, false); err != nil {
				return rate.Answer{}, err
			}
			a.Granted, a.Delay, a.Wait, a.Held = 0, 0, held, held
		}
	}
	t.answered(s, a)
	return a, nil
}

// lastSeen is the latest Seq, and whether another store gave it.
func (t *target) lastSeen(s store) (seen int64, switched bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen, t.via != nil && t.via != s
}

func (t *target) answered(s store, a rate.Answer) {
	t.mu.Lock()
	t.via, t.seen = s, a.Seq
	t.mu.Unlock()
	if a.Held > 0 {
		t.learn(a.Held)
	}
}

func (l *Limiter) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

func (l *Limiter) reachable() bool {
	if l.shared == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.away
}

// lose begins the time in which Redis is away, and looks for its end beside the
// callers, so that none of them waits for an answer that does not come.
func (l *Limiter) lose(ctx context.Context, reason error) {
	l.mu.Lock()
	already := l.away || l.ended
	l.away = true
	l.mu.Unlock()
	if already {
		return
	}
	l.log.ErrorContext(ctx, "redis is away; every replica keeps to its share of the rates", "error", reason)
	l.alarm(reason)
	ctx = context.WithoutCancel(ctx)
	l.begin(func() { l.find(ctx) })
}

func (l *Limiter) find(ctx context.Context) {
	ticker := time.NewTicker(retryEvery)
	defer ticker.Stop()
	for {
		select {
		case <-l.closed:
			return
		case <-ticker.C:
		}
		if l.Ready(ctx) == nil {
			break
		}
	}
	l.mu.Lock()
	l.away = false
	l.mu.Unlock()
	l.log.InfoContext(ctx, "redis is back")
	l.alarm(nil)
}
