package ingest

import (
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/event"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/ingest/feed"
)

// feedType begins the type of an event that a snapshot made; the kind follows.
const feedType = "joinery.feed."

// rowRules apply a source's rules to rows of its snapshots. The difference says
// what happened, not the rule; and the rules see nothing but the row, so that a
// row that says the same always gives the same. Who left has no row: their key is
// the event's subject.
type rowRules struct{ event.Rules }

func kindIn(e map[string]any) string {
	kind, _ := e["type"].(string)
	return strings.TrimPrefix(kind, feedType)
}

func ended(e map[string]any) bool { return kindIn(e) == feed.Left.String() }

func rowOf(e map[string]any) map[string]any {
	return map[string]any{"type": feedType + "row", "source": e["source"], "specversion": event.SpecVersion, "data": e["data"]}
}

// Kind implements event.Rules.
func (rowRules) Kind(e map[string]any) (string, bool, error) { return kindIn(e), true, nil }

// Key implements event.Rules.
func (r rowRules) Key(e map[string]any) (string, error) {
	if ended(e) {
		key, _ := e["subject"].(string)
		return key, nil
	}
	return r.Rules.Key(rowOf(e))
}

// Attributes implements event.Rules.
func (r rowRules) Attributes(e map[string]any) (map[string]any, bool, error) {
	if ended(e) {
		return nil, true, nil
	}
	return r.Rules.Attributes(rowOf(e))
}

// Course is nothing: a snapshot says what holds when it was taken.
func (rowRules) Course(map[string]any) (map[string]string, error) { return nil, nil }

// feeding is the source as its snapshots are read.
func (s *Source) feeding() *Source {
	out := *s
	out.Events.Rules = rowRules{s.Events.Rules}
	return &out
}

// required are the columns that must be there: those that the source says, and
// the one that its identity_key rule plainly reads.
func (s *Source) required() []string {
	out := append([]string(nil), s.Feed.Required...)
	if field, ok := strings.CutPrefix(s.Events.KeyField, "data."); ok && !strings.Contains(field, ".") {
		out = append(out, field)
	}
	return out
}

// read interprets a row: whom it is about, and what it says of them.
func (s *Source) read(data map[string]any) (*joineryv1.LifecycleEvent, error) {
	now := time.Unix(0, 0).UTC()
	e, err := s.Events.Interpret(s.rowEvent("row", feed.Changed, "", now, data), now)
	if err == nil {
		err = unstorable(e, now)
	}
	return e, err
}

// rowEvent is the event that says a row. Its id is the same whenever the same
// snapshot follows the same last one, and never else.
func (s *Source) rowEvent(id string, kind feed.Kind, subject string, taken time.Time, data map[string]any) event.Event {
	e := event.Event{
		ID: id, Source: "/v1/feeds/" + s.Name, SpecVersion: event.SpecVersion, Type: feedType + kind.String(),
		Subject: subject, Time: taken,
	}
	if kind != feed.Left {
		e.Data, e.Extensions = data, map[string]string{"joineryfull": "true"}
	}
	return e
}
