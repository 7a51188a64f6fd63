package redisrate_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/joinery/joinery/pkg/rate"
	"github.com/joinery/joinery/pkg/redisrate"
)

func TestAQueueIsVacantWhenNobodyWaitsAndNoPauseHolds(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		l := redisrate.NewLocal(redisrate.Options{})
		defer func() { _ = l.Close() }()
		must(t, l.Configure("acme", rate.Limits{{Requests: 1, Per: 10 * time.Second}}))
		start := time.Now()
		must(t, l.Vacant(t.Context(), "acme", rate.Normal))
		must(t, l.Wait(t.Context(), "acme", rate.Normal, 1))
		go func() { _ = l.Wait(t.Context(), "acme", rate.Normal, 1) }()
		synctest.Wait()
		must(t, l.Vacant(t.Context(), "acme", rate.Urgent)) // another lane's queue is its own
		if waited := time.Since(start); waited > time.Minute {
			t.Error(waited)
		}
		begun := time.Now()
		must(t, l.Vacant(t.Context(), "acme", rate.Normal))
		if waited := time.Since(begun); waited < 5*time.Second {
			t.Error("vacant though somebody waits", waited)
		}
		must(t, l.Hold(t.Context(), "acme", time.Hour))
		held := time.Now()
		must(t, l.Vacant(t.Context(), "acme", rate.Urgent))
		if waited := time.Since(held); waited < time.Hour {
			t.Error("vacant during a pause", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		must(t, l.Hold(t.Context(), "acme", time.Hour))
		if err := l.Vacant(ctx, "acme", rate.Bulk); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
