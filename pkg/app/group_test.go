package app_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/joinery/joinery/pkg/app"
)

func untilStopped(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("wait for work: %w", ctx.Err())
}

func TestTheFirstFailureStopsAllAndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("no broker")
		g := app.NewGroup(t.Context())
		g.Go("mapper", untilStopped)
		g.Go("router", func(context.Context) error {
			<-time.After(time.Second)
			return down
		})
		err := g.Wait()
		if !errors.Is(err, down) || err.Error() != "router: no broker" {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheEndOfTheContextIsAnOrderlyStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, end := range map[string]func() (context.Context, context.CancelFunc){
			"cancelled": func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Minute, cancel)
				return ctx, cancel
			},
			"out of time": func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(t.Context(), time.Minute)
			},
		} {
			ctx, cancel := end()
			g := app.NewGroup(ctx)
			g.Go("a", untilStopped)
			g.Go("b", untilStopped)
			if err := g.Wait(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
		}
	})
}

func TestWaitWaitsForTheSlowestPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		g := app.NewGroup(t.Context())
		g.Go("slow", func(ctx context.Context) error {
			<-ctx.Done()
			<-time.After(3 * time.Second)
			return nil
		})
		g.Stop()
		if err := g.Wait(); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("returned %v after %v", err, time.Since(began))
		}
	})
}

func TestAPartThatIsDoneStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := app.NewGroup(t.Context())
		g.Go("short", func(context.Context) error { return nil })
		finished := false
		g.Go("long", func(ctx context.Context) error {
			select {
			case <-time.After(time.Hour):
				finished = true
			case <-ctx.Done():
			}
			return nil
		})
		if err := g.Wait(); err != nil || !finished {
			t.Errorf("got %v, long part finished: %v", err, finished)
		}
	})
}

func TestFailuresWhileStoppingAreReportedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := app.NewGroup(t.Context())
		g.Go("a", func(context.Context) error { return errors.New("first") })
		g.Go("b", func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("cannot flush")
		})
		err := g.Wait()
		if err == nil || strings.Split(err.Error(), "\n")[0] != "a: first" || !strings.Contains(err.Error(), "b: cannot flush") {
			t.Errorf("got %v", err)
		}
	})
}

func TestAPartThatGivesUpItsOwnContextHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := app.NewGroup(t.Context())
		g.Go("a", func(context.Context) error { return context.Canceled })
		if err := g.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the failure", err)
		}
	})
}
