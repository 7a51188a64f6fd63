package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/target"
)

// Board shows and steers targets.
type Board struct {
	States Store[target.State]
	// Configured gives the targets of the configuration and their mode.
	Configured func() map[string]string
	// Profiles gives a target's profile and what its file says differently, by
	// knob. May be nil.
	Profiles func(target string) (profile string, quirks map[string]string)
	// Credentials gives the ends of a target's credentials, the first one first.
	// May be nil.
	Credentials func(target string) []Credential
	// Waiting counts the commands of a target that are still to be done.
	Waiting func(ctx context.Context, target string) (uint64, error)
	// Cases counts open cases.
	Cases Store[Case]
}

// TargetView is one target on the board.
type TargetView struct {
	Target  string       `json:"target"`
	Mode    string       `json:"mode"`
	Open    bool         `json:"open"`
	Reason  string       `json:"reason,omitempty"`
	Waiting uint64       `json:"waiting"`
	State   target.State `json:"state"`
	// Profile is the vendor profile that the target's file names.
	Profile string `json:"profile,omitempty"`
	// Quirks are what the target's file says differently from its profile, by
	// knob; State.Quirks are what the target taught.
	Quirks map[string]string `json:"quirks,omitempty"`
	// Credentials are those of which it is known when they end.
	Credentials []Credential `json:"credentials,omitempty"`
}

// Credential is what a target is shown, and when it ends. It holds nothing of it.
type Credential struct {
	Credential string    `json:"credential"`
	Expires    time.Time `json:"expires"`
}

// Ends says when something ends or ended, in days.
func Ends(at, now time.Time) string {
	day, left := at.UTC().Format(time.DateOnly), at.Sub(now)
	switch days := int(left.Abs() / (24 * time.Hour)); {
	case left <= 0:
		return fmt.Sprintf("ended on %s (%d days ago)", day, days)
	case days == 0:
		return fmt.Sprintf("ends on %s (within a day)", day)
	default:
		return fmt.Sprintf("ends on %s (in %d days)", day, days)
	}
}

// Show gives one target.
func (b *Board) Show(ctx context.Context, name string) (TargetView, error) {
	mode, ok := b.Configured()[name]
	if !ok {
		return TargetView{}, ErrUnknown
	}
	state, _, err := b.States.Get(ctx, name)
	if errors.Is(err, stream.ErrNotFound) {
		state = target.State{Target: name}
	} else if err != nil {
		return TargetView{}, fmt.Errorf("read the state of %s: %w", name, err)
	}
	all, _, err := b.States.Get(ctx, target.Everything)
	if err != nil && !errors.Is(err, stream.ErrNotFound) {
		return TargetView{}, fmt.Errorf("read the switch for all targets: %w", err)
	}
	state = state.Under(all)
	v := TargetView{Target: name, Mode: mode, State: state}
	if b.Profiles != nil {
		v.Profile, v.Quirks = b.Profiles(name)
	}
	if b.Credentials != nil {
		v.Credentials = b.Credentials(name)
	}
	v.Open, v.Reason = state.Open()
	if mode != "live" {
		v.Open, v.Reason = false, "mode "+mode
	}
	if v.Waiting, err = b.Waiting(ctx, name); err != nil {
		return v, fmt.Errorf("count the commands waiting for %s: %w", name, err)
	}
	return v, nil
}

// Closed says why a target takes no commands now, or "".
func (b *Board) Closed(ctx context.Context, name string) string {
	mode, ok := b.Configured()[name]
	if !ok {
		return "the target is not configured any more"
	}
	if mode != "live" {
		return "mode " + mode
	}
	state, _, err := b.States.Get(ctx, name)
	all, _, errAll := b.States.Get(ctx, target.Everything)
	if (err != nil && !errors.Is(err, stream.ErrNotFound)) || (errAll != nil && !errors.Is(errAll, stream.ErrNotFound)) {
		return ""
	}
	_, why := state.Under(all).Open()
	return why
}

// Steer pauses, resumes or releases a target, or with target.Everything throws
// the switch for all of them; the dispatchers follow at once.
func (b *Board) Steer(ctx context.Context, name, action, by, reason string) (TargetView, error) {
	if _, ok := b.Configured()[name]; !ok && (name != target.Everything || action == "release") {
		return TargetView{}, ErrUnknown
	}
	for range 10 {
		state, rev, err := b.States.Get(ctx, name)
		if err != nil && !errors.Is(err, stream.ErrNotFound) {
			return TargetView{}, fmt.Errorf("read the state of %s: %w", name, err)
		}
		state.Target, state.UpdatedAt = name, time.Now().UTC()
		switch action {
		case "pause":
			state.Paused = &target.Decision{By: by, At: time.Now().UTC(), Reason: reason}
		case "resume":
			state.Paused = nil
		case "release":
			state.Quarantined = nil
		}
		_, err = b.States.Put(ctx, name, state, rev)
		if err == nil && name == target.Everything {
			open, why := state.Open()
			return TargetView{Target: name, Open: open, Reason: why, State: state}, nil
		}
		if err == nil {
			return b.Show(ctx, name)
		}
		if !errors.Is(err, stream.ErrConflict) {
			return TargetView{}, fmt.Errorf("store the state of %s: %w", name, err)
		}
	}
	return TargetView{}, fmt.Errorf("store the state of %s: %w", name, stream.ErrConflict)
}
