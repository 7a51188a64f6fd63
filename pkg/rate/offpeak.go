package rate

import "time"

// OffPeak is the part of the day in which bulk work may be done, from one minute
// of the day to another; it may span midnight. The zero value is the whole day.
type OffPeak struct {
	From, To int // minutes since midnight
	Zone     *time.Location
}

// Wait is the time until bulk work may begin; 0 means now.
func (o OffPeak) Wait(now time.Time) time.Duration {
	if o.From == o.To || o.Zone == nil {
		return 0
	}
	local := now.In(o.Zone)
	minute := local.Hour()*60 + local.Minute()
	inside := o.From <= minute && minute < o.To
	if o.From > o.To {
		inside = minute >= o.From || minute < o.To
	}
	if inside {
		return 0
	}
	y, m, d := local.Date()
	begin := time.Date(y, m, d, o.From/60, o.From%60, 0, 0, o.Zone)
	if !begin.After(now) {
		begin = time.Date(y, m, d+1, o.From/60, o.From%60, 0, 0, o.Zone)
	}
	return begin.Sub(now)
}
