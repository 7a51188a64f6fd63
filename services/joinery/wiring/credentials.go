package wiring

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/joinery/joinery/pkg/alert"
	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/services/deadletter"
)

// tlsOf is how we and a target know each other, where its file says so.
func tlsOf(t config.Target) *scimhttp.TLS {
	a := t.Auth
	if a.MTLS == nil && a.CA == nil && a.ServerName == "" {
		return nil
	}
	out := &scimhttp.TLS{ServerName: a.ServerName}
	if a.MTLS != nil {
		out.Certificate, out.Key = a.MTLS.Certificate.Read, a.MTLS.Key.Read
	}
	if a.CA != nil {
		out.CA = a.CA.Read
	}
	return out
}

// clientCredentials gets tokens; transport replaces the safe one (tests).
func clientCredentials(t config.Target, transport http.RoundTripper) *scimhttp.ClientCredentials {
	o := t.Auth.OAuth2
	if transport == nil {
		transport = scimhttp.NewTransport(t.AllowPrivate, 1)
	}
	c := &scimhttp.ClientCredentials{TokenURL: o.TokenURL, ClientID: o.ClientID, Scopes: o.Scopes, Transport: transport}
	if o.ClientSecret != nil {
		c.ClientSecret = o.ClientSecret.Read
	}
	if p := o.PrivateKeyJWT; p != nil {
		c.Assertion = &scimhttp.Assertion{
			Key: p.Key.Read, KeyID: p.KeyID, Algorithm: p.Algorithm, Audience: p.Audience, Lifetime: p.Lifetime,
		}
	}
	return c
}

// When ends of credentials are looked for, and when they are told of: a month is
// what it takes to get a certificate from another department.
const (
	lookForEnds = time.Hour
	tellAgain   = 24 * time.Hour
	tellBefore  = 30 * 24 * time.Hour
)

// ends tells of credentials that end.
type ends struct {
	seconds *telemetry.Gauge
	warn    func(ctx context.Context, target, credential, says string)
	failed  func(ctx context.Context, target string, err error)
	// told is when each was last told of, and shown which have a series; both by
	// target and credential, of the configuration in force.
	told  map[[2]string]time.Time
	shown map[[2]string]bool
}

// watchCredentials looks for credentials that end, until ctx does.
func (b *Base) watchCredentials(ctx context.Context) error {
	e := ends{
		seconds: b.telemetry.Metrics.Gauge("joinery_target_credential_expiry_seconds",
			"Seconds until a target's credential ends, negative afterwards.", "target", "credential"),
		warn: func(ctx context.Context, target, credential, says string) {
			b.telemetry.Log.WarnContext(ctx, "credential ends", "target", target, "credential", credential, "when", says)
			b.bell.Raise(ctx, alert.Expiring, target+" "+credential, fmt.Sprintf("%s: the %s %s", target, credential, says))
		},
		failed: func(ctx context.Context, target string, err error) {
			b.telemetry.Log.WarnContext(ctx, "credential could not be read", "target", target, "error", err)
		},
		told: map[[2]string]time.Time{}, shown: map[[2]string]bool{},
	}
	tick := time.NewTicker(lookForEnds)
	defer tick.Stop()
	for {
		e.look(ctx, b.folder.Load(), time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (e *ends) look(ctx context.Context, folder *config.Folder, now time.Time) {
	seen := map[[2]string]bool{}
	for _, name := range slices.Sorted(maps.Keys(folder.Targets)) {
		expiries, err := folder.Targets[name].Auth.Expiries()
		if err != nil {
			e.failed(ctx, name, err)
		}
		for _, x := range expiries {
			key, left := [2]string{name, x.Credential}, x.At.Sub(now)
			seen[key] = true
			e.seconds.Set(left.Seconds(), name, x.Credential)
			if told, ok := e.told[key]; left < tellBefore && (!ok || now.Sub(told) >= tellAgain) {
				e.told[key] = now
				e.warn(ctx, name, x.Credential, deadletter.Ends(x.At, now))
			}
		}
	}
	for key := range e.shown {
		if !seen[key] {
			e.seconds.Delete(key[0], key[1])
			delete(e.told, key)
		}
	}
	e.shown = seen
}

// credentials are the ends of a target's credentials, for the board.
func (b *Base) credentials(name string) []deadletter.Credential {
	// What cannot be read is told of by watchCredentials.
	expiries, _ := b.folder.Load().Targets[name].Auth.Expiries()
	var out []deadletter.Credential
	for _, x := range expiries {
		out = append(out, deadletter.Credential{Credential: x.Credential, Expires: x.At})
	}
	return out
}
