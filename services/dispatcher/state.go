package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/alert"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/target"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// States is the bucket of target states, shared by all replicas.
type States interface {
	Get(ctx context.Context, key string) (target.State, uint64, error)
	Put(ctx context.Context, key string, s target.State, rev uint64) (uint64, error)
}

// states holds this process's copy of one target's state, kept fresh by a watch
// on the bucket.
type states struct {
	bucket  States
	mu      sync.Mutex
	state   target.State
	all     target.State    // of everything: the switch that stops all targets
	open    context.Context // ends when the target stops taking commands
	shut    context.CancelFunc
	unread  int           // watches that have not shown yet what was there
	changed chan struct{} // closed and renewed at every change
}

func newStates(bucket States, name string) *states {
	s := &states{bucket: bucket, state: target.State{Target: name}, unread: 2, changed: make(chan struct{})}
	s.open, s.shut = context.WithCancel(context.Background())
	return s
}

// period is a context that ends when a person pauses the target, or it is
// quarantined: what only waits for its turn then gives up.
func (s *states) period() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// tell wakes whoever waits for a change; mu is held.
func (s *states) tell() {
	switch ok, _ := s.state.Under(s.all).Open(); {
	case !ok:
		s.shut()
	case s.open.Err() != nil:
		s.open, s.shut = context.WithCancel(context.Background())
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// current gives the state, and a channel that is closed when it changes.
func (s *states) current() (target.State, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Under(s.all), s.changed
}

// seen takes over a state that the watch brought.
func (s *states) seen(state target.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
	s.tell()
}

// seenEverything takes over the switch for all targets.
func (s *states) seenEverything(all target.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = all
	s.tell()
}

// read notes that one of the two watches has shown what was there.
func (s *states) read() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread = max(s.unread-1, 0)
	s.tell()
}

// known tells whether a switch that was thrown before we started would be known.
func (s *states) known() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unread == 0
}

// edit changes the stored state by compare-and-swap.
func (s *states) edit(ctx context.Context, edit func(target.State) target.State) error {
	for range 10 {
		local, _ := s.current()
		stored, rev, err := s.bucket.Get(ctx, local.Target)
		if errors.Is(err, stream.ErrNotFound) {
			stored = target.State{Target: local.Target}
		} else if err != nil {
			return fmt.Errorf("read the state of %s: %w", local.Target, err)
		}
		next := edit(stored)
		next.UpdatedAt = time.Now().UTC()
		_, err = s.bucket.Put(ctx, local.Target, next, rev)
		if err == nil {
			s.seen(next)
			return nil
		}
		if !errors.Is(err, stream.ErrConflict) {
			return fmt.Errorf("store the state of %s: %w", local.Target, err)
		}
	}
	return fmt.Errorf("store the state of a target: %w", stream.ErrConflict)
}

// quarantine stops the target on every replica. The commands wait where they are.
func (t *worker) quarantine(ctx context.Context, why error) {
	var said *scim.Error
	status := 0
	if errors.As(why, &said) {
		status = said.Status
	}
	t.breaker.trip()
	t.ramp.down()
	err := t.states.edit(ctx, func(s target.State) target.State {
		if s.Quarantined == nil {
			s.Quarantined = &target.Quarantine{
				Reason: why.Error(), Status: status, Since: time.Now().UTC(), Worker: t.ledger.worker,
			}
		}
		return s
	})
	t.metrics.open.Set(0, t.name)
	t.raise(ctx, alert.Quarantined, t.name, fmt.Sprintf("%s refuses Joinery (status %d): its commands wait; see: joinery targets show %s", t.name, status, t.name))
	t.log.ErrorContext(ctx, "target quarantined", "target", t.name, "status", status, "reason", why.Error(), "stored", err == nil)
}

// learn remembers what the target taught, for all replicas. Losing a lesson
// costs one refused request. evidence is what the target said, without values.
func (t *worker) learn(ctx context.Context, quirk, value, evidence string) {
	if t.knows(quirk, value) {
		return
	}
	err := t.states.edit(ctx, func(s target.State) target.State {
		return s.With(quirk, target.Quirk{Value: value, Evidence: evidence, At: time.Now().UTC()})
	})
	t.log.InfoContext(ctx, "target taught a quirk", "target", t.name, "quirk", quirk, "value", value, "evidence", evidence, "stored", err == nil)
}

// lessons is where a target's client keeps what the target teaches it.
type lessons struct{ *worker }

// Knows implements scimhttp.Lessons.
func (l lessons) Knows(knob, value string) bool { return l.knows(knob, value) }

// Learn implements scimhttp.Lessons.
func (l lessons) Learn(ctx context.Context, knob, value, evidence string) {
	l.learn(ctx, knob, value, evidence)
}

// knows tells whether the target taught this before.
func (t *worker) knows(quirk, value string) bool {
	state, _ := t.states.current()
	return state.Knows(quirk, value)
}

// admitting is what a lane asks before it fetches: the target takes commands, it
// is the lane's time of day, and a command that is fetched could be sent at once.
func (t *worker) admitting(lane string) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			if err := t.Admit(ctx); err != nil {
				return err
			}
			pause := time.Duration(0)
			if lane == "bulk" {
				pause = t.offPeak.Wait(time.Now())
			}
			if pause == 0 {
				break
			}
			if err := sleep(ctx, min(pause, time.Minute)); err != nil {
				return err
			}
		}
		if t.vacant == nil {
			return nil
		}
		return t.vacant(ctx, laneNamed(lane))
	}
}

func laneNamed(name string) joineryv1.Lane {
	return joineryv1.Lane(joineryv1.Lane_value["LANE_"+strings.ToUpper(name)])
}

// Admit waits until commands may be sent to the target: not paused, not
// quarantined, not down.
func (t *worker) Admit(ctx context.Context) error {
	for {
		state, changed := t.states.current()
		isDown, _, closed, _ := t.breaker.state()
		ok, _ := state.Open()
		if ok && !isDown && t.states.known() {
			t.metrics.open.Set(1, t.name)
			return nil
		}
		t.metrics.open.Set(0, t.name)
		if !isDown {
			closed = nil
		}
		select {
		case <-changed:
		case <-closed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Probe watches over the target while it is down or quarantined: it asks, ever
// more seldom, until the target answers, and then lets the commands go on.
func (t *worker) Probe(ctx context.Context) error {
	for {
		isDown, opened, _, wait := t.breaker.state()
		state, changed := t.states.current()
		if !isDown && state.Quarantined != nil {
			t.breaker.trip() // quarantined by another replica, or before we started
			continue
		}
		if !isDown {
			select {
			case <-opened:
				continue
			case <-changed:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := sleep(ctx, t.jitter(wait)); err != nil {
			return err
		}
		t.probe(ctx)
	}
}

func (t *worker) probe(ctx context.Context) {
	err := t.check(ctx)
	if fault.Is(err, fault.TargetDown) {
		t.quarantine(ctx, err)
	}
	t.breaker.probed(err == nil)
	t.log.InfoContext(ctx, "target probed", "target", t.name, "answers", err == nil)
	state, _ := t.states.current()
	if err != nil || state.Quarantined == nil {
		return
	}
	err = t.states.edit(ctx, func(s target.State) target.State {
		s.Quarantined = nil
		return s
	})
	t.raise(ctx, alert.Released, t.name, t.name+" answers again: its commands go on")
	t.log.InfoContext(ctx, "target released by a succeeding probe", "target", t.name, "stored", err == nil)
}
