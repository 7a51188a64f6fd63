package reconciler

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/reconcile"
)

// board is what this process knows of the runs of all targets. It is fed by the
// watch and may be behind: only a claim decides.
type board struct {
	mu   sync.Mutex
	runs map[string]summary
}

// summary is what of a run is kept at hand.
type summary struct {
	key       string
	target    string
	state     reconcile.RunState
	requested time.Time
	updated   time.Time
	rev       uint64
}

// show takes over what the watch brought. requested tells whether it is a run
// that waits to be claimed.
func (b *board) show(key string, run *reconcile.Run, rev uint64) (s summary, requested bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if run == nil {
		delete(b.runs, key)
		return summary{}, false
	}
	if b.runs == nil {
		b.runs = map[string]summary{}
	}
	s = summary{key, run.Target, run.State, run.RequestedAt, run.UpdatedAt, rev}
	b.runs[key] = s
	return s, s.state == reconcile.Requested
}

// due gives, oldest first, the runs that wait, and those whose worker has gone.
func (b *board) due(now time.Time) []summary {
	return b.those(func(s summary) bool {
		return s.state == reconcile.Requested || (s.state == reconcile.Running && now.Sub(s.updated) >= stale)
	})
}

// newest is when the newest run of a target was asked for; zero means never.
func (b *board) newest(target string) time.Time {
	runs := b.those(func(s summary) bool { return s.target == target })
	if len(runs) == 0 {
		return time.Time{}
	}
	return runs[len(runs)-1].requested
}

// keptRuns bounds the runs kept of each target: at 500 findings each, some ten
// megabytes in the bucket.
const keptRuns = 100

// surplus gives the ended runs of a target beyond those that are kept.
func (b *board) surplus(target string) []summary {
	ended := b.those(func(s summary) bool {
		return s.target == target && s.state != reconcile.Requested && s.state != reconcile.Running
	})
	return ended[:max(len(ended)-keptRuns, 0)]
}

// those gives the runs that match, in the order in which they were asked for.
func (b *board) those(match func(summary) bool) []summary {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []summary
	for _, s := range b.runs {
		if match(s) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(x, y summary) int {
		return cmp.Or(x.requested.Compare(y.requested), cmp.Compare(x.key, y.key))
	})
	return out
}

// busy is the set of targets with a run at work in this process.
type busy struct {
	mu   sync.Mutex
	held map[string]bool
}

func (b *busy) take(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[name] {
		return false
	}
	if b.held == nil {
		b.held = map[string]bool{}
	}
	b.held[name] = true
	return true
}

func (b *busy) free(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.held, name)
}
