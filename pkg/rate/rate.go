// Package rate owns the arithmetic of how often a target may be asked: windows
// that all hold at once, lanes of different urgency, pauses that a target asked
// for, and a pace that falls under repeated refusals and climbs back. It is the
// reference for the Redis script of pkg/redisrate; both pass one suite
// (pkg/rate/ratetest).
//
// It knows no clock: every function is told the time.
package rate

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Lane says how urgent a request is.
type Lane int

// The lanes, most urgent first.
const (
	Urgent Lane = iota // leavers, disables, revocations
	Normal
	Bulk // reconciliation, backfill
)

// Lanes is their number.
const Lanes = 3

// String is the lane's name in subjects, logs and metrics.
func (l Lane) String() string {
	switch l {
	case Urgent:
		return "urgent"
	case Bulk:
		return "bulk"
	default:
		return "normal"
	}
}

// Window is one limit of a target: at most Requests within any stretch of Per.
type Window struct {
	Requests int
	Per      time.Duration
}

// String is the window as a person writes it: "50 per 1s".
func (w Window) String() string { return fmt.Sprintf("%d per %v", w.Requests, w.Per) }

// Limits are the windows of one target; all hold at once. Without a window only
// the target's own pauses hold.
type Limits []Window

// The bounds of what a window can sensibly be.
const (
	maxWindows  = 8
	maxRequests = 100_000_000
	minPer      = 100 * time.Millisecond
	maxPer      = 31 * 24 * time.Hour
)

// Validate reports everything that is wrong with the limits.
func (l Limits) Validate() error {
	var errs []error
	if len(l) > maxWindows {
		errs = append(errs, fmt.Errorf("%d windows are more than %d", len(l), maxWindows))
	}
	seen := map[time.Duration]bool{}
	for i, w := range l {
		if w.Requests < 1 || w.Requests > maxRequests {
			errs = append(errs, fmt.Errorf("window %d: requests is %d, want 1 to %d", i, w.Requests, maxRequests))
		}
		if w.Per < minPer || w.Per > maxPer {
			errs = append(errs, fmt.Errorf("window %d: per is %v, want %v to %v", i, w.Per, minPer, maxPer))
		}
		if seen[w.Per] {
			errs = append(errs, fmt.Errorf("window %d: another window is as long: %v", i, w.Per))
		}
		seen[w.Per] = true
	}
	return errors.Join(errs...)
}

// MaxCost is the greatest cost that one request can have: that of the tightest
// window, or no bound.
func (l Limits) MaxCost() int {
	least := math.MaxInt
	for _, w := range l {
		least = min(least, w.Requests)
	}
	return least
}

// Share is what one of n replicas may use when they cannot agree: an n-th of each
// window. Where a window has fewer requests than there are replicas, each gets one
// request in a longer time; then the windows hold only on average.
func (l Limits) Share(n int) Limits {
	if n <= 1 {
		return l
	}
	share := make(Limits, len(l))
	for i, w := range l {
		if w.Requests >= n {
			share[i] = Window{Requests: w.Requests / n, Per: w.Per}
			continue
		}
		share[i] = Window{Requests: 1, Per: time.Duration(math.Ceil(float64(w.Per) * float64(n) / float64(w.Requests)))}
	}
	return share
}

const (
	// reserveShare of a window is what may gather for a burst.
	reserveShare = 0.01
	// slack is by how much a window is taken to be longer than it is, so that
	// requests which travel unequally long still arrive within the limit.
	slack = 1.005
	// The parts of the reserve that stay behind for more urgent lanes.
	normalFloor = 0.25
	bulkFloor   = 0.5
)

// Bucket is a window as a token bucket that keeps a sliding promise.
//
// A bucket of capacity C that gains r tokens a second lets fewer than C + r*T
// requests pass in any half-open stretch T. For that to be Requests at most
// in a stretch of Per (and its slack), C + r*T may be Requests+1:
//
//	reserve  = 1 % of Requests
//	Capacity = 1 + reserve                  what can be sent at once after a rest
//	Refill   = (Requests - reserve) / (Per * 1.005)
//
// So 98.5 % of the rate can be used for ever, whatever its size. A larger reserve
// would allow longer bursts and a lower rate.
//
// The reserve has a second use. A request is let through when the level is its
// cost and the floor of its lane: 0 for urgent, a quarter of the reserve for
// normal, half for bulk. While others wait for a token, an urgent request finds
// one Per/400 earlier than a normal one and Per/200 earlier than a bulk one, on
// whichever replica: that is its right of way. What is left above bulk's floor
// saves the tokens of a caller that comes late, up to Per/200.
type Bucket struct {
	// Capacity is the most that gathers, in tokens.
	Capacity float64
	// Refill is in tokens a microsecond.
	Refill float64
	// Floors is what each lane leaves in the bucket, in tokens.
	Floors [Lanes]float64
}

// Bucket is the window's token bucket.
func (w Window) Bucket() Bucket {
	requests := float64(w.Requests)
	reserve := requests * reserveShare
	return Bucket{
		Capacity: 1 + reserve,
		Refill:   (requests - reserve) / (float64(w.Per.Microseconds()) * slack),
		Floors:   [Lanes]float64{Urgent: 0, Normal: reserve * normalFloor, Bulk: reserve * bulkFloor},
	}
}

// need is the level at which a request is let through.
func (b Bucket) need(d Demand) float64 {
	return min(float64(d.Cost)+b.Floors[d.Lane], b.Capacity)
}
