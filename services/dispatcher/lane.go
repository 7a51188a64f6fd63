package dispatcher

import (
	"context"
	"errors"
	"time"

	"github.com/joinery/joinery/pkg/fault"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// errand is for what command, and in whose life, a request is sent.
type errand struct {
	lane   joineryv1.Lane
	life   context.Context // of the worker, which outlives that of one message
	period context.Context // in which the target takes commands
}

type errandKey struct{}

func withErrand(ctx context.Context, e errand) context.Context {
	return context.WithValue(ctx, errandKey{}, e)
}

// LaneOf is the lane of the command that a request to a target is sent for, so
// that leavers get their tokens first. Requests for no command are normal.
func LaneOf(ctx context.Context) joineryv1.Lane {
	if e, ok := ctx.Value(errandKey{}).(errand); ok {
		return e.lane
	}
	return joineryv1.Lane_LANE_NORMAL
}

// Why a request is not sent any more.
var (
	errStopping = errors.New("the dispatcher is stopping")
	errClosed   = errors.New("the target takes no commands now")
)

// Patiently waits for a token through wait, but gives up when the dispatcher is
// told to stop, or the target is: a request that is under way is finished, one
// that only waits for its turn comes again.
func Patiently(ctx context.Context, wait func(context.Context) error) error {
	e, ok := ctx.Value(errandKey{}).(errand)
	if !ok || e.life == nil {
		return wait(ctx)
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.life, cancel)()
	defer context.AfterFunc(e.period, cancel)()
	if e.period.Err() != nil {
		return fault.Retry(whileDown, errClosed)
	}
	err := wait(waiting)
	switch {
	case err != nil && e.life.Err() != nil:
		return fault.Retry(time.Second, errStopping)
	case e.period.Err() != nil:
		return fault.Retry(whileDown, errClosed)
	}
	return err
}
