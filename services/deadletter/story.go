package deadletter

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Streams reads what the streams hold.
type Streams interface {
	Last(ctx context.Context, streamName, subject string) (stream.Stored, error)
	Scan(ctx context.Context, streamName, subject string) iter.Seq2[stream.Stored, error]
}

// Story is everything known about one person.
type Story struct {
	Person   identity.Record            `json:"person"`
	Current  map[string]any             `json:"attributes"`
	Origins  map[string]identity.Origin `json:"origins"`
	Accounts []identity.Account         `json:"accounts"`
	Outcomes []Ending                   `json:"outcomes"`
	Cases    []Case                     `json:"cases"`
	// Scheduled is what will happen by itself, soonest first.
	Scheduled []identity.Scheduled `json:"scheduled,omitempty"`
}

// Trace is one event, followed to its outcomes.
type Trace struct {
	Event    Fact     `json:"event"`
	TraceID  string   `json:"trace_id,omitempty"`
	Mapper   *Ending  `json:"mapper,omitempty"`
	Commands []Ending `json:"commands"`
	// Waiting are the commands that have no outcome yet, as target:lane.
	Waiting []string `json:"waiting"`
	// Settled is true once the event and all its commands have their outcome.
	Settled bool `json:"settled"`
}

// Fact is an event as the log shows it: no attribute values.
type Fact struct {
	ID         string             `json:"id"`
	Source     string             `json:"source"`
	SourceID   string             `json:"source_event_id"`
	Kind       string             `json:"kind"`
	Identity   string             `json:"identity"`
	OccurredAt string             `json:"occurred_at,omitempty"`
	ReceivedAt string             `json:"received_at,omitempty"`
	Attributes []string           `json:"attributes,omitempty"`
	Trigger    *joineryv1.Trigger `json:"trigger,omitempty"`
	Stored     string             `json:"stored_at"`
}

// Ending is an outcome as the API shows it.
type Ending struct {
	*joineryv1.Outcome
}

// MarshalJSON renders the contract's JSON form.
func (e Ending) MarshalJSON() ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true}.Marshal(e.Outcome)
}

// UnmarshalJSON reads the contract's JSON form.
func (e *Ending) UnmarshalJSON(data []byte) error {
	e.Outcome = &joineryv1.Outcome{}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, e.Outcome)
}

// ErrUnknown: there is no such person, event, target or case.
var ErrUnknown = errors.New("not found")

// Library answers questions about people and events.
type Library struct {
	Identities Store[identity.Record]
	Accounts   Store[identity.Account]
	Cases      Store[Case]
	Streams    Streams
	Targets    func() []string
}

// Story tells everything known about the person with this key, or with this
// opaque id.
func (l *Library) Story(ctx context.Context, key string) (Story, error) {
	rec, _, err := l.Identities.Get(ctx, identity.IDOf(key))
	if errors.Is(err, stream.ErrNotFound) {
		rec, _, err = l.Identities.Get(ctx, strings.ToLower(key))
	}
	if errors.Is(err, stream.ErrNotFound) {
		return Story{}, ErrUnknown
	}
	if err != nil {
		return Story{}, fmt.Errorf("read an identity: %w", err)
	}
	if rec.Is != "" {
		return l.Story(ctx, rec.Is)
	}
	s := Story{Person: rec, Current: rec.Current(), Origins: rec.Provenance(), Accounts: []identity.Account{}, Cases: []Case{}}
	s.Scheduled = rec.ScheduledAfter(time.Now())
	if s.Outcomes, err = l.outcomes(ctx, "joinery.outcome.*."+rec.ID+".*"); err != nil {
		return s, err
	}
	return s, l.tell(ctx, &s)
}

// tell adds accounts and cases, target by target.
func (l *Library) tell(ctx context.Context, s *Story) error {
	targets := slices.Sorted(maps.Keys(s.Person.Wishes))
	for _, name := range l.Targets() {
		if !slices.Contains(targets, name) {
			targets = append(targets, name)
		}
	}
	for _, name := range targets {
		account, _, err := l.Accounts.Get(ctx, identity.AccountKey(name, s.Person.ID))
		if err == nil {
			s.Accounts = append(s.Accounts, account)
		} else if !errors.Is(err, stream.ErrNotFound) {
			return fmt.Errorf("read an account: %w", err)
		}
		for _, id := range []string{name + "-" + s.Person.ID, "mapping-" + name + "-" + s.Person.ID} {
			c, _, err := l.Cases.Get(ctx, id)
			if err == nil {
				s.Cases = append(s.Cases, c)
			} else if !errors.Is(err, stream.ErrNotFound) {
				return fmt.Errorf("read a case: %w", err)
			}
		}
	}
	return nil
}

// Trace follows one event, named by its Joinery id, to its outcomes.
func (l *Library) Trace(ctx context.Context, id string) (Trace, error) {
	stored, err := l.Streams.Last(ctx, stream.Lifecycle, "joinery.lifecycle.*.*."+id)
	if errors.Is(err, stream.ErrNotFound) {
		return Trace{}, ErrUnknown
	}
	if err != nil {
		return Trace{}, fmt.Errorf("read an event: %w", err)
	}
	t := Trace{Commands: []Ending{}, Waiting: []string{}}
	if t.Event, err = factOf(stored); err != nil {
		return t, err
	}
	endings, err := l.outcomes(ctx, "joinery.outcome.*.*."+id)
	if err != nil {
		return t, err
	}
	later, err := l.outcomes(ctx, "joinery.outcome.*.*."+identity.DuePrefix+id)
	if err != nil {
		return t, err
	}
	t.follow(append(endings, later...))
	return t, nil
}

// follow sorts the endings into the trace and works out what is missing.
func (t *Trace) follow(endings []Ending) {
	ended := map[string]bool{}
	for _, e := range endings {
		if t.TraceID == "" {
			t.TraceID = e.GetTraceId()
		}
		if e.GetStage() == joineryv1.Stage_STAGE_MAPPER {
			t.Mapper = &e
			continue
		}
		ended[e.GetTarget()] = true
		t.Commands = append(t.Commands, e)
	}
	if t.Mapper == nil {
		return
	}
	for _, c := range t.Mapper.GetCommands() {
		if target, _, _ := strings.Cut(c, ":"); !ended[target] {
			t.Waiting = append(t.Waiting, c)
		}
	}
	t.Settled = len(t.Waiting) == 0
}

func (l *Library) outcomes(ctx context.Context, subject string) ([]Ending, error) {
	out := []Ending{}
	for stored, err := range l.Streams.Scan(ctx, stream.Outcomes, subject) {
		if err != nil {
			return nil, fmt.Errorf("read outcomes: %w", err)
		}
		o := &joineryv1.Outcome{}
		if err := proto.Unmarshal(stored.Message.Payload, o); err != nil {
			return nil, fmt.Errorf("decode an outcome: %w", err)
		}
		out = append(out, Ending{o})
	}
	return out, nil
}

func factOf(stored stream.Stored) (Fact, error) {
	var e joineryv1.LifecycleEvent
	if _, err := wire.Decode(stored.Message, &e); err != nil {
		return Fact{}, err
	}
	f := Fact{
		ID: e.GetId(), Source: e.GetSource(), SourceID: e.GetSourceEventId(),
		Kind: identity.KindName(e.GetKind()), Identity: identity.IDOf(e.GetIdentityKey()),
		Trigger: e.GetTrigger(), Stored: stored.Time.UTC().Format(timeFormat),
		Attributes: slices.Sorted(maps.Keys(e.GetAttributes().GetFields())),
	}
	if e.GetOccurredAt() != nil {
		f.OccurredAt = e.GetOccurredAt().AsTime().Format(timeFormat)
	}
	if e.GetReceivedAt() != nil {
		f.ReceivedAt = e.GetReceivedAt().AsTime().Format(timeFormat)
	}
	return f, nil
}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"
