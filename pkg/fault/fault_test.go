package fault_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/fault"
)

func TestUnmarkedMeansTryAgain(t *testing.T) {
	if got := fault.KindOf(errors.New("dial")); got != fault.Transient {
		t.Errorf("KindOf = %v, want transient", got)
	}
}

func TestTheOutermostMarkDecidesThroughWrapping(t *testing.T) {
	root := errors.New("answer 429")
	err := fmt.Errorf("create an account: %w", fault.After(3*time.Second, fault.Mark(fault.Permanent, root)))
	if !fault.Is(err, fault.Throttled) || fault.Pause(err) != 3*time.Second || !errors.Is(err, root) {
		t.Errorf("kind %v pause %v", fault.KindOf(err), fault.Pause(err))
	}
}

func TestMarkingNothingGivesNothing(t *testing.T) {
	if fault.Mark(fault.Permanent, nil) != nil || fault.After(1, nil) != nil || fault.Retry(1, nil) != nil {
		t.Error("a nil error became an error")
	}
	if fault.Is(nil, fault.Transient) {
		t.Error("nil is not a failure")
	}
}
