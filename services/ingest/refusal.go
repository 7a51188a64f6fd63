package ingest

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/joinery/joinery/pkg/app"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/fault"
)

// refusal is an answer other than 202. Nothing of the request is stored, unless
// the status is 503: then nothing is known.
type refusal struct {
	status int
	// reason is the problem's type, and a metric label.
	reason string
	title  string
	detail string
	// header is set on the answer.
	header   map[string]string
	problems event.Problems
	// extra are further members of the problem document.
	extra map[string]any
	// cause is for the log.
	cause error
}

// attribute is the attribute that is refused, without what may be personal.
func (r *refusal) attribute() string {
	if len(r.problems) == 0 {
		return ""
	}
	return r.problems[0].Attribute()
}

// retryAfter is when a sender should come again whom the broker gave no time, in seconds.
const retryAfter = 2

// The refusals that say the same every time.
var (
	unauthorized = &refusal{
		status: http.StatusUnauthorized, reason: "unauthorized", title: "Unauthorized",
		detail: "The request is not proved to come from a configured source. Sign or authorise it as the source's configuration says.",
		header: map[string]string{"WWW-Authenticate": `Bearer realm="joinery"`},
	}
	ambiguous = &refusal{
		status: http.StatusBadRequest, reason: "ambiguous-source", title: "Ambiguous source",
		detail: "Several sources have this credential. Name one in the header X-Joinery-Source.",
	}
	wrongMethod = &refusal{
		status: http.StatusMethodNotAllowed, reason: "method", title: "Method not allowed",
		detail: "Events are sent with POST.", header: map[string]string{"Allow": http.MethodPost},
	}
	noSuchPath = &refusal{
		status: http.StatusNotFound, reason: "not-found", title: "Not found",
		detail: "Events are sent to /v1/events.",
	}
	wrongMediaType = &refusal{
		status: http.StatusUnsupportedMediaType, reason: "media-type", title: "Unsupported media type",
		detail: "Send application/cloudevents+json, application/cloudevents-batch+json, or JSON with ce- headers; in UTF-8.",
		header: map[string]string{"Accept": "application/cloudevents+json, application/cloudevents-batch+json, application/json"},
	}
	compressed = &refusal{
		status: http.StatusUnsupportedMediaType, reason: "content-encoding", title: "Unsupported content encoding",
		detail: "Send the body as it is, not compressed.", header: map[string]string{"Accept-Encoding": "identity"},
	}
	tooSlow = &refusal{
		status: http.StatusRequestTimeout, reason: "timeout", title: "Request timeout",
		detail: fmt.Sprintf("The body did not arrive within %v. Send it again.", readTimeout),
		header: map[string]string{"Connection": "close"},
	}
	aborted = &refusal{
		status: http.StatusBadRequest, reason: "aborted", title: "Incomplete request",
		detail: "The body broke off. Send it again.", header: map[string]string{"Connection": "close"},
	}
	overloaded = &refusal{
		status: http.StatusServiceUnavailable, reason: "overloaded", title: "Overloaded",
		detail: "Too much is being received. Send the same request again.",
		header: map[string]string{"Retry-After": "1", "Connection": "close"},
	}
)

func tooLong(limit int64) *refusal {
	return &refusal{
		status: http.StatusRequestEntityTooLarge, reason: string(tooLarge), title: "Too large",
		detail: fmt.Sprintf("The body is larger than %d bytes. Send less at a time.", limit),
		header: map[string]string{"Connection": "close"},
	}
}

// refusalOf is the answer for an error of parsing or accepting.
func refusalOf(err error, f format) *refusal {
	problems := event.ProblemsOf(err)
	if len(problems) == 0 {
		return unavailable(err)
	}
	if !f.batch {
		problems = alone(problems)
	}
	r := &refusal{
		status: http.StatusBadRequest, reason: string(problems[0].Code), title: "Invalid event",
		detail: problems[0].Detail, problems: problems,
	}
	switch problems[0].Code {
	case tooLarge:
		r.status = http.StatusRequestEntityTooLarge
	case reused:
		r.status, r.title = http.StatusConflict, "Event id used twice"
	}
	return r
}

// unavailable is the answer where the broker did not, or not surely, take the events.
func unavailable(err error) *refusal {
	seconds := int(fault.Pause(err).Seconds())
	return &refusal{
		status: http.StatusServiceUnavailable, reason: "unavailable", title: "Unavailable",
		detail: "The events could not be stored for certain. Send the same request again; what was stored is recognised.",
		header: map[string]string{"Retry-After": strconv.Itoa(max(seconds, retryAfter))}, cause: err,
	}
}

// alone is the problems of a batch of one as those of the one.
func alone(problems event.Problems) event.Problems {
	out := make(event.Problems, len(problems))
	for i, p := range problems {
		field := strings.TrimPrefix(strings.TrimPrefix(p.Field, root(0)), ".")
		out[i] = &event.Problem{Code: p.Code, Field: field, Detail: p.Detail}
	}
	return out
}

// reasonOf classifies an error for spans.
func reasonOf(err error) string {
	if problems := event.ProblemsOf(err); len(problems) > 0 {
		return string(problems[0].Code)
	}
	if errors.Is(err, ErrStored) {
		return "contended"
	}
	return "unavailable"
}

// write answers with a problem document. field is where the first problem is,
// errors is all of them where there are several.
func write(w http.ResponseWriter, r *refusal) {
	for name, value := range r.header {
		w.Header().Set(name, value)
	}
	extra := map[string]any{}
	maps.Copy(extra, r.extra)
	if len(r.problems) > 0 {
		extra["field"], extra["code"] = r.problems[0].Field, r.problems[0].Code
	}
	if len(r.problems) > 1 {
		extra["errors"] = listed(r.problems)
	}
	app.Problem(w, r.status, strings.ReplaceAll(r.reason, "_", "-"), r.title, r.detail, extra)
}

func listed(problems event.Problems) []map[string]any {
	out := make([]map[string]any, len(problems))
	for i, p := range problems {
		out[i] = map[string]any{"field": p.Field, "code": p.Code, "detail": p.Detail}
	}
	return out
}

// mediaType is the Content-Type without parameters, and whether these leave it
// plain UTF-8.
func mediaType(h http.Header) (kind string, plain bool) {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return "", false
	}
	return kind, event.UTF8(params)
}
