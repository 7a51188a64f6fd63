package deadletter_test

import (
	"context"
	"iter"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/deadletter"
	"google.golang.org/protobuf/proto"
)

// journal is streams in memory, in the order they were written.
type journal struct {
	entries map[string][]stream.Stored // by stream
	reads   int
}

func (j *journal) add(name, subject string, m proto.Message) {
	msg, _ := wire.Encode(context.Background(), subject, m)
	j.entries[name] = append(j.entries[name], stream.Stored{
		Stream: name, Subject: subject, Sequence: uint64(len(j.entries[name]) + 1), Time: time.Now(), Message: msg,
	})
}

func (j *journal) Last(_ context.Context, name, subject string) (stream.Stored, error) {
	for i := len(j.entries[name]) - 1; i >= 0; i-- {
		if covers(subject, j.entries[name][i].Subject) {
			return j.entries[name][i], nil
		}
	}
	return stream.Stored{}, stream.ErrNotFound
}

func (j *journal) ScanFrom(_ context.Context, name, _ string, from uint64) iter.Seq2[stream.Stored, error] {
	return func(yield func(stream.Stored, error) bool) {
		for _, e := range j.entries[name] {
			if e.Sequence >= from {
				j.reads++
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

func (j *journal) event(id string) {
	e := &joineryv1.LifecycleEvent{Id: id, Source: "hr", IdentityKey: "1001"}
	j.add(stream.Lifecycle, wire.LifecycleSubject(e), e)
}

func (j *journal) outcome(target, event string, commands ...string) {
	o := &joineryv1.Outcome{Target: target, Identity: identity.IDOf("1001"), EventId: event, Commands: commands}
	j.add(stream.Outcomes, wire.OutcomeSubject(o), o)
}

func (j *journal) command(target, event string) {
	c := &joineryv1.ProvisioningCommand{Target: target, Identity: identity.IDOf("1001"), EventId: event, Lane: joineryv1.Lane_LANE_BULK}
	j.add(stream.Commands, wire.CommandSubject(c), c)
}

// office with an accountant, on fake time.
func audited(t *testing.T, fn func(j *journal, sweep func() deadletter.Book, raised *[]string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "deadletter"})
		if err != nil {
			t.Fatal(err)
		}
		j := &journal{entries: map[string][]stream.Stored{}}
		var raised []string
		a := (&deadletter.Accountant{
			Accounts: shelf[identity.Account]{"acme." + ann: {Finished: 9}},
			Record: func(_ context.Context, o *joineryv1.Outcome) error {
				j.add(stream.Outcomes, wire.OutcomeSubject(o), o)
				return nil
			},
			Journal: j, Books: shelf[deadletter.Book]{}, Objective: 15 * time.Minute, Log: slog.New(slog.DiscardHandler),
			Targets: func() []string { return []string{"acme", "globex"} },
			Closed: func(_ context.Context, target string) string {
				if target == "globex" {
					return "paused by ops"
				}
				return ""
			},
			Raise: func(_ context.Context, kind, subject, _ string) { raised = append(raised, kind+" "+subject) },
		}).Meter(tel.Metrics)
		fn(j, func() deadletter.Book {
			t.Helper()
			book, err := a.Sweep(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return book
		}, &raised)
	})
}

func owed(book deadletter.Book) []string {
	out := []string{}
	for _, g := range book.Gaps {
		line := g.Event + " " + g.Target + " " + g.Why
		if g.Overdue {
			line += " overdue"
		}
		out = append(out, line)
	}
	return out
}

func TestWhatHasNoOutcomeIsFoundAndSettledLater(t *testing.T) {
	audited(t, func(j *journal, sweep func() deadletter.Book, raised *[]string) {
		same := func(want []string, book deadletter.Book) {
			t.Helper()
			if diff := cmp.Diff(want, owed(book)); diff != "" {
				t.Error(diff)
			}
		}
		j.event("e1") // all is well
		j.outcome("", "e1", "acme:normal")
		j.outcome("acme", "e1")
		j.event("e2") // nobody mapped it
		j.event("e3") // mapped, and one of its commands waits
		j.outcome("", "e3", "acme:normal", "globex:urgent")
		j.outcome("acme", "e3")
		j.command("acme", "run-7") // a repair that nobody made
		same([]string{}, sweep())  // too young to tell
		time.Sleep(time.Minute)
		j.event("e4")
		book := sweep()
		same([]string{"e2  ", "run-7 acme ", "e3 globex paused by ops"}, book)
		if book.Events != 3 || book.Orders != 1 || len(*raised) != 0 {
			t.Error(book, *raised)
		}
		time.Sleep(15 * time.Minute)
		j.outcome("", "e4")
		same([]string{"e2   overdue", "run-7 acme  overdue", "e3 globex paused by ops overdue"}, sweep())
		if diff := cmp.Diff([]string{"outcome.overdue acme", "outcome.overdue globex", "outcome.overdue mapper"}, *raised); diff != "" {
			t.Error(diff)
		}
		j.outcome("", "e2", "acme:normal") // mapped late: now acme owes
		j.outcome("acme", "run-7")
		j.outcome("globex", "e3")
		same([]string{"e2 acme  overdue"}, sweep())
		j.outcome("acme", "e2")
		before := j.reads
		same([]string{}, sweep())
		if j.reads != before {
			t.Errorf("%d messages read again that were settled", j.reads-before)
		}
	})
}

func TestACommandThatFellOutOfTheTrailIsSuperseded(t *testing.T) {
	audited(t, func(j *journal, sweep func() deadletter.Book, _ *[]string) {
		for revision, event := range []string{"e8", "e9", "e10"} {
			j.event(event)
			o := &joineryv1.Outcome{Identity: ann, EventId: event, Revision: uint64(revision + 8), Commands: []string{"acme:normal", "globex:normal"}}
			j.add(stream.Outcomes, wire.OutcomeSubject(o), o)
		}
		time.Sleep(time.Minute)
		if got := len(sweep().Gaps); got != 6 {
			t.Error(got, "gaps, before the objective")
		}
		time.Sleep(time.Hour)
		want := []string{
			"e10 acme  overdue", "e9 acme  overdue", // the newest that is done, and a newer one, are not superseded
			"e10 globex paused by ops overdue", "e8 globex paused by ops overdue", "e9 globex paused by ops overdue",
		}
		if diff := cmp.Diff(want, owed(sweep())); diff != "" {
			t.Error(diff)
		}
		last, err := j.Last(t.Context(), stream.Outcomes, "joinery.outcome.acme."+ann+".e8")
		var o joineryv1.Outcome
		if err != nil || proto.Unmarshal(last.Message.Payload, &o) != nil || o.GetResult() != joineryv1.Result_RESULT_SUPERSEDED || o.GetSupersededBy() != 9 {
			t.Error(&o, err)
		}
	})
}

func TestALeaverIsListedUntilTheTargetHasShownItThreeTimes(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	gone := identity.Wish{Wish: identity.Disabled, Revision: 5, Since: at}
	for _, row := range []struct {
		what    string
		account *identity.Account
		want    string
	}{
		{"never had one", nil, ""},
		{"not yet disabled", &identity.Account{RemoteID: "1", Applied: 4}, "waiting"},
		{"failing", &identity.Account{RemoteID: "1", Applied: 4, Attempts: 2}, "failing"},
		{"a create is open", &identity.Account{Intent: &identity.Intent{Operation: "create"}}, "waiting"},
		{"held by a guard", &identity.Account{RemoteID: "1", Applied: 4, Held: 5, Case: "c"}, "held"},
		{"refused", &identity.Account{RemoteID: "1", Applied: 4, Case: "c"}, "case"},
		{"read once", &identity.Account{RemoteID: "1", Applied: 5, State: identity.Disabled}, "confirming"},
		{"read again", &identity.Account{RemoteID: "1", Applied: 5, State: identity.Disabled, Checks: 2}, ""},
		{"deleted", &identity.Account{Applied: 5, State: identity.Absent}, ""},
	} {
		o := open(t, "")
		rec := o.identities[ann]
		rec.Wishes = map[string]identity.Wish{"acme": gone}
		o.identities[ann] = rec
		accounts := shelf[identity.Account]{}
		if row.account != nil {
			accounts[identity.AccountKey("acme", ann)] = *row.account
		}
		library := deadletter.Library{Identities: o.identities, Accounts: accounts}
		got, err := library.Leavers(t.Context())
		stands := ""
		if len(got) == 1 {
			stands = got[0].Stands
		}
		if err != nil || stands != row.want {
			t.Errorf("%s: %v %+v", row.what, err, got)
		}
	}
}
