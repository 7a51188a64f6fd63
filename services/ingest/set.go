package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/secevent"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/token"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// setType is the type of a security event token, in the header of the request
// and in its own (RFC 8417 section 2.3).
const setType = "secevent+jwt"

const (
	// MaxSET is the size of a security event token in bytes. Whoever sends one is
	// unknown until all of it is there.
	MaxSET = 256 << 10
	// maxSETs bounds the tokens that are read and verified at a time: together they
	// take half of the room for bodies, so that unknown senders leave the other
	// doors theirs.
	maxSETs = maxHeld / MaxSET / 2
)

// The refusals of security event tokens; their reasons are the error codes of
// RFC 8935 section 2.4.
var (
	accessDenied = &refusal{
		status: http.StatusForbidden, reason: "access_denied", title: "Access denied",
		detail: "No source of this name takes security event tokens.",
	}
	notSET = &refusal{
		status: http.StatusUnsupportedMediaType, reason: "media-type", title: "Unsupported media type",
		detail: "Send one security event token as application/secevent+jwt, not compressed.",
		header: map[string]string{"Accept": "application/secevent+jwt"},
	}
)

// serveSET takes one security event token in (RFC 8935). 202, with nothing more
// to say, means that all of it that Joinery understands is stored.
func (s *Service) serveSET(w http.ResponseWriter, r *http.Request) {
	v := &visit{arrived: time.Now(), format: format{name: "set"}}
	ctx := telemetry.ExtractHTTP(r.Context(), r.Header)
	v.refusal = s.receiveSET(ctx, w, r, v)
	if v.refusal != nil {
		writeSET(w, v.refusal)
	} else {
		w.WriteHeader(http.StatusAccepted)
	}
	s.report(ctx, v)
}

// receiveSET reads a token's claims only once its signature is proved.
func (s *Service) receiveSET(ctx context.Context, w http.ResponseWriter, r *http.Request, v *visit) *refusal {
	if r.Method != http.MethodPost {
		return wrongMethod
	}
	src, verifier := s.sources.Load().taker(r.PathValue("source"))
	if verifier == nil {
		return accessDenied
	}
	kind, plain := mediaType(r.Header)
	if kind != "application/"+setType || !plain || r.Header.Get("Content-Encoding") != "" {
		return notSET
	}
	select {
	case s.sets <- struct{}{}:
		defer func() { <-s.sets }()
	default:
		return overloaded
	}
	body, no := s.read(w, r, MaxSET)
	if no != nil {
		return no
	}
	defer body.release()
	v.bytes = len(body.data)
	signed, err := verifier.Verify(ctx, string(bytes.TrimSpace(body.data)), setType)
	if err == nil || errors.Is(err, token.ErrIssuer) || errors.Is(err, token.ErrAudience) {
		v.source = src
	}
	if err != nil {
		return unverified(err)
	}
	return s.takeSET(ctx, v, signed.Claims)
}

// taker is the source of a name with what verifies its tokens, or nil where it
// has no keys.
func (r *registry) taker(name string) (*Source, *token.Verifier) {
	src, ok := r.named(name)
	if !ok {
		return nil, nil
	}
	for _, c := range src.Credentials {
		if c, ok := c.(JWT); ok {
			return src, c.Verifier
		}
	}
	return nil, nil
}

// takeSET reads and accepts the claims of a verified token.
func (s *Service) takeSET(ctx context.Context, v *visit, claims []byte) *refusal {
	set, err := secevent.Read(claims, v.arrived)
	if err != nil {
		_, span := s.tel.Tracer.Start(ctx, "refuse request", trace.WithTimestamp(v.arrived), trace.WithSpanKind(trace.SpanKindServer))
		span.SetStatus(codes.Error, reasonOf(err))
		span.End()
		return refusedSET(err, v.format)
	}
	v.events = set.Events
	src := *v.source
	src.Events.Rules = secevent.Rules{Rules: src.Events.Rules}
	if v.results, err = s.accept(ctx, &src, acceptable(set, src.Events.Rules), v.arrived); err != nil {
		return refusedSET(err, v.format)
	}
	return nil
}

// acceptable is the events of a token without those that could only be recorded,
// and name nobody in whose history: a session, a device, an unlinked account.
func acceptable(set secevent.Set, rules event.Rules) []event.Event {
	var out []event.Event
	for _, fact := range set.Facts {
		if !fact.Acts {
			if key, err := rules.Key(fact.Values()); err != nil || key == "" {
				continue
			}
		}
		out = append(out, fact.Event)
	}
	return out
}

// unverified is the answer for a token that is not proved.
func unverified(err error) *refusal {
	if errors.Is(err, token.ErrUnavailable) {
		return keysAway(err)
	}
	r := &refusal{status: http.StatusBadRequest, reason: "invalid_request", title: "Invalid token", detail: err.Error()}
	for _, row := range []struct {
		err    error
		reason string
	}{
		{token.ErrAlgorithm, "invalid_key"},
		{token.ErrKey, "invalid_key"},
		{token.ErrSignature, "authentication_failed"},
		{token.ErrIssuer, "invalid_issuer"},
		{token.ErrAudience, "invalid_audience"},
	} {
		if errors.Is(err, row.err) {
			r.reason = row.reason
		}
	}
	return r
}

// refusedSET is the answer for an error of reading or accepting: what the sender
// can do nothing about by sending again is always 400 (RFC 8935 section 2.3).
func refusedSET(err error, f format) *refusal {
	r := refusalOf(err, f)
	if len(r.problems) > 0 {
		r.status = http.StatusBadRequest
	}
	return r
}

// writeSET answers with an error document of RFC 8935 section 2.3, or, where the
// RFC leaves it to HTTP, with a problem document.
func writeSET(w http.ResponseWriter, r *refusal) {
	if r.status != http.StatusBadRequest && r.status != http.StatusForbidden {
		write(w, r)
		return
	}
	code := "invalid_request"
	switch r.reason {
	case "invalid_key", "invalid_issuer", "invalid_audience", "authentication_failed", "access_denied":
		code = r.reason
	}
	for name, value := range r.header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Language", "en")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(r.status)
	// A sender that does not listen sends the same token again.
	_ = json.NewEncoder(w).Encode(map[string]string{"err": code, "description": r.detail})
}
