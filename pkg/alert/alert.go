// Package alert owns how people are told that something needs them: it posts
// alerts to webhooks, signed as Standard Webhooks says. What is worth an alert
// is decided elsewhere. It holds no personal attribute value.
package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// The kinds of alerts.
const (
	Quarantined = "target.quarantined"  // a target refuses us; its commands wait
	Released    = "target.released"     // it takes them again
	Held        = "guard.held"          // a guard holds a batch for a person
	Overdue     = "outcome.overdue"     // something accepted has no outcome in time
	Unconfirmed = "leaver.unconfirmed"  // a target does not show that somebody left
	Limiter     = "limiter.down"        // replicas cannot agree on rates
	Expiring    = "credential.expiring" // a target's credential ends within 30 days, or has ended
)

// Alert is one thing that a person should know.
type Alert struct {
	Kind string `json:"type"`
	// Subject is what it is about: a target, a batch. Alerts of one kind about one
	// subject are sent once in Quiet.
	Subject string    `json:"subject"`
	Summary string    `json:"summary"`
	At      time.Time `json:"timestamp"`
}

// Receiver is one webhook. URL and Secret are read at each alert, so that they
// can be rotated; an empty secret signs nothing.
type Receiver struct {
	URL    func() (string, error)
	Secret func() (string, error)
}

// Bounds: what waits beyond the queue is dropped with a log line; each receiver
// is tried a few times.
const (
	Quiet    = 10 * time.Minute
	queue    = 256
	attempts = 4
	pause    = 2 * time.Second
	timeout  = 10 * time.Second
)

// Bell raises alerts.
type Bell struct {
	client    *http.Client
	log       *slog.Logger
	waiting   chan Alert
	mu        sync.Mutex
	receivers []Receiver
	last      map[string]time.Time
}

// New makes a bell that is silent until receivers are configured. transport nil
// means the default one.
func New(log *slog.Logger, transport http.RoundTripper) *Bell {
	return &Bell{
		client: &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		log:    log, waiting: make(chan Alert, queue), last: map[string]time.Time{},
	}
}

// Configure puts receivers in force.
func (b *Bell) Configure(receivers []Receiver) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.receivers = receivers
}

// Raise tells people. It never blocks.
func (b *Bell) Raise(ctx context.Context, kind, subject, summary string) {
	a := Alert{Kind: kind, Subject: subject, Summary: summary, At: time.Now().UTC()}
	if !b.fresh(a) {
		return
	}
	b.log.WarnContext(ctx, "alert", "kind", kind, "subject", subject, "summary", summary)
	select {
	case b.waiting <- a:
	default:
		b.log.ErrorContext(ctx, "alert not sent: too many wait", "kind", kind, "subject", subject)
	}
}

// fresh tells whether this was not said just now.
func (b *Bell) fresh(a Alert) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := a.Kind + " " + a.Subject
	for k, at := range b.last {
		if a.At.Sub(at) >= Quiet {
			delete(b.last, k)
		}
	}
	if _, said := b.last[key]; said {
		return false
	}
	b.last[key] = a.At
	return true
}

// Run posts alerts until ctx ends.
func (b *Bell) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-b.waiting:
			b.mu.Lock()
			receivers := b.receivers
			b.mu.Unlock()
			for i, r := range receivers {
				if err := b.deliver(ctx, r, a); err != nil {
					b.log.ErrorContext(ctx, "alert not delivered", "kind", a.Kind, "subject", a.Subject, "receiver", i, "error", err)
				}
			}
		}
	}
}

// deliver posts to one receiver, a few times at most.
func (b *Bell) deliver(ctx context.Context, r Receiver, a Alert) error {
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode an alert: %w", err)
	}
	id := uuid.NewString()
	for try := range attempts {
		if err = b.post(ctx, r, id, body); err == nil {
			return nil
		}
		timer := time.NewTimer(pause << try)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
	return err
}

var errReceiver = errors.New("the receiver did not take the alert")

func (b *Bell) post(ctx context.Context, r Receiver, id string, body []byte) error {
	address, err := r.URL()
	if err != nil {
		return fmt.Errorf("read an alert's address: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return errors.New("an alert's address is not a URL")
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Joinery/1 (alerts)")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", stamp)
	if r.Secret != nil {
		secret, err := r.Secret()
		if err != nil {
			return fmt.Errorf("read an alert's secret: %w", err)
		}
		req.Header.Set("webhook-signature", Sign(secret, id, stamp, body))
	}
	res, err := b.client.Do(req)
	if err != nil {
		return fmt.Errorf("post an alert: %w", errReceiver) // the address may be a secret
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	if res.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("post an alert: status %d: %w", res.StatusCode, errReceiver)
	}
	return nil
}

// Sign is the Standard Webhooks signature: "v1," and the base64 of the HMAC-SHA256
// of id, timestamp and body. A secret may be written as whsec_ and base64.
func Sign(secret, id, stamp string, body []byte) string {
	key := []byte(secret)
	if encoded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if raw, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			key = raw
		}
	}
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.", id, stamp)
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
