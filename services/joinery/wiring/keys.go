package wiring

import (
	"net/http"

	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/token"
	"github.com/joinery/joinery/services/ingest"
)

// newRing holds the keys of sources; they are fetched as carefully as targets
// are called.
func (b *Base) newRing() *token.Ring {
	return token.NewRing(func(allowPrivate bool) http.RoundTripper {
		if b.options.Transport != nil {
			return b.options.Transport
		}
		return scimhttp.NewTransport(allowPrivate, 1)
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
