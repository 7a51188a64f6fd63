package ingest

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// readTimeout bounds the time that a body may take to arrive: 8 MiB at 2 Mbit/s.
const readTimeout = 30 * time.Second

// firstBuffer is what a request holds before it has sent anything of its body.
const firstBuffer = 4 << 10

// body is a request's body in memory. Release it when it is no longer used.
type body struct {
	data    []byte
	release func()
}

// read reads a body of at most limit bytes. What it holds grows with what has
// arrived, not with what was announced: slow senders hold little.
func (s *Service) read(w http.ResponseWriter, r *http.Request, limit int64) (*body, *refusal) {
	if r.ContentLength > limit {
		return nil, tooLong(limit)
	}
	// Servers in tests have no deadlines to set; they have no slow senders either.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout))
	b := &body{}
	var held int64
	b.release = func() { s.held.Release(held) }
	for {
		if len(b.data) == cap(b.data) {
			size := min(max(firstBuffer, 2*held), limit+1)
			if !s.held.TryAcquire(size - held) {
				b.release()
				return nil, overloaded
			}
			b.data, held = append(make([]byte, 0, size), b.data...), size
		}
		n, err := r.Body.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		switch {
		case int64(len(b.data)) > limit:
			b.release()
			return nil, tooLong(limit)
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			b.release()
			return nil, unread(err)
		}
	}
}

// unread is the answer where the body did not arrive.
func unread(err error) *refusal {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return tooSlow
	}
	return aborted
}
