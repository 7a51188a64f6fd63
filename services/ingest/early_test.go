package ingest

import (
	"errors"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/event"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestWhatIsToComeIsTakenForFiveYears(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	at := func(ahead time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(ahead)) }
	for _, row := range []struct {
		name  string
		event *joineryv1.LifecycleEvent
		field string
	}{
		{"now", &joineryv1.LifecycleEvent{OccurredAt: at(0)}, ""},
		{"a clock a little ahead", &joineryv1.LifecycleEvent{OccurredAt: at(time.Hour), EffectiveAt: at(time.Minute)}, ""},
		{"effective in the past", &joineryv1.LifecycleEvent{OccurredAt: at(0), EffectiveAt: at(-48 * time.Hour)}, ""},
		{"a leaving next week", &joineryv1.LifecycleEvent{OccurredAt: at(0), EffectiveAt: at(7 * 24 * time.Hour)}, ""},
		{"a leaving in ten years", &joineryv1.LifecycleEvent{OccurredAt: at(0), EffectiveAt: at(10 * 366 * 24 * time.Hour)}, "effectivetime"},
		{"a clock years ahead", &joineryv1.LifecycleEvent{OccurredAt: at(9000 * time.Hour)}, "time"},
	} {
		err := unstorable(row.event, now)
		var problem *event.Problem
		if row.field == "" && err != nil || row.field != "" && (!errors.As(err, &problem) || problem.Field != row.field) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}
