package simulator

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/joinery/joinery/pkg/scim"
)

// reply is what goes back.
type reply struct {
	status      int
	body        any
	header      map[string]string
	raw         string // instead of body
	contentType string
	lost        bool
	delay       time.Duration // before anything is written
	drip        time.Duration // over which the body is written
}

func (p reply) write(w http.ResponseWriter, r *http.Request) {
	if p.lost {
		drop(w)
		return
	}
	for name, value := range p.header {
		w.Header().Set(name, value)
	}
	text := []byte(p.raw)
	if p.body != nil {
		var err error
		if text, err = json.Marshal(p.body); err != nil {
			p.status, text = http.StatusInternalServerError, nil
		}
	}
	if len(text) > 0 {
		if p.contentType == "" {
			p.contentType = "application/scim+json"
		}
		w.Header().Set("Content-Type", p.contentType)
	}
	w.WriteHeader(p.status)
	if p.drip > 0 {
		trickle(w, r, text, p.drip)
		return
	}
	_, _ = w.Write(text)
}

// drop ends the connection without an answer. Without a connection to take
// over, http.ErrAbortHandler says it to net/http, and to transports of tests.
func drop(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// drops is in how many pieces a slow body comes.
const drops = 20

func trickle(w http.ResponseWriter, r *http.Request, text []byte, over time.Duration) {
	piece := max(1, (len(text)+drops-1)/drops)
	for len(text) > 0 && r.Context().Err() == nil {
		wait(r, over/drops)
		n := min(piece, len(text))
		if _, err := w.Write(text[:n]); err != nil {
			return
		}
		text = text[n:]
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
}

// webPage is a web page where an answer was expected.
func webPage(text string) reply {
	return reply{status: http.StatusOK, raw: "<html>" + text + "</html>", contentType: "text/html"}
}

func failure(status int, scimType, detail string) reply {
	return reply{status: status, body: &scim.Error{Status: status, ScimType: scimType, Detail: detail}}
}

func failed(err error) reply {
	var e *scim.Error
	if errors.As(err, &e) {
		return failure(e.Status, e.ScimType, e.Detail)
	}
	return failure(http.StatusInternalServerError, "", "the simulator failed")
}
