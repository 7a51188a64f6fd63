package token

import (
	"context"
	"net/http"
	"sync"
)

// Ring holds one set of keys for each place in use, so that what was read
// survives a change of the configuration. It is safe for concurrent use.
type Ring struct {
	transport func(allowPrivate bool) http.RoundTripper
	told      func(ctx context.Context, p Place, err error)

	mu   sync.Mutex
	held map[Place]*Keys
}

// NewRing makes a ring whose sets are fetched over what transport gives. told
// hears how each reading of a set ended: where that fails, keys that were read
// before go on to be used for a while.
func NewRing(transport func(allowPrivate bool) http.RoundTripper, told func(ctx context.Context, p Place, err error)) *Ring {
	if told == nil {
		told = func(context.Context, Place, error) {}
	}
	return &Ring{transport: transport, told: told}
}

// Hold gives the keys at the places. It forgets those at all others, so that the
// ring is never larger than the configuration.
func (r *Ring) Hold(places []Place) map[Place]*Keys {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, out := make(map[Place]*Keys, len(places)), make(map[Place]*Keys, len(places))
	for _, p := range places {
		if next[p] == nil {
			next[p] = r.held[p]
		}
		if next[p] == nil {
			next[p] = NewKeys(p, r.transport(p.AllowPrivate), func(ctx context.Context, err error) { r.told(ctx, p, err) })
		}
		out[p] = next[p]
	}
	r.held = next
	return out
}
