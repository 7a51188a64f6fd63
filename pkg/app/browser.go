package app

import "net/http"

// contentPolicy lets a page load scripts, styles, images and data from its own
// origin only, and be framed by nobody.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; " +
	"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// ForBrowsers protects what a person uses in a browser. Changes asked for by
// pages of another origin are refused with 403, and every answer carries the
// headers that keep foreign scripts, frames and content sniffing out. Inline
// scripts and styles do not work behind it.
func ForBrowsers(next http.Handler) http.Handler {
	var origin http.CrossOriginProtection
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		Problem(w, http.StatusForbidden, "cross-origin", "Cross-origin request",
			"a page of another origin asked for this change; use the console itself", nil)
	}))
	guarded := origin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		guarded.ServeHTTP(w, r)
	})
}
