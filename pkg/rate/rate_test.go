package rate_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/rate"
	"pgregory.net/rapid"
)

func TestLimitsReportEverythingWrongAtOnce(t *testing.T) {
	err := rate.Limits{
		{Requests: 0, Per: time.Second},
		{Requests: 5, Per: time.Millisecond},
		{Requests: 9, Per: time.Second},
		{Requests: -1, Per: 1000 * time.Hour},
	}.Validate()
	want := strings.Join([]string{
		"window 0: requests is 0, want 1 to 100000000",
		"window 1: per is 1ms, want 100ms to 744h0m0s",
		"window 2: another window is as long: 1s",
		"window 3: requests is -1, want 1 to 100000000",
		"window 3: per is 1000h0m0s, want 100ms to 744h0m0s",
	}, "\n")
	if err == nil {
		t.Fatal("accepted")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if err := make(rate.Limits, 9).Validate(); err == nil || !strings.Contains(err.Error(), "9 windows") {
		t.Errorf("nine windows: %v", err)
	}
}

func TestGoodLimitsAreGood(t *testing.T) {
	for _, l := range []rate.Limits{
		nil,
		{{Requests: 50, Per: time.Second}, {Requests: 5000, Per: time.Hour}},
		{{Requests: 1, Per: 31 * 24 * time.Hour}},
	} {
		if err := l.Validate(); err != nil {
			t.Errorf("%v: %v", l, err)
		}
	}
}

func TestTheTightestWindowBoundsTheCost(t *testing.T) {
	l := rate.Limits{{Requests: 50, Per: time.Second}, {Requests: 20, Per: time.Minute}}
	if got := l.MaxCost(); got != 20 {
		t.Errorf("MaxCost = %d, want 20", got)
	}
	if got := rate.Limits(nil).MaxCost(); got != math.MaxInt {
		t.Errorf("MaxCost without windows = %d", got)
	}
}

func TestLanesHaveTheNamesOfTheSubjects(t *testing.T) {
	got := []string{rate.Urgent.String(), rate.Normal.String(), rate.Bulk.String()}
	if diff := cmp.Diff([]string{"urgent", "normal", "bulk"}, got); diff != "" {
		t.Error(diff)
	}
	if got := (rate.Window{Requests: 50, Per: time.Second}).String(); got != "50 per 1s" {
		t.Errorf("window %q", got)
	}
}

func TestASharePerReplicaNeverSumsUpToMore(t *testing.T) {
	got := rate.Limits{{Requests: 50, Per: time.Second}, {Requests: 2, Per: time.Minute}}.Share(4)
	want := rate.Limits{{Requests: 12, Per: time.Second}, {Requests: 1, Per: 2 * time.Minute}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("share of one in four (-want +got):\n%s", diff)
	}
	rapid.Check(t, func(t *rapid.T) {
		w, n := window().Draw(t, "window"), rapid.IntRange(1, 64).Draw(t, "replicas")
		share := rate.Limits{w}.Share(n)[0]
		whole, part := float64(w.Requests)/float64(w.Per), float64(share.Requests)/float64(share.Per)
		if part*float64(n) > whole*(1+1e-9) || share.Requests < 1 {
			t.Errorf("%d times %v is more than %v", n, share, w)
		}
	})
}

func TestEveryBucketKeepsItsWindowAndUsesNearlyAllOfIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := window().Draw(t, "window")
		b := w.Bucket()
		requests, per := float64(w.Requests), float64(w.Per.Microseconds())
		// C + r*Per must stay below Requests+1, or a half-open stretch of Per could
		// hold one more.
		if total := b.Capacity + b.Refill*per; total >= requests+1 {
			t.Errorf("%v: %v can pass", w, total)
		}
		if used := b.Refill * per / requests; used < 0.98 {
			t.Errorf("%v: only %v of the rate can be used", w, used)
		}
		if f := b.Floors; f[rate.Urgent] != 0 || f[rate.Normal] <= 0 || f[rate.Bulk] <= f[rate.Normal] || 1+f[rate.Bulk] > b.Capacity {
			t.Errorf("%v: floors %v of capacity %v", w, f, b.Capacity)
		}
	})
}

func window() *rapid.Generator[rate.Window] {
	return rapid.Custom(func(t *rapid.T) rate.Window {
		return rate.Window{
			Requests: rapid.IntRange(1, 5000).Draw(t, "requests"),
			Per: rapid.SampledFrom([]time.Duration{
				100 * time.Millisecond, time.Second, 10 * time.Second, time.Minute, time.Hour, 24 * time.Hour,
			}).Draw(t, "per"),
		}
	})
}
