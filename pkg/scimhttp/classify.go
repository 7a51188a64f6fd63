package scimhttp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/scim"
)

// classify says what an answer means:
//
//	2xx                      success
//	3xx                      target down: it points elsewhere, and we do not follow
//	401 403                  target down (the caller asks a control question)
//	404                      not found
//	405 501                  unsupported
//	408 5xx                  transient; after a POST unknown
//	409                      conflict
//	412                      changed; after a POST conflict: it has no version that
//	                         could have changed
//	429, 503 + Retry-After   throttled
//	other 4xx                permanent
func classify(method string, a answer) error {
	if a.status >= 200 && a.status < 300 {
		return nil
	}
	said := scim.DecodeError(a.status, a.body)
	pause, named := retryAfter(a.header, time.Now())
	switch {
	case a.status >= 300 && a.status < 400:
		return fault.Mark(fault.TargetDown, fmt.Errorf("the target redirects, which is never followed: %w", said))
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable && named:
		return fault.After(pause, said)
	}
	return fault.Mark(meaning(method, a.status), said)
}

func meaning(method string, status int) fault.Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.TargetDown
	case http.StatusNotFound:
		return fault.NotFound
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return fault.Unsupported
	case http.StatusConflict:
		return fault.Conflict
	case http.StatusPreconditionFailed:
		if method == http.MethodPost {
			return fault.Conflict
		}
		return fault.Changed
	case http.StatusRequestTimeout:
		return unanswered(method)
	}
	if status >= 500 {
		return unanswered(method)
	}
	return fault.Permanent
}

// unanswered is what a request means whose end is not known: only a POST does
// harm when it is repeated.
func unanswered(method string) fault.Kind {
	if method == http.MethodPost {
		return fault.Unknown
	}
	return fault.Transient
}

// lost marks a request that got no whole answer. Where nothing was sent, it is
// known to have had no effect.
func lost(method string, sent bool, err error) error {
	if !sent {
		return fault.Mark(fault.Transient, err)
	}
	return fault.Mark(unanswered(method), err)
}

// plainCause is a transport error without the URL, which may hold personal values.
func plainCause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the target did not answer in time: %w", err)
	case errors.As(err, &dns):
		return fmt.Errorf("the target's name was not resolved (%s)", dns.Err)
	}
	return fmt.Errorf("reach the target: %w", err)
}

// maxRetryAfter bounds a pause that a target asks for: a day's quota is the
// longest honest one.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads how long the target wants to be left alone: Retry-After in
// seconds or as a date (RFC 9110 section 10.2.3), or the reset of a rate limit
// in the vendors' headers. named is false where none says so.
func retryAfter(h http.Header, now time.Time) (pause time.Duration, named bool) {
	for _, name := range []string{"Retry-After", "RateLimit-Reset", "X-RateLimit-Reset", "X-Rate-Limit-Reset"} {
		value := strings.TrimSpace(h.Get(name))
		if value == "" {
			continue
		}
		if d, ok := parsePause(value, now); ok {
			return min(max(d, 0), maxRetryAfter), true
		}
	}
	return 0, false
}

// epochFloor tells a point in time from a number of seconds to wait.
const epochFloor = 1_000_000_000

func parsePause(value string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		if seconds != seconds || seconds < 0 {
			return 0, false
		}
		if seconds >= epochFloor {
			return min(time.Duration(min(seconds, 1e11)-float64(now.Unix()))*time.Second, maxRetryAfter), true
		}
		return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second)), true
	}
	if at, err := http.ParseTime(value); err == nil {
		return at.Sub(now), true
	}
	return 0, false
}
