package deadletter

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/joinery/joinery/pkg/app"
	"github.com/joinery/joinery/pkg/stream"
)

// API is the console's JSON API under /api/v1.
type API struct {
	Desk    *Desk
	Library *Library
	Board   *Board
	Runs    Runs
	// Accountant compares what was accepted with how it ended.
	Accountant *Accountant
	// Topology gives the streams and consumers as applied.
	Topology func(ctx context.Context) (any, error)
	// Publish stores what an operator decides about a person as an event.
	Publish Publisher
	// EventID gives Joinery's id of a source's event.
	EventID func(source, id string) string
	// Token is the bearer token that callers must present; nil asks for none.
	Token func() (string, error)
	Log   *slog.Logger
}

// Runs requests and shows reconciliation runs.
type Runs interface {
	Request(ctx context.Context, target, mode, by, reason string, force bool) (id string, err error)
	Show(ctx context.Context, target, id string) (any, error)
	List(ctx context.Context, target string) (any, error)
}

// maxBody bounds what a caller may send: a decision may name thousands of cases.
const maxBody = 1 << 20

// Handler serves the API.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range a.routes() {
		mux.HandleFunc(pattern, a.serve(h))
	}
	mux.HandleFunc("GET /api/v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openAPI)
	})
	return http.NewCrossOriginProtection().Handler(a.guard(mux))
}

type handler func(r *http.Request) (any, error)

func (a *API) routes() map[string]handler {
	return map[string]handler{
		"GET /api/v1/cases":                       a.listCases,
		"GET /api/v1/cases/{id}":                  a.showCase,
		"POST /api/v1/cases/{id}/replay":          a.decide(a.Desk.Replay),
		"POST /api/v1/cases/{id}/adopt":           a.decide(a.Desk.Adopt),
		"POST /api/v1/cases/{id}/discard":         a.decide(a.Desk.Discard),
		"GET /api/v1/batches":                     a.listBatches,
		"GET /api/v1/batches/{id}":                a.showBatch,
		"POST /api/v1/batches/{id}/decide":        a.decideBatch,
		"GET /api/v1/identities/{key}":            a.showIdentity,
		"GET /api/v1/events/{id}":                 a.showEvent,
		"GET /api/v1/targets":                     a.listTargets,
		"GET /api/v1/targets/{target}":            a.showTarget,
		"POST /api/v1/targets/{target}/pause":     a.steer("pause"),
		"POST /api/v1/targets/{target}/resume":    a.steer("resume"),
		"POST /api/v1/targets/{target}/release":   a.steer("release"),
		"POST /api/v1/targets/{target}/runs":      a.requestRun,
		"GET /api/v1/targets/{target}/runs":       a.listRuns,
		"GET /api/v1/targets/{target}/runs/{run}": a.showRun,
		"GET /api/v1/audit":                       a.audit,
		"GET /api/v1/leavers":                     a.listLeavers,
		"GET /api/v1/scheduled":                   a.listScheduled,
		"POST /api/v1/scheduled/{id}/cancel":      a.cancelScheduled,
		"GET /api/v1/topology":                    a.topology,
	}
}

// guard asks for the token, where one is configured.
func (a *API) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.Token == nil {
			next.ServeHTTP(w, r)
			return
		}
		want, err := a.Token()
		got := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if err != nil || want == "" || subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			app.Problem(w, http.StatusUnauthorized, "unauthorized", "Unauthorized",
				"send the console token as a bearer token (flag --token or JOINERY_CONSOLE_TOKEN)", nil)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// badRequest is an error whose text is meant for the caller.
type badRequest struct{ detail string }

func (b badRequest) Error() string { return b.detail }

func (a *API) serve(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		out, err := h(r)
		var bad badRequest
		switch {
		case errors.Is(err, ErrUnknown), errors.Is(err, stream.ErrNotFound):
			app.Problem(w, http.StatusNotFound, "not-found", "Not found", "there is no such thing at "+r.URL.Path, nil)
		case errors.Is(err, ErrChanged):
			app.Problem(w, http.StatusConflict, "changed", "The batch changed", err.Error(), nil)
		case errors.Is(err, ErrApprove), errors.Is(err, ErrNotInBatch):
			app.Problem(w, http.StatusConflict, "batch", "Decided with its batch", err.Error(), nil)
		case errors.Is(err, ErrDecided):
			app.Problem(w, http.StatusConflict, "decided", "Already decided", err.Error(), nil)
		case errors.Is(err, ErrNobodyToAdopt):
			app.Problem(w, http.StatusConflict, "nobody-to-adopt", "Nobody to adopt", err.Error(), nil)
		case errors.Is(err, ErrNothingToReplay):
			app.Problem(w, http.StatusConflict, "nothing-to-replay", "Nothing to replay", err.Error(), nil)
		case errors.As(err, &bad):
			app.Problem(w, http.StatusBadRequest, "bad-request", "Bad request", bad.detail, nil)
		case err != nil:
			a.Log.ErrorContext(r.Context(), "console request failed", "path", r.Pattern, "error", err)
			app.Problem(w, http.StatusServiceUnavailable, "unavailable", "Unavailable",
				"the broker could not answer; try again", nil)
		default:
			w.Header().Set("Content-Type", "application/json")
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			_ = enc.Encode(out)
		}
	}
}

// decision is the body of every POST.
type decision struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
	Mode   string `json:"mode"`
	Force  bool   `json:"force"`
}

func readDecision(r *http.Request) (decision, error) {
	d := decision{}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil && !errors.Is(err, io.EOF) {
		return d, badRequest{"the body must be a JSON object with by and reason: " + err.Error()}
	}
	if d.By == "" {
		return d, badRequest{`name who decides: {"by": "..."}`}
	}
	return d, nil
}

func (a *API) decide(act func(ctx context.Context, id, by, note string) (Case, error)) handler {
	return func(r *http.Request) (any, error) {
		d, err := readDecision(r)
		if err != nil {
			return nil, err
		}
		c, err := act(r.Context(), r.PathValue("id"), d.By, d.Reason)
		return summary(c), err
	}
}

func (a *API) listCases(r *http.Request) (any, error) {
	ids, err := a.Library.Cases.Keys(r.Context(), "")
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	out := []Case{}
	for _, id := range ids {
		c, _, err := a.Library.Cases.Get(r.Context(), id)
		if errors.Is(err, stream.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if matches(q.Get("target"), c.Target) && matches(q.Get("state"), string(c.State)) && matches(q.Get("cause"), c.Cause) {
			out = append(out, summary(c))
		}
	}
	slices.SortFunc(out, func(x, y Case) int { return x.OpenedAt.Compare(y.OpenedAt) })
	return out, nil
}

func matches(want, got string) bool { return want == "" || want == got }

// summary is a case without the dead letter, which may hold personal values.
func summary(c Case) Case {
	c.Letter = nil
	return c
}

func (a *API) showCase(r *http.Request) (any, error) {
	c, _, err := a.Library.Cases.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return struct {
		Case
		Letter json.RawMessage `json:"letter"`
	}{summary(c), c.Letter}, nil
}

func (a *API) listBatches(r *http.Request) (any, error) { return a.Desk.Batches(r.Context()) }

func (a *API) showBatch(r *http.Request) (any, error) {
	return a.Desk.Batch(r.Context(), r.PathValue("id"))
}

func (a *API) decideBatch(r *http.Request) (any, error) {
	var v Verdict
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return nil, badRequest{"the body must be a JSON object with by, hash, reason, only and reject: " + err.Error()}
	}
	if v.By == "" || v.Hash == "" {
		return nil, badRequest{`name who decides about what: {"by": "...", "hash": "..."}; the batch shows its hash`}
	}
	return a.Desk.Decide(r.Context(), r.PathValue("id"), v)
}

func (a *API) showIdentity(r *http.Request) (any, error) {
	return a.Library.Story(r.Context(), r.PathValue("key"))
}

func (a *API) showEvent(r *http.Request) (any, error) {
	id := r.PathValue("id")
	if source := r.URL.Query().Get("source"); source != "" {
		id = a.EventID(source, id)
	}
	if strings.ContainsAny(id, ".*> ") {
		return nil, badRequest{"an event is named by the id that ingest answered, or by its source's id together with ?source="}
	}
	return a.Library.Trace(r.Context(), id)
}

func (a *API) listTargets(r *http.Request) (any, error) {
	out := []TargetView{}
	for _, name := range slices.Sorted(maps.Keys(a.Board.Configured())) {
		v, err := a.Board.Show(r.Context(), name)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (a *API) showTarget(r *http.Request) (any, error) {
	return a.Board.Show(r.Context(), r.PathValue("target"))
}

func (a *API) steer(action string) handler {
	return func(r *http.Request) (any, error) {
		d, err := readDecision(r)
		if err != nil {
			return nil, err
		}
		a.Log.WarnContext(r.Context(), "target steered", "target", r.PathValue("target"), "action", action, "by", d.By)
		return a.Board.Steer(r.Context(), r.PathValue("target"), action, d.By, d.Reason)
	}
}

func (a *API) requestRun(r *http.Request) (any, error) {
	d, err := readDecision(r)
	if err != nil {
		return nil, err
	}
	target := r.PathValue("target")
	if _, ok := a.Board.Configured()[target]; !ok {
		return nil, ErrUnknown
	}
	if d.Mode != "" && d.Mode != "report" && d.Mode != "remediate" {
		return nil, badRequest{"mode is report or remediate"}
	}
	id, err := a.Runs.Request(r.Context(), target, d.Mode, d.By, d.Reason, d.Force)
	return map[string]string{"run": id, "target": target}, err
}

func (a *API) listRuns(r *http.Request) (any, error) {
	return a.Runs.List(r.Context(), r.PathValue("target"))
}

func (a *API) showRun(r *http.Request) (any, error) {
	return a.Runs.Show(r.Context(), r.PathValue("target"), r.PathValue("run"))
}

func (a *API) topology(r *http.Request) (any, error) { return a.Topology(r.Context()) }

func (a *API) audit(r *http.Request) (any, error) { return a.Accountant.Sweep(r.Context()) }

func (a *API) listLeavers(r *http.Request) (any, error) { return a.Library.Leavers(r.Context()) }
