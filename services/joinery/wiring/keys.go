package wiring

import (
	"context"
	"net/http"

	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/token"
	"github.com/joinery/joinery/services/ingest"
)

// newRing holds the keys of sources; they are fetched as carefully as targets
// are called.
func (b *Base) newRing() *token.Ring {
	reads := b.telemetry.Metrics.Counter("joinery_ingest_key_sets_read_total",
		"Readings of the key sets of sources, by how they ended (ok, failed).", "result")
	transport := func(allowPrivate bool) http.RoundTripper {
		if b.options.Transport != nil {
			return b.options.Transport
		}
		return scimhttp.NewTransport(allowPrivate, 1)
	}
	return token.NewRing(transport, func(ctx context.Context, p token.Place, err error) {
		if err == nil {
			reads.Add(1, "ok")
			return
		}
		reads.Add(1, "failed")
		b.telemetry.Log.WarnContext(ctx, "key set could not be read", "url", p.URL, "file", p.File, "error", err)
	})
}

// hold is the keys of all sources that have some.
func hold(ring *token.Ring, folder *config.Folder) map[token.Place]*token.Keys {
	var places []token.Place
	for _, s := range folder.Sources {
		if s.Auth.JWKS != nil {
			places = append(places, placeOf(s.Auth.JWKS))
		}
	}
	return ring.Hold(places)
}

func placeOf(k *config.JWKS) token.Place {
	return token.Place{URL: k.URL, File: k.File, AllowPrivate: k.AllowPrivate}
}

func jwtOf(k *config.JWKS, keys map[token.Place]*token.Keys) ingest.JWT {
	return ingest.JWT{Verifier: &token.Verifier{
		Keys: keys[placeOf(k)], Issuer: k.Issuer, Audience: k.Audience, Algorithms: k.Algorithms,
	}}
}
