// Package guard owns the arithmetic of how much may be taken from people before
// a person must agree: sliding windows over destructive changes, one for each
// (target, kind of change, source). It knows no clock and no store.
package guard

import (
	"slices"
	"time"
)

// The kinds of change that are guarded.
const (
	Deprovision = "deprovision" // accounts disabled or deleted
	Membership  = "membership"  // memberships removed of people who keep their account
	Rename      = "rename"      // identifiers of accounts changed
)

// Limit is a number and a share of the target's accounts in a sliding window;
// whichever is reached first holds what comes after.
type Limit struct {
	Max, Percent int
	Per          time.Duration
}

const (
	// Floor is what a share never goes below: in a small company one leaver is
	// many percent.
	Floor = 5
	// Reserve is how many single leavers pass in a window though it is full, evenly
	// spread over it: a batch that waits for a person must not keep the one who
	// was dismissed today.
	Reserve = 5
)

// slots is into how many parts a window is divided. The oldest part counts in
// full: a window is up to a sixtieth longer than was asked, never shorter.
const slots = 60

// Allowed is how many changes pass in a window, where the target has total accounts.
func (l Limit) Allowed(total int) int {
	if l.Percent >= 100 {
		return l.Max // all may go; and some may have gone, come back, and gone again
	}
	return min(l.Max, max(total*l.Percent/100, Floor))
}

// Window is what has passed lately, and the batch of what has not.
type Window struct {
	Slots []Slot `json:"slots,omitempty"`
	// Spared is when the last one passed on the reserve.
	Spared time.Time `json:"spared,omitzero"`
	// Batch names what is held together; Held is when the last one was added.
	Batch string    `json:"batch,omitempty"`
	Held  time.Time `json:"held,omitzero"`
}

// Slot is how many passed in one part of the window.
type Slot struct {
	Start time.Time `json:"start"`
	Count int       `json:"count"`
}

// Admit asks for one more change: the window after it, and whether it passes.
// single tells that somebody spoke of this one person, rather than that a
// comparison or a rule touched many. What is held belongs to the window's batch,
// which is a new one once nothing was held for as long as a window lasts; name
// makes its name.
func (w Window) Admit(now time.Time, l Limit, total int, single bool, name func(time.Time) string) (Window, bool) {
	now = now.UTC()
	w.Slots = slices.DeleteFunc(slices.Clone(w.Slots), func(s Slot) bool { return s.Start.Add(l.Per + l.Per/slots).Before(now) })
	if w.Count() < l.Allowed(total) {
		return w.passed(now, l.Per/slots), true
	}
	if single && now.Sub(w.Spared) >= l.Per/Reserve {
		w.Spared = now
		return w.passed(now, l.Per/slots), true
	}
	if w.Batch == "" || now.Sub(w.Held) > l.Per {
		w.Batch = name(now)
	}
	w.Held = now
	return w, false
}

// Count is how many passed in the window.
func (w Window) Count() (n int) {
	for _, s := range w.Slots {
		n += s.Count
	}
	return n
}

func (w Window) passed(now time.Time, width time.Duration) Window {
	if last := len(w.Slots) - 1; last >= 0 && now.Sub(w.Slots[last].Start) < width {
		w.Slots[last].Count++
		return w
	}
	w.Slots = append(w.Slots, Slot{Start: now, Count: 1})
	return w
}
