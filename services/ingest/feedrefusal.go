package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/ingest/feed"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The refusals that say the same every time.
var (
	wrongFeedType = &refusal{
		status: http.StatusUnsupportedMediaType, reason: "media-type", title: "Unsupported media type",
		detail: "Send text/csv with a header row, application/json (an array of objects) or application/x-ndjson; in UTF-8.",
		header: map[string]string{"Accept": "text/csv, application/json, application/x-ndjson", "Connection": "close"},
	}
	feedBusy = &refusal{
		status: http.StatusConflict, reason: "feed-busy", title: "Another snapshot is on its way",
		detail: "A snapshot of this source is being taken in. Send this one when it has ended; one that was broken off by a crash ends within 30 seconds.",
		header: map[string]string{"Retry-After": strconv.Itoa(int(leaseFor.Seconds())), "Connection": "close"},
	}
	feedOverloaded = &refusal{
		status: http.StatusServiceUnavailable, reason: "overloaded", title: "Overloaded",
		detail: "Too many snapshots are being taken in. Send the same one again.",
		header: map[string]string{"Retry-After": "10", "Connection": "close"},
	}
)

// feedFailed is the answer where a run was broken off.
func feedFailed(err error) *refusal {
	if problems := event.ProblemsOf(err); len(problems) > 0 {
		// Every row was interpreted before: only an id that was used for something
		// else, or a rule that changed meanwhile, leads here.
		return &refusal{
			status: http.StatusConflict, reason: "feed-contended", title: "The source changed meanwhile",
			detail: "The source's rules changed while the snapshot was taken in. Send it again.", cause: err,
		}
	}
	if errors.Is(err, stream.ErrConflict) {
		return feedBusy
	}
	no := unavailable(err)
	no.detail = "The snapshot could not be taken in to its end. Send the same one again; it goes on where it was."
	return no
}

// refuseFeed answers a refused snapshot with its numbers, and puts it before a
// person. The last good snapshot stays.
func (s *Service) refuseFeed(ctx context.Context, run *feedRun, v *feedVisit, r *feed.Refusal) *refusal {
	counts := run.outcome.Counts
	if counts == (feed.Counts{}) { // refused before it was compared
		counts = feed.Counts{Rows: run.index.Len(), Unreadable: run.index.Unreadable, Doubled: run.index.Doubled}
	}
	v.counts = counts
	no := &refusal{
		status: http.StatusUnprocessableEntity, reason: string(r.Reason), title: "Snapshot refused", detail: r.Detail,
		extra: map[string]any{"source": run.source.Name, "counts": counts},
	}
	switch r.Reason {
	case feed.CutShort:
		no.status = http.StatusBadRequest
	case feed.TooLarge:
		no.status = http.StatusRequestEntityTooLarge
	case feed.Stale:
		no.status = http.StatusConflict
	}
	if r.Limit > 0 || r.Reason == feed.Leavers || r.Reason == feed.Unreadable {
		no.extra["limit"] = r.Limit
	}
	if r.Line > 0 {
		no.extra["row"] = r.Line
	}
	allow := ""
	if r.Overrulable() {
		allow = run.allowance()
		no.extra["allow"] = allow
	}
	if run.request.dryRun || s.cases == nil {
		return no
	}
	if err := s.cases.DeadLetter(ctx, feedLetter(run.source.Name, r, counts, allow)); err != nil {
		return unavailable(fmt.Errorf("open a case for a refused snapshot: %w", err))
	}
	return no
}

// feedLetter is the case: one for each source. It holds numbers and no row.
func feedLetter(source string, r *feed.Refusal, c feed.Counts, allow string) *joineryv1.DeadLetter {
	reason := fmt.Sprintf("snapshot of %s refused (%s): %s rows %d, last good %d, new %d, changed %d, gone %d, leavers %d, doubled %d, unreadable %d",
		source, r.Reason, r.Detail, c.Rows, c.Last, c.Joined, c.Changed, c.Gone, c.Left, c.Doubled, c.Unreadable)
	if allow != "" {
		reason += "; to let exactly this through once: joinery send --source " + source + " --snapshot FILE --allow " + allow
	}
	now := timestamppb.New(time.Now())
	return &joineryv1.DeadLetter{
		Id: "feed-" + source, Cause: joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_GUARD, Reason: reason,
		// The id tells refusals apart that say different things; there is nothing to
		// send again.
		Command:  &joineryv1.ProvisioningCommand{Id: "feed:" + feed.HashOf(reason).String()},
		Attempts: 1, FirstFailedAt: now, At: now,
	}
}
