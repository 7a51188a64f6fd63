package deadletter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Appointment is something that will happen to a person by itself.
type Appointment struct {
	Identity string `json:"identity"`
	Key      string `json:"key"`
	identity.Scheduled
}

// Publisher stores an event, once; duplicate means that it was there already.
type Publisher func(ctx context.Context, e *joineryv1.LifecycleEvent) (duplicate bool, err error)

const (
	// scheduledSubjects are where it is put down who is to be woken.
	scheduledSubjects = "joinery.due.*.*.*"
	// defaultScheduled and maxScheduled bound what one listing shows.
	defaultScheduled = 1000
	maxScheduled     = 100_000
	// operator is the source of what operators decide.
	operator = "operator"
)

// ErrOnlyEnds: what ends a grant cannot be cancelled, only revoked or extended.
var ErrOnlyEnds = errors.New("this is the end of a grant: revoke the grant (access_revoked), or grant it anew for longer")

// Scheduled lists, soonest first, what will happen after now to all people who
// have a wake-up to come.
func (l *Library) Scheduled(ctx context.Context, now time.Time) ([]Appointment, error) {
	out := []Appointment{}
	seen := map[string]bool{}
	for stored, err := range l.Streams.Scan(ctx, stream.Schedules, scheduledSubjects) {
		if err != nil {
			return nil, fmt.Errorf("read the schedules: %w", err)
		}
		id := stream.Token(stored.Subject, 4)
		if seen[id] {
			continue
		}
		seen[id] = true
		rec, _, err := l.Identities.Get(ctx, id)
		if errors.Is(err, stream.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read a person: %w", err)
		}
		for _, s := range rec.ScheduledAfter(now) {
			out = append(out, Appointment{Identity: id, Key: rec.Key, Scheduled: s})
		}
	}
	slices.SortStableFunc(out, func(a, b Appointment) int { return a.At.Compare(b.At) })
	return out, nil
}

// Cancel takes back what is scheduled by an event: as an event of its own, which
// is kept with who decided it and why.
func (l *Library) Cancel(ctx context.Context, publish Publisher, id, by, why string) (Appointment, error) {
	now := time.Now()
	all, err := l.Scheduled(ctx, now)
	if err != nil {
		return Appointment{}, err
	}
	i := slices.IndexFunc(all, func(a Appointment) bool { return a.Event == id })
	if i < 0 {
		return Appointment{}, ErrUnknown
	}
	found := all[i]
	if found.Kind == identity.Expires {
		return found, ErrOnlyEnds
	}
	_, err = publish(ctx, &joineryv1.LifecycleEvent{
		Id: event.IDOf(operator, "cancel "+id), Source: operator, SourceEventId: "cancel " + id, SourceUri: "/console",
		Type: "rescinded", SpecVersion: event.SpecVersion, IdentityKey: found.Key,
		Kind: joineryv1.LifecycleKind_LIFECYCLE_KIND_RESCINDED, Rescinds: id,
		OccurredAt: timestamppb.New(now), ReceivedAt: timestamppb.New(now),
		Trigger: &joineryv1.Trigger{Actor: by, Reason: why},
	})
	if err != nil {
		return found, fmt.Errorf("store the decision: %w", err)
	}
	return found, nil
}

func (a *API) listScheduled(r *http.Request) (any, error) {
	limit := defaultScheduled
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxScheduled {
			return nil, badRequest{fmt.Sprintf("limit is a number from 1 to %d", maxScheduled)}
		}
		limit = n
	}
	all, err := a.Library.Scheduled(r.Context(), time.Now())
	return all[:min(len(all), limit)], err
}

func (a *API) cancelScheduled(r *http.Request) (any, error) {
	d, err := readDecision(r)
	if err != nil {
		return nil, err
	}
	found, err := a.Library.Cancel(r.Context(), a.Publish, r.PathValue("id"), d.By, d.Reason)
	if errors.Is(err, ErrOnlyEnds) {
		return nil, badRequest{err.Error()}
	}
	if err == nil {
		a.Log.WarnContext(r.Context(), "scheduled change cancelled", "event", found.Event, "identity", found.Identity, "by", d.By)
	}
	return found, err
}
