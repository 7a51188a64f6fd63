package app

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
)

// problemType is the prefix of a problem's type where only its name is given.
const problemType = "urn:joinery:problem:"

// Problem answers with a problem document (RFC 9457). typ is a short name of the
// kind of problem ("too-large"), a URI, or empty for about:blank; title is
// the same for every problem of the kind, detail says what is wrong this time and what
// to do. Neither repeats values of the request. Members of extra are added, except
// those that RFC 9457 defines.
func Problem(w http.ResponseWriter, status int, typ, title, detail string, extra map[string]any) {
	document := map[string]any{}
	maps.Copy(document, extra)
	delete(document, "instance")
	document["type"] = problemURI(typ)
	document["title"] = title
	document["status"] = status
	delete(document, "detail")
	if detail != "" {
		document["detail"] = detail
	}
	respond(w, status, "application/problem+json", document)
}

func problemURI(typ string) string {
	switch {
	case typ == "":
		return "about:blank"
	case strings.Contains(typ, ":"):
		return typ
	default:
		return problemType + typ
	}
}

// respond writes a JSON document that no cache may keep. A document that cannot be
// written as JSON is a mistake in the program, and answered by 500.
func respond(w http.ResponseWriter, status int, contentType string, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		status = http.StatusInternalServerError
		body = []byte(`{"type":"about:blank","title":"Internal error","status":500}`)
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// The client has gone when this fails; there is nobody to tell.
	_, _ = w.Write(append(body, '\n'))
}
