package rate_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/joinery/joinery/pkg/rate"
)

const (
	second = rate.Micros(1_000_000)
	noon   = 1_800_000_000 * second
)

func tenASecond() rate.Limits { return rate.Limits{{Requests: 10, Per: time.Second}} }

func demand(lane rate.Lane) rate.Demand { return rate.Demand{Lane: lane, Cost: 1} }

// closely compares answers, allowing for the rounding to a microsecond.
func closely() cmp.Option {
	return cmp.Options{
		cmpopts.EquateApprox(0, 1e-9),
		cmp.Comparer(func(a, b time.Duration) bool { return (a - b).Abs() <= time.Microsecond }),
	}
}

func TestAColdBucketWaitsForOneToken(t *testing.T) {
	s, a := rate.State{}.Take(noon, tenASecond(), demand(rate.Urgent))
	want := rate.Answer{Wait: 101_516 * time.Microsecond, Factor: 1} // 1.005 s / 9.9
	if diff := cmp.Diff(want, a, closely()); diff != "" {
		t.Errorf("first answer (-want +got):\n%s", diff)
	}
	_, a = s.Take(noon.After(a.Wait), tenASecond(), demand(rate.Urgent), demand(rate.Urgent))
	want = rate.Answer{Granted: 1, Wait: 101_516 * time.Microsecond, Factor: 1, Seq: 1}
	if diff := cmp.Diff(want, a, closely()); diff != "" {
		t.Errorf("second answer (-want +got):\n%s", diff)
	}
}

func TestAnEmptyBucketServesTheUrgentFirst(t *testing.T) {
	var waits []time.Duration
	for _, lane := range []rate.Lane{rate.Urgent, rate.Normal, rate.Bulk} {
		_, a := rate.State{}.Take(noon, tenASecond(), demand(lane))
		waits = append(waits, a.Wait)
	}
	ahead := []time.Duration{waits[1] - waits[0], waits[2] - waits[0]}
	want := []time.Duration{2538 * time.Microsecond, 5076 * time.Microsecond} // about Per/400 and Per/200
	if diff := cmp.Diff(want, ahead, closely()); diff != "" {
		t.Errorf("head starts (-want +got):\n%s", diff)
	}
}

func TestARestAllowsASmallBurstOnly(t *testing.T) {
	thousand := rate.Limits{{Requests: 1000, Per: time.Second}}
	s, _ := rate.State{}.Take(noon, thousand)
	demands := make([]rate.Demand, 50)
	for i := range demands {
		demands[i] = demand(rate.Urgent)
	}
	for lane, want := range map[rate.Lane]int{rate.Urgent: 11, rate.Normal: 8, rate.Bulk: 6} {
		for i := range demands {
			demands[i].Lane = lane
		}
		if _, a := s.Take(noon+3600*second, thousand, demands...); a.Granted != want {
			t.Errorf("%v: a burst of %d, want %d", lane, a.Granted, want)
		}
	}
}

func TestAllWindowsHoldAtOnce(t *testing.T) {
	limits := rate.Limits{{Requests: 100, Per: time.Second}, {Requests: 60, Per: time.Minute}}
	_, a := rate.State{}.Take(noon, limits, demand(rate.Urgent))
	_, slowest := rate.State{}.Take(noon, limits[1:], demand(rate.Urgent))
	if a.Wait != slowest.Wait {
		t.Errorf("waits %v, want %v as for the slowest window", a.Wait, slowest.Wait)
	}
}

func TestTheFirstWhoMustWaitHoldsBackTheRest(t *testing.T) {
	s, _ := rate.State{}.Take(noon, tenASecond())
	_, a := s.Take(noon+second, tenASecond(), demand(rate.Bulk), rate.Demand{Lane: rate.Normal, Cost: 3}, demand(rate.Urgent))
	if a.Granted != 1 || a.Wait <= 0 {
		t.Errorf("granted %d, wait %v: want one and a wait", a.Granted, a.Wait)
	}
}

func TestAPauseHoldsAllLanesAndTheLongestCounts(t *testing.T) {
	s, _ := rate.State{}.Take(noon, tenASecond())
	s = s.Hold(noon, 30*time.Second, true)
	s = s.Hold(noon, 10*time.Second, true)
	s = s.Hold(noon, -time.Hour, true)
	_, a := s.Take(noon+20*second, tenASecond(), demand(rate.Urgent))
	want := rate.Answer{Wait: 10 * time.Second, Held: 10 * time.Second, Factor: 1}
	if diff := cmp.Diff(want, a, closely()); diff != "" {
		t.Errorf("during the pause (-want +got):\n%s", diff)
	}
	if _, a := s.Take(noon+30*second, tenASecond(), demand(rate.Urgent)); a.Granted != 1 {
		t.Errorf("after the pause: %+v", a)
	}
}

func TestAPauseIsBoundedByADay(t *testing.T) {
	s := rate.State{}.Hold(noon, 1000*time.Hour, true)
	if _, a := s.Take(noon, nil, demand(rate.Urgent)); a.Wait != rate.MaxHold {
		t.Errorf("waits %v, want %v", a.Wait, rate.MaxHold)
	}
}

func TestAPersonCanEndAPause(t *testing.T) {
	s := rate.State{}.Hold(noon, time.Hour, true).Hold(noon+4000*second, time.Hour, true)
	_, a := s.Release(noon+4001*second).Take(noon+4001*second, nil, demand(rate.Urgent))
	if diff := cmp.Diff(rate.Answer{Granted: 1, Factor: 1, Seq: 1}, a); diff != "" {
		t.Errorf("after the release (-want +got):\n%s", diff)
	}
}

func TestAClockThatGoesBackFreezesNothing(t *testing.T) {
	s, _ := rate.State{}.Take(noon, tenASecond())
	s, _ = s.Take(noon+10*second, tenASecond(), demand(rate.Urgent))
	s = s.Hold(noon+10*second, 30*time.Second, true)
	back := noon - 3600*second
	s, a := s.Take(back, tenASecond(), demand(rate.Urgent))
	if a.Held != 30*time.Second {
		t.Errorf("the pause has %v left, want the 30s that it had", a.Held)
	}
	_, a = s.Take(back+30*second, tenASecond(), demand(rate.Urgent))
	if a.Granted != 1 {
		t.Errorf("30 s later: %+v, want a token", a)
	}
}

func TestAPauseBeforeTheFirstRequestIsKept(t *testing.T) {
	s := rate.State{}.Hold(noon, time.Minute, true)
	if _, a := s.Take(noon+second, tenASecond(), demand(rate.Urgent)); a.Held != 59*time.Second {
		t.Errorf("held for %v, want 59s", a.Held)
	}
}

func TestAnOldStateIsEmptied(t *testing.T) {
	s, _ := rate.State{}.Take(noon, tenASecond())
	snapshot, _ := s.Take(noon+second, tenASecond())
	used, a := snapshot.Take(noon+second, tenASecond(), demand(rate.Urgent))
	seen := a.Seq
	if _, lost := used.Verify(seen); lost {
		t.Error("the state itself was taken for an old one")
	}
	old, lost := snapshot.Verify(seen)
	_, a = old.Take(noon+second, tenASecond(), demand(rate.Urgent))
	if !lost || a.Granted != 0 {
		t.Errorf("lost %v, granted %d: want an empty bucket", lost, a.Granted)
	}
	if _, lost := old.Verify(seen); lost {
		t.Error("the loss is reported twice")
	}
}

func TestAnOldStateKeepsItsPauseAndItsPace(t *testing.T) {
	s := rate.State{}.Hold(noon, 2*time.Second, true).Hold(noon+6*second, 2*time.Second, true)
	s, lost := s.Verify(7)
	_, a := s.Take(noon+7*second, tenASecond(), demand(rate.Urgent))
	want := rate.Answer{Wait: time.Second, Held: time.Second, Factor: 0.7, Seq: 7}
	if diff := cmp.Diff(want, a, closely()); diff != "" || !lost {
		t.Errorf("lost %v (-want +got):\n%s", lost, diff)
	}
}

func TestACostAboveTheBurstIsPaidBeforeAndAfter(t *testing.T) {
	s, _ := rate.State{}.Take(noon, tenASecond())
	ready := noon + second
	s, a := s.Take(ready, tenASecond(), rate.Demand{Lane: rate.Normal, Cost: 5}, demand(rate.Urgent))
	// Capacity 1.1: 3.9 tokens are paid before, and 3.9 after until one is there.
	before := 395_910 * time.Microsecond
	if diff := cmp.Diff(before, a.Delay, closely()); diff != "" || a.Granted != 1 {
		t.Errorf("granted %d, delay (-want +got):\n%s", a.Granted, diff)
	}
	_, a = s.Take(ready.After(a.Delay), tenASecond(), demand(rate.Urgent))
	if diff := cmp.Diff(before+101_516*time.Microsecond, a.Wait, closely()); diff != "" || a.Held != 0 {
		t.Errorf("held %v, wait after it (-want +got):\n%s", a.Held, diff)
	}
}

func TestTheInputStateIsNotChanged(t *testing.T) {
	s, _ := rate.State{}.Take(noon, tenASecond())
	before := map[time.Duration]float64{time.Second: 0}
	s.Take(noon+second, tenASecond(), demand(rate.Urgent))
	s.Hold(noon+second, time.Minute, true)
	s.Verify(99)
	if diff := cmp.Diff(before, s.Levels); diff != "" {
		t.Errorf("levels (-want +got):\n%s", diff)
	}
}

func TestThePaceFallsOnlyUnderRefusalsThatGoOn(t *testing.T) {
	rows := []struct {
		name     string
		refusals []rate.Micros // seconds after noon; each pauses for 10 s
		at       rate.Micros
		want     float64
	}{
		{"none", nil, 0, 1},
		{"one", []rate.Micros{0}, 10, 1},
		{"stragglers of one series", []rate.Micros{0, 1, 5, 9}, 19, 1},
		{"one after the pause", []rate.Micros{0, 12}, 22, 0.7},
		{"two after the pause, with stragglers", []rate.Micros{0, 12, 13, 24, 25}, 35, 0.49},
		{"one long after", []rate.Micros{0, 1000}, 1010, 1},
		{"climbs after the pause", []rate.Micros{0, 12}, 22 + 180, 0.8},
		{"is back in the end", []rate.Micros{0, 12}, 22 + 541, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var s rate.State
			for _, at := range row.refusals {
				s = s.Hold(noon+at*second, 10*time.Second, true)
			}
			_, a := s.Take(noon+row.at*second, nil)
			if diff := cmp.Diff(row.want, a.Factor, cmpopts.EquateApprox(0, 0.002)); diff != "" {
				t.Errorf("pace (-want +got):\n%s", diff)
			}
		})
	}
}

func TestThePaceNeverFallsToNothing(t *testing.T) {
	var s rate.State
	for i := range rate.Micros(100) {
		s = s.Hold(noon+i*20*second, 10*time.Second, true)
	}
	_, a := s.Take(noon+100*20*second, nil)
	if a.Factor < 0.05-1e-9 || a.Factor > 0.06 {
		t.Errorf("pace %v, want about 0.05", a.Factor)
	}
}

func TestAPauseWithoutARefusalLeavesThePace(t *testing.T) {
	var s rate.State
	for i := range rate.Micros(10) {
		s = s.Hold(noon+i*20*second, 10*time.Second, false)
	}
	if _, a := s.Take(noon+300*second, nil); a.Factor != 1 {
		t.Errorf("pace %v, want all", a.Factor)
	}
}

func TestALoweredPaceGivesFewerTokens(t *testing.T) {
	s := rate.State{}.Hold(noon, 0, true).Hold(noon+6*second, 0, true)
	_, slow := s.Take(noon+6*second, tenASecond(), demand(rate.Urgent))
	_, full := rate.State{}.Take(noon+6*second, tenASecond(), demand(rate.Urgent))
	ratio := float64(full.Wait) / float64(slow.Wait)
	if diff := cmp.Diff(0.7, ratio, cmpopts.EquateApprox(0, 1e-4)); diff != "" {
		t.Errorf("rate (-want +got):\n%s", diff)
	}
}
