package scimhttp

import "net/http"

// LookNow lets a transport look at its files before the next request.
func LookNow(transport http.RoundTripper) {
	r := transport.(*rotating)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked = r.looked.Add(-Look)
}
