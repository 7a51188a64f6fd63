package ratetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/rate"
)

func coldStart(t *testing.T, b *bench) {
	w := rate.Window{Requests: 10, Per: time.Second}
	l := b.limiter(w)
	b.send(l, rate.Urgent, 5, 1)
	all := b.all()
	for i, s := range all {
		b.near(fmt.Sprintf("request %d", i), s.At, time.Duration(i+1)*token(w))
	}
}

func neverMore(t *testing.T, b *bench) {
	second, long := rate.Window{Requests: 20, Per: time.Second}, rate.Window{Requests: 45, Per: 3 * time.Second}
	one, two := b.limiter(second, long), b.limiter(second, long)
	b.pass(500 * time.Millisecond) // the buckets gather what they can
	for _, l := range []Limiter{one, two} {
		b.send(l, rate.Normal, 20, 1)
		b.send(l, rate.Bulk, 10, 1)
		b.send(l, rate.Urgent, 10, 1)
	}
	all := b.all()
	if len(all) != 80 {
		t.Fatalf("%d requests, want 80", len(all))
	}
	within(t, all, second)
	within(t, all, long)
}

func nearlyAll(t *testing.T, b *bench) { usesNearlyAll(t, b, rate.Normal) }
func bulkAlone(t *testing.T, b *bench) { usesNearlyAll(t, b, rate.Bulk) }
func longSecond() rate.Window          { return rate.Window{Requests: 100, Per: time.Second} }
func shareOnRealTime(late time.Duration) float64 {
	if late > 0 {
		return 0.9
	}
	return 0.98
}

func usesNearlyAll(t *testing.T, b *bench, lane rate.Lane) {
	w := longSecond()
	const requests = 201
	b.send(b.limiter(w), lane, requests, 1)
	all := b.all()
	took := (all[len(all)-1].At - all[0].At).Seconds()
	share := float64(requests-1) / took / float64(w.Requests) * w.Per.Seconds()
	if least := shareOnRealTime(b.suite.Late); share < least || share > 1 {
		t.Errorf("used %.4f of the rate, want %v to 1", share, least)
	}
}

func urgentNext(t *testing.T, b *bench) {
	w := rate.Window{Requests: 10, Per: time.Second}
	l := b.limiter(w)
	b.send(l, rate.Bulk, 5, 1)
	b.send(l, rate.Normal, 10, 1)
	b.pass(350 * time.Millisecond)
	asked := time.Since(b.began)
	b.wait(l, rate.Urgent, 1)
	if waited := time.Since(b.began) - asked; waited > token(w)+2*time.Millisecond+b.suite.Late {
		t.Errorf("the urgent request waited %v, want no longer than the next token: %v", waited, token(w))
	}
	for _, s := range b.all() {
		if s.Name == "urgent" {
			return
		}
		if s.At > asked+b.suite.Late+time.Millisecond {
			t.Errorf("a %s request went first, at %v", s.Name, s.At)
		}
	}
}

func urgentElsewhere(t *testing.T, b *bench) {
	w := rate.Window{Requests: 10, Per: time.Second}
	one, two := b.limiter(w), b.limiter(w)
	b.send(one, rate.Normal, 20, 1)
	b.pass(350 * time.Millisecond)
	for range 3 {
		asked := time.Since(b.began)
		b.wait(two, rate.Urgent, 1)
		// On real time the head start of a few milliseconds can be lost once.
		bound := token(w) + 2*time.Millisecond
		if b.suite.Late > 0 {
			bound += token(w) + b.suite.Late
		}
		if waited := time.Since(b.began) - asked; waited > bound {
			t.Errorf("the urgent request waited %v, want no longer than %v", waited, bound)
		}
	}
	within(t, b.all(), w)
}

func bulkLast(t *testing.T, b *bench) {
	w := rate.Window{Requests: 20, Per: time.Second}
	l := b.limiter(w)
	b.send(l, rate.Bulk, 10, 1)
	b.send(l, rate.Normal, 10, 1)
	queued := time.Since(b.began)
	normal := 0
	for _, s := range b.all() {
		switch {
		case s.Name == "normal":
			normal++
		case s.At > queued+b.suite.Late && normal < 10:
			t.Errorf("a bulk request was let through at %v, before all normal ones", s.At)
		}
	}
}

func pauseHolds(t *testing.T, b *bench) {
	w := rate.Window{Requests: 50, Per: time.Second}
	one, two := b.limiter(w), b.limiter(w)
	b.pass(300 * time.Millisecond)
	b.wait(one, rate.Normal, 1)
	const pause = time.Second
	if err := one.Hold(t.Context(), target, pause); err != nil {
		t.Fatalf("hold: %v", err)
	}
	end := time.Since(b.began) + pause
	for _, l := range []Limiter{one, two} {
		for _, lane := range []rate.Lane{rate.Urgent, rate.Normal, rate.Bulk} {
			b.send(l, lane, 1, 1)
		}
	}
	all := b.all()[1:]
	if early := end - all[0].At; early > time.Millisecond+b.suite.Late {
		t.Errorf("a %s request was let through %v before the end of the pause", all[0].Name, early)
	}
	b.near("the first request after the pause", all[0].At, end)
	if len(all) != 6 {
		t.Errorf("%d requests after the pause, want 6", len(all))
	}
}

func longerPause(t *testing.T, b *bench) {
	one, two := b.limiter(longSecond()), b.limiter(longSecond())
	end := time.Since(b.began) + time.Second
	for _, err := range []error{
		one.Hold(t.Context(), target, time.Second),
		two.Hold(t.Context(), target, 200*time.Millisecond),
		one.Hold(t.Context(), target, -time.Second),
	} {
		if err != nil {
			t.Fatalf("hold: %v", err)
		}
	}
	b.send(two, rate.Urgent, 1, 1)
	b.near("the request", b.all()[0].At, end)
}

func costCounts(t *testing.T, b *bench) {
	w := rate.Window{Requests: 500, Per: time.Second} // a burst of 6
	l := b.limiter(w)
	b.send(l, rate.Normal, 100, 1)
	b.send(l, rate.Normal, 50, 5)
	all := b.all()
	within(t, all, w)
	least := time.Duration(350) * token(w)
	b.near("350 requests", all[len(all)-1].At, least+ahead(w, rate.Normal))
}

func greatCost(t *testing.T, b *bench) {
	w := rate.Window{Requests: 20, Per: time.Second}
	l := b.limiter(w)
	b.send(l, rate.Normal, 10, 1)
	b.send(l, rate.Normal, 2, 8)
	b.send(l, rate.Normal, 10, 1)
	within(t, b.all(), w)
}

func impossibleCost(t *testing.T, b *bench) {
	l := b.limiter(rate.Window{Requests: 20, Per: time.Second}, rate.Window{Requests: 5, Per: time.Minute})
	for _, cost := range []int{6, 0, -1} {
		if err := l.Wait(t.Context(), target, rate.Normal, cost); err == nil {
			t.Errorf("a cost of %d was let through", cost)
		}
	}
}

func givesUp(t *testing.T, b *bench) {
	w := rate.Window{Requests: 10, Per: time.Second}
	l := b.limiter(w)
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 5)
	for range 5 {
		go func() { gaveUp <- l.Wait(ctx, target, rate.Urgent, 1) }()
	}
	b.settle()
	b.send(l, rate.Normal, 1, 1)
	b.pass(token(w) / 2)
	cancel()
	for range 5 {
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the end of the context", err)
		}
	}
	b.near("who stayed", b.all()[0].At, token(w)+ahead(w, rate.Normal))
}

func apart(t *testing.T, b *bench) {
	w := rate.Window{Requests: 10, Per: time.Second}
	l := b.limiter(w)
	if err := l.Configure("other", rate.Limits{w}); err != nil {
		t.Fatalf("configure: %v", err)
	}
	if err := l.Hold(t.Context(), "other", time.Hour); err != nil {
		t.Fatalf("hold: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	other := make(chan error, 1)
	go func() { other <- l.Wait(ctx, "other", rate.Urgent, 1) }()
	b.settle()
	b.send(l, rate.Urgent, 3, 1)
	b.near("the third request", b.all()[2].At, 3*token(w))
	cancel()
	if err := <-other; !errors.Is(err, context.Canceled) {
		t.Errorf("the held target let a request through: %v", err)
	}
}

func pausesOnly(t *testing.T, b *bench) {
	l := b.limiter()
	b.send(l, rate.Normal, 300, 7)
	if at := b.all()[299].At; at > 5*time.Millisecond+10*b.suite.Late {
		t.Errorf("300 requests without a limit took %v", at)
	}
	if err := l.Hold(t.Context(), target, 500*time.Millisecond); err != nil {
		t.Fatalf("hold: %v", err)
	}
	end := time.Since(b.began) + 500*time.Millisecond
	b.send(l, rate.Normal, 1, 1)
	b.near("the request after the pause", b.all()[300].At, end)
}

func changed(t *testing.T, b *bench) {
	l := b.limiter(rate.Window{Requests: 1, Per: time.Hour})
	b.send(l, rate.Normal, 3, 1)
	b.pass(200 * time.Millisecond)
	if err := l.Configure(target, rate.Limits{longSecond()}); err != nil {
		t.Fatalf("configure: %v", err)
	}
	if last := b.all()[2].At; last > 400*time.Millisecond+b.suite.Late {
		t.Errorf("the last request went at %v, want soon after the change", last)
	}
}

func impossibleLimits(t *testing.T, b *bench) {
	if err := b.replica().Configure(target, rate.Limits{{Requests: 0, Per: time.Second}}); err == nil {
		t.Error("a window of no requests was accepted")
	}
}

func slowsDown(t *testing.T, b *bench) {
	w := rate.Window{Requests: 10, Per: time.Second}
	l := b.limiter(w)
	for range 4 { // the first is forgiven, three go on
		if err := l.Hold(t.Context(), target, 10*time.Second); err != nil {
			t.Fatalf("hold: %v", err)
		}
		b.pass(time.Minute)
	}
	slow := b.spacing(l)
	b.pass(rate.Climb)
	fast := b.spacing(l)
	if slow < token(w)*2 || fast > token(w)+2*time.Millisecond {
		t.Errorf("a token every %v and later every %v; the configured rate gives one every %v", slow, fast, token(w))
	}
}

// spacing is the time between requests while some wait.
func (b *bench) spacing(l Limiter) time.Duration {
	const requests = 10
	began := len(b.all())
	b.send(l, rate.Normal, requests, 1)
	all := b.all()[began:]
	return (all[requests-1].At - all[1].At) / (requests - 2)
}
