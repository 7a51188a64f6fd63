package deadletter_test

import (
	"context"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/deadletter"
	"google.golang.org/protobuf/encoding/protojson"
)

// The same missing outcome is counted once for the event and once for the command.
func TestAMissingCommandIsOneGap(t *testing.T) {
	audited(t, func(j *journal, sweep func() deadletter.Book, _ *[]string) {
		j.event("e1")
		time.Sleep(time.Second)
		j.command("acme", "e1")
		j.outcome("", "e1", "acme:bulk")
		time.Sleep(time.Minute)
		if b := sweep(); len(b.Gaps) != 1 {
			t.Errorf("%d gaps for one command without an outcome: %+v", len(b.Gaps), b.Gaps)
		}
	})
}

// A mapping case of somebody who has no wish yet: replay.
func TestWhatCannotBeReplayedStaysOpen(t *testing.T) {
	o := open(t, "")
	o.identities[ann] = identity.Record{ID: ann, Key: "1001", Revision: 9}
	letter, err := protojson.Marshal(&joineryv1.DeadLetter{
		Id: "mapping-acme-" + ann, Cause: joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_MAPPING,
		Command: &joineryv1.ProvisioningCommand{Target: "acme", Identity: ann, Revision: 9, EventId: "e1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := "mapping-acme-" + ann
	o.cases[id] = deadletter.Case{ID: id, State: deadletter.Open, Cause: "mapping", Target: "acme", Identity: ann, Revision: 9, Letter: letter}
	c, err := o.desk.Replay(context.Background(), id, "ops", "")
	if err != nil && o.cases[id].State != deadletter.Open {
		t.Errorf("replay failed (%v) and nothing was sent (%d), yet the case is %s %s", err, len(o.post.commands), o.cases[id].State, c.State)
	}
}

// racing is a shelf on which the case changes between the look and the approval.
type racing struct {
	shelf[deadletter.Case]
	reads  int
	change func(n int)
}

func (r *racing) Get(ctx context.Context, key string) (deadletter.Case, uint64, error) {
	r.reads++
	r.change(r.reads)
	return r.shelf.Get(ctx, key)
}

func TestConsentIsToWhatWasLookedAt(t *testing.T) {
	o := open(t, "")
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "deadletter"})
	if err != nil {
		t.Fatal(err)
	}
	held := func(rev uint64, wish joineryv1.Wish) deadletter.Case {
		letter, err := protojson.Marshal(&joineryv1.DeadLetter{
			Id: mine, Cause: joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_GUARD, Batch: "b",
			Command: &joineryv1.ProvisioningCommand{Target: "acme", Identity: ann, Revision: rev, Wish: wish, EventId: "e"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return deadletter.Case{ID: mine, State: deadletter.Open, Cause: "guard", Target: "acme", Identity: ann, Revision: rev, Batch: "b", Letter: letter}
	}
	o.cases[mine] = held(9, joineryv1.Wish_WISH_DISABLED)
	r := &racing{shelf: o.cases, change: func(int) {}}
	desk := deadletter.NewDesk(r, o.identities, o.post, tel)
	o.identities[ann] = identity.Record{ID: ann, Key: "1001", Revision: 9, Wishes: map[string]identity.Wish{"acme": {Wish: identity.Disabled, Revision: 9}}}
	b, err := desk.Batch(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	looked := r.reads
	r.change = func(n int) {
		if n == looked+2 { // after the hash was compared: the guard holds a deletion of the same account now
			o.identities[ann] = identity.Record{ID: ann, Key: "1001", Revision: 10, Wishes: map[string]identity.Wish{"acme": {Wish: identity.Absent, Revision: 10}}}
			o.cases[mine] = held(10, joineryv1.Wish_WISH_ABSENT)
		}
	}
	done, err := desk.Decide(t.Context(), "b", deadletter.Verdict{By: "ops", Hash: b.Hash})
	for _, c := range o.post.commands {
		t.Errorf("approved %s r%d with consent %v, though r9 DISABLED was looked at (%+v %v)", c.GetWish(), c.GetRevision(), c.GetApproval() != nil, done, err)
	}
}
