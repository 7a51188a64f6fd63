package rate

import "time"

// The rules of the pace: additive increase, multiplicative decrease.
//
//	a refusal                                          the pace
//	the first for Sustained                            stays; the pause is enough
//	during a pause, or within Settle of the last one   stays: it was on its way already
//	within Sustained after the last pause              falls to 70 %, not below 5 % of the rate
//	none                                               climbs, from 0 to all in Climb
const (
	Settle    = 5 * time.Second
	Sustained = 15 * time.Minute
	Climb     = 30 * time.Minute

	paceFalls = 0.7
	paceLeast = 0.05
)

// Pace is how much of the configured rate a target bears. The zero Pace is all of it.
type Pace struct {
	// Lowered is by how much it was lowered at At, as a share of the rate.
	Lowered float64
	// At is when it begins to climb.
	At Micros
	// RefusedAt is when the last series of refusals began; 0 is never.
	RefusedAt Micros
}

// Factor is the share of the configured rate to use, above 0 and up to 1.
func (p Pace) Factor(now Micros) float64 {
	climbed := float64(max(0, now-p.At)) / float64(Climb.Microseconds())
	return 1 - max(0, p.Lowered-climbed)
}

// refused is the pace after a refusal at now; the pause before it ended at
// before, the one after it ends at until.
func (p Pace) refused(now, before, until Micros) Pace {
	if now < before || (p.RefusedAt != 0 && now < p.RefusedAt.After(Settle)) {
		p.At = max(p.At, until)
		return p
	}
	share := p.Factor(now)
	if p.RefusedAt != 0 && now < max(p.RefusedAt, before).After(Sustained) {
		share = max(paceLeast, share*paceFalls)
	}
	return Pace{Lowered: 1 - share, At: until, RefusedAt: now}
}

// back moves the pace back with the clock.
func (p Pace) back(by Micros) Pace {
	p.At = max(0, p.At-by)
	if p.RefusedAt != 0 {
		p.RefusedAt = max(1, p.RefusedAt-by)
	}
	return p
}
