package deadletter

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/alert"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Journal reads what was accepted, asked for and recorded.
type Journal interface {
	Last(ctx context.Context, streamName, subject string) (stream.Stored, error)
	ScanFrom(ctx context.Context, streamName, subject string, from uint64) iter.Seq2[stream.Stored, error]
}

// Book is how far the accountant has come; the value of bucket BOOKS.
type Book struct {
	// Lifecycle and Commands are the sequences up to which all is settled or
	// stands in Gaps.
	Lifecycle uint64 `json:"lifecycle"`
	Commands  uint64 `json:"commands"`
	// Events and Orders count what was compared since the beginning.
	Events uint64 `json:"events"`
	Orders uint64 `json:"orders"`
	// Gaps have no outcome yet.
	Gaps []Gap     `json:"gaps"`
	At   time.Time `json:"at,omitzero"`
}

// Gap is something that was accepted and has no recorded outcome yet.
type Gap struct {
	Event    string `json:"event"`
	Identity string `json:"identity"`
	Target   string `json:"target,omitempty"` // "" where the mapper owes the outcome
	// Revision is the newest that the command can have; 0 where that is not known.
	Revision uint64 `json:"revision,omitempty"`
	// Group tells that the command is about a group: a later one covers it.
	Group bool      `json:"group,omitempty"`
	Since time.Time `json:"since"`
	// Why says what is known of the reason: the target is paused, or quarantined.
	Why string `json:"why,omitempty"`
	// Overdue tells that it is older than the objective.
	Overdue bool `json:"overdue"`
}

// Accountant compares every accepted event and every command with the outcomes,
// and raises the alarm where one is missing for longer than the objective.
type Accountant struct {
	Journal Journal
	Books   Store[Book]
	// Accounts tells how far each account has come, and Record takes the outcome of
	// a command that fell out of the trail of the one that replaced it.
	Accounts interface {
		Get(ctx context.Context, key string) (identity.Account, uint64, error)
	}
	Record func(ctx context.Context, o *joineryv1.Outcome) error
	// Targets are those that are configured.
	Targets func() []string
	// Closed says why a target takes no commands now, or "".
	Closed func(ctx context.Context, target string) string
	// Objective is how long an outcome may take.
	Objective time.Duration
	// Raise tells people; nil tells nobody.
	Raise func(ctx context.Context, kind, subject, summary string)
	Log   *slog.Logger

	overdue *telemetry.Gauge
	checked *telemetry.Counter
}

const (
	bookKey = "accountant"
	// young is what is not looked at yet: most outcomes come within seconds.
	young = 10 * time.Second
	// sweepEvery is the pause between two comparisons.
	sweepEvery = 30 * time.Second
	// maxGaps bounds what is kept open; beyond it the books wait where they are,
	// and the alarm has long been raised.
	maxGaps = 2500
	// maxWhy bounds the reason of one gap: the books are one value of at most 1 MiB.
	maxWhy = 120
	// sweepMost bounds how much one comparison reads, so that it is stored now and then.
	sweepMost = 20_000
)

// Meter registers the accountant's metrics.
func (a *Accountant) Meter(m *telemetry.Metrics) *Accountant {
	a.overdue = m.Gauge("joinery_outcomes_overdue",
		"Accepted events (target mapper) and commands without an outcome for longer than the objective.", "target")
	a.checked = m.Counter("joinery_outcomes_compared_total", "Events and commands compared with their outcomes.", "kind")
	return a
}

// Run compares until ctx ends. Several replicas may run it: the books are kept
// by compare-and-swap, and who loses begins again from what the other found.
func (a *Accountant) Run(ctx context.Context) error {
	timer := time.NewTimer(sweepEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if _, err := a.Sweep(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, stream.ErrConflict) {
			a.Log.WarnContext(ctx, "outcomes not compared", "error", err)
		}
		timer.Reset(sweepEvery)
	}
}

// Sweep compares what is new, and what was open, and stores the books.
func (a *Accountant) Sweep(ctx context.Context) (Book, error) {
	book, rev, err := a.Books.Get(ctx, bookKey)
	if err != nil && !errors.Is(err, stream.ErrNotFound) {
		return book, fmt.Errorf("read the books: %w", err)
	}
	before := time.Now().Add(-young)
	open := map[Gap]bool{}
	for _, gap := range book.Gaps {
		gap.Why, gap.Overdue = "", false
		missing, err := a.missing(ctx, gap)
		if err != nil {
			return book, err
		}
		for _, g := range missing {
			open[g] = true
		}
	}
	if err := a.events(ctx, &book, before, open); err != nil {
		return book, err
	}
	if err := a.commands(ctx, &book, before, open); err != nil {
		return book, err
	}
	if err := a.close(ctx, &book, open); err != nil {
		return book, err
	}
	a.tell(ctx, book) // before anything that may fail: the alarm counts most
	if _, err := a.Books.Put(ctx, bookKey, book, rev); err != nil {
		return book, fmt.Errorf("store the books: %w", err)
	}
	return book, nil
}

// events compares accepted events that are old enough.
func (a *Accountant) events(ctx context.Context, book *Book, before time.Time, open map[Gap]bool) error {
	n := 0
	for stored, err := range a.Journal.ScanFrom(ctx, stream.Lifecycle, "joinery.lifecycle.>", book.Lifecycle+1) {
		if err != nil {
			return fmt.Errorf("read accepted events: %w", err)
		}
		if n++; stored.Time.After(before) || len(open) >= maxGaps || n > sweepMost {
			return nil
		}
		missing, err := a.missing(ctx, Gap{
			Event: stream.Token(stored.Subject, 4), Identity: stream.Token(stored.Subject, 3), Since: stored.Time.UTC(),
		})
		if err != nil {
			return err
		}
		for _, g := range missing {
			open[g] = true
		}
		book.Lifecycle = stored.Sequence
		book.Events++
		a.checked.Add(1, "event")
	}
	return nil
}

// commands compares commands that are old enough, whatever asked for them.
func (a *Accountant) commands(ctx context.Context, book *Book, before time.Time, open map[Gap]bool) error {
	n := 0
	for stored, err := range a.Journal.ScanFrom(ctx, stream.Commands, "joinery.command.>", book.Commands+1) {
		if err != nil {
			return fmt.Errorf("read commands: %w", err)
		}
		if n++; stored.Time.After(before) || len(open) >= maxGaps || n > sweepMost {
			return nil
		}
		var c joineryv1.ProvisioningCommand
		if _, err := wire.Decode(stored.Message, &c); err == nil && c.GetEventId() != "" {
			missing, err := a.missing(ctx, Gap{Event: c.GetEventId(), Identity: c.GetIdentity(), Target: c.GetTarget(), Revision: c.GetRevision(), Group: c.GetGroup() != nil, Since: stored.Time.UTC()})
			if err != nil {
				return err
			}
			for _, g := range missing {
				open[g] = true
			}
		}
		book.Commands = stored.Sequence
		book.Orders++
		a.checked.Add(1, "command")
	}
	return nil
}

// missing is what has no outcome: the gap itself, or where the mapper's outcome
// is there, the commands that it names.
func (a *Accountant) missing(ctx context.Context, g Gap) ([]Gap, error) {
	o, err := a.outcome(ctx, g)
	if errors.Is(err, stream.ErrNotFound) {
		return []Gap{g}, nil
	}
	if err != nil || g.Target != "" {
		return nil, err
	}
	var out []Gap
	for _, command := range o.GetCommands() {
		target, _, _ := strings.Cut(command, ":")
		one := Gap{Event: g.Event, Identity: g.Identity, Target: target, Revision: o.GetRevision(), Since: g.Since}
		if _, err := a.outcome(ctx, one); errors.Is(err, stream.ErrNotFound) {
			out = append(out, one)
		} else if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (a *Accountant) outcome(ctx context.Context, g Gap) (*joineryv1.Outcome, error) {
	o := &joineryv1.Outcome{Target: g.Target, Identity: g.Identity, EventId: g.Event}
	stored, err := a.Journal.Last(ctx, stream.Outcomes, wire.OutcomeSubject(o))
	if err != nil {
		return nil, fmt.Errorf("read an outcome: %w", err)
	}
	if _, err := wire.Decode(stored.Message, o); err != nil {
		return nil, err
	}
	return o, nil
}

// close brings the open gaps into the book, oldest first, with what is known of them.
func (a *Accountant) close(ctx context.Context, book *Book, open map[Gap]bool) error {
	now := time.Now().UTC()
	why := map[string]string{}
	book.Gaps, book.At = []Gap{}, now
	for _, g := range distinctGaps(open) {
		if _, asked := why[g.Target]; !asked && g.Target != "" {
			why[g.Target] = shortened(a.Closed(ctx, g.Target))
		}
		g.Why, g.Overdue = why[g.Target], now.Sub(g.Since) > a.Objective
		if settled, err := a.settle(ctx, g); err != nil {
			return err
		} else if settled {
			continue
		}
		book.Gaps = append(book.Gaps, g)
	}
	slices.SortFunc(book.Gaps, func(x, y Gap) int {
		if c := x.Since.Compare(y.Since); c != 0 {
			return c
		}
		return strings.Compare(x.Target+x.Identity+x.Event, y.Target+y.Identity+y.Event)
	})
	return nil
}

// distinctGaps is the gaps without those that were found twice, by the event and
// by its command; the older time stays.
func distinctGaps(open map[Gap]bool) map[[3]string]Gap {
	out := make(map[[3]string]Gap, len(open))
	for g := range open {
		key := [3]string{g.Event, g.Identity, g.Target}
		if other, twice := out[key]; twice {
			if other.Since.Before(g.Since) {
				g.Since = other.Since
			}
			g.Revision, g.Group = max(g.Revision, other.Revision), g.Group || other.Group
		}
		out[key] = g
	}
	return out
}

func shortened(why string) string {
	if runes := []rune(why); len(runes) > maxWhy {
		return string(runes[:maxWhy]) + "…"
	}
	return why
}

// settle records the end of a command that a newer one took the place of without
// naming it: a command names the last 32 that it replaces, and more may pile up
// while a target is away. A command about a group names none: it reads what they
// all asked for.
func (a *Accountant) settle(ctx context.Context, g Gap) (bool, error) {
	if !g.Overdue && !g.Group || g.Target == "" || g.Revision == 0 {
		return false, nil
	}
	account, _, err := a.Accounts.Get(ctx, identity.AccountKey(g.Target, g.Identity))
	if errors.Is(err, stream.ErrNotFound) || err == nil && account.Finished <= g.Revision {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read an account: %w", err)
	}
	id := identity.CommandID(g.Target, g.Identity, g.Revision)
	err = a.Record(ctx, &joineryv1.Outcome{
		Id: "dispatcher:" + id, Stage: joineryv1.Stage_STAGE_DISPATCHER, Result: joineryv1.Result_RESULT_SUPERSEDED,
		EventId: g.Event, CommandId: id, Target: g.Target, Identity: g.Identity, Revision: g.Revision,
		SupersededBy: account.Finished, At: timestamppb.Now(),
	})
	if err != nil {
		return false, fmt.Errorf("record a superseded command: %w", err)
	}
	return true, nil
}

// tell raises the alarm, target by target. What waits because a person paused
// the target is no surprise.
func (a *Accountant) tell(ctx context.Context, book Book) {
	late := map[string]int{"mapper": 0}
	for _, target := range a.Targets() {
		late[target] = 0
	}
	for _, g := range book.Gaps {
		target := g.Target
		if target == "" {
			target = "mapper"
		}
		if g.Overdue {
			late[target]++
		}
	}
	for _, target := range slices.Sorted(maps.Keys(late)) {
		a.overdue.Set(float64(late[target]), target)
		if late[target] > 0 && a.Raise != nil {
			a.Raise(ctx, alert.Overdue, target, fmt.Sprintf("%d accepted events or commands have no outcome after %s; see: joinery audit", late[target], a.Objective))
		}
	}
}
