package dispatcher

import (
	"context"

	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

type laneKey struct{}

func withLane(ctx context.Context, lane joineryv1.Lane) context.Context {
	return context.WithValue(ctx, laneKey{}, lane)
}

// LaneOf is the lane of the command that a request to a target is sent for, so
// that leavers get their tokens first. Requests for no command are normal.
func LaneOf(ctx context.Context) joineryv1.Lane {
	if lane, ok := ctx.Value(laneKey{}).(joineryv1.Lane); ok {
		return lane
	}
	return joineryv1.Lane_LANE_NORMAL
}
