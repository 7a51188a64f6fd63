package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/token"
)

// maxBearer bounds a bearer token in bytes: issuers keep them small enough for
// headers.
const maxBearer = 16 << 10

// JWT is a signed token in the header Authorization (RFC 6750, RFC 9068): made
// by the issuer, for us, and not over yet. Its key also signs the source's
// security event tokens; one of those is no credential.
type JWT struct{ Verifier *token.Verifier }

// Validate implements Credential.
func (c JWT) Validate() error {
	if c.Verifier == nil {
		return errors.New("jwks: no verifier")
	}
	if err := c.Verifier.Validate(); err != nil {
		return fmt.Errorf("jwks: %w", err)
	}
	return nil
}

// Presented implements Credential. It looks at the form only.
func (c JWT) Presented(h http.Header) bool {
	bearer, ok := authorization(h, "bearer")
	return ok && len(bearer) <= maxBearer && c.Verifier.Plausible(bearer)
}

// Admits implements Credential.
func (c JWT) Admits(h http.Header, _ []byte) bool { return c.check(h) == nil }

// unsure is why nothing can be said of the credential, or nil where something can.
func (c JWT) unsure(h http.Header) error {
	if err := c.check(h); errors.Is(err, token.ErrUnavailable) {
		return err
	}
	return nil
}

func (c JWT) check(h http.Header) error {
	bearer, ok := authorization(h, "bearer")
	if !ok || len(bearer) > maxBearer {
		return token.ErrMalformed
	}
	// A Credential is asked without a context; reading the keys has its own end.
	t, err := c.Verifier.Verify(context.Background(), bearer, "", "jwt", "at+jwt")
	if err != nil {
		return err
	}
	return t.Current(time.Now())
}

// unproved is the answer where no credential admits the request: one that cannot
// be judged now may be good, and its sender must come again.
func unproved(candidates []*Source, h http.Header) *refusal {
	for _, s := range candidates {
		for _, c := range s.Credentials {
			if c, ok := c.(JWT); ok {
				if err := c.unsure(h); err != nil {
					return keysAway(err)
				}
			}
		}
	}
	return unauthorized
}

// keysAway is the answer where the keys of a source cannot be had.
func keysAway(err error) *refusal {
	seconds := int(fault.Pause(err).Round(time.Second).Seconds())
	return &refusal{
		status: http.StatusServiceUnavailable, reason: "keys_unavailable", title: "Keys unavailable",
		detail: "The keys of the source cannot be read just now, so that nothing can be proved. Send the same request again.",
		header: map[string]string{"Retry-After": strconv.Itoa(max(seconds, retryAfter))}, cause: err,
	}
}
