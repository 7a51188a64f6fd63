package ingest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/ingest"
)

func TestBodyBeyondTheLimitIsRefused(t *testing.T) {
	padded := func(size int) string { return oneEvent + strings.Repeat(" ", size-len(oneEvent)) }
	for _, row := range []struct {
		name        string
		contentType string
		body        string
		status      int
	}{
		{"an event that fills the limit", structured, padded(ingest.MaxBody), 202},
		{"an event one byte larger", structured, padded(ingest.MaxBody + 1), 413},
		{"a batch as large as no event may be", batch, list(padded(ingest.MaxBody + 1)), 202},
		{"a batch beyond its limit", batch, list(padded(ingest.MaxBatchBody)), 413},
	} {
		for _, announced := range []bool{true, false} {
			t.Run(row.name, func(t *testing.T) {
				d := open(t)
				r := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(row.body))
				r.Header.Set("Content-Type", row.contentType)
				r.Header.Set("X-Signature", sign(row.body))
				if !announced {
					r.ContentLength = -1
				}
				w := httptest.NewRecorder()
				d.Handler().ServeHTTP(w, r)
				if w.Code != row.status {
					t.Fatalf("got %d: %s", w.Code, w.Body)
				}
				if row.status == 413 {
					d.refused(t, w, 413, "")
				}
			})
		}
	}
}

// broken gives a part of a body, and then an error.
type broken struct {
	part string
	err  error
}

func (b *broken) Read(p []byte) (int, error) {
	if b.part == "" {
		return 0, b.err
	}
	n := copy(p, b.part)
	b.part = b.part[n:]
	return n, nil
}

func TestBodyThatDoesNotArriveIsAnswered(t *testing.T) {
	for name, row := range map[string]struct {
		err    error
		status int
	}{
		"in time": {os.ErrDeadlineExceeded, http.StatusRequestTimeout},
		"whole":   {io.ErrUnexpectedEOF, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			r := httptest.NewRequest(http.MethodPost, "/v1/events", &broken{oneEvent[:20], row.err})
			r.Header.Set("Content-Type", structured)
			r.Header.Set("X-Signature", sign(oneEvent))
			w := httptest.NewRecorder()
			d.Handler().ServeHTTP(w, r)
			d.refused(t, w, row.status, "")
			equal(t, "close", w.Header().Get("Connection"))
		})
	}
}

// pipe is a listener with one connection, inside the process.
type pipe struct{ conns chan net.Conn }

func (p pipe) Accept() (net.Conn, error) {
	if c, ok := <-p.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (pipe) Close() error   { return nil }
func (pipe) Addr() net.Addr { return &net.IPAddr{} }

func TestSenderThatStopsInTheMiddleIsAnsweredInHalfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := pipe{make(chan net.Conn, 1)}
		server := &http.Server{Handler: open(t).Handler()}
		go func() { _ = server.Serve(listener) }()
		client, conn := net.Pipe()
		listener.conns <- conn
		began := time.Now()
		_, err := fmt.Fprintf(client, "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nX-Signature: %s\r\nContent-Length: 500\r\n\r\n{",
			structured, sign(oneEvent))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusRequestTimeout || time.Since(began) != 30*time.Second {
			t.Errorf("got %d after %v", res.StatusCode, time.Since(began))
		}
		_ = client.Close()
		close(listener.conns)
		_ = server.Close()
	})
}

// trickle is a body of which a part has arrived; the rest waits for the sender.
type trickle struct {
	part io.Reader
	rest chan struct{}
}

func (s *trickle) Read(p []byte) (int, error) {
	n, err := s.part.Read(p)
	if errors.Is(err, io.EOF) {
		<-s.rest
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// TestSlowSendersHoldLittleAndBlockNobody: a thousand senders announce the
// largest batch and send next to nothing of it.
func TestSlowSendersHoldLittleAndBlockNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t)
		slow := make(chan struct{})
		var done sync.WaitGroup
		for range 1000 {
			done.Go(func() {
				r := httptest.NewRequest(http.MethodPost, "/v1/events", &trickle{strings.NewReader("[{"), slow})
				r.ContentLength = ingest.MaxBatchBody
				r.Header.Set("Content-Type", batch)
				r.Header.Set("X-Signature", sign(""))
				d.Handler().ServeHTTP(httptest.NewRecorder(), r)
			})
		}
		synctest.Wait()
		if w := d.post(structured, oneEvent); w.Code != http.StatusAccepted {
			t.Errorf("an honest sender got %d: %s", w.Code, w.Body)
		}
		close(slow)
		done.Wait()
	})
}

// stuck is a journal that takes as long as it takes.
type stuck struct {
	memory
	until chan struct{}
}

func (s *stuck) Add(ctx context.Context, e *joineryv1.LifecycleEvent) (bool, error) {
	<-s.until
	return s.memory.Add(ctx, e)
}

func TestBodiesHeldAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &stuck{until: make(chan struct{})}
		service, _ := over(t, journal, io.Discard, nil)
		body := list(oneEvent + strings.Repeat(" ", 7<<20))
		codes := make(chan int, 8)
		var done sync.WaitGroup
		for range 8 {
			done.Go(func() { codes <- post(service.Handler(), batch, body).Code })
		}
		synctest.Wait()
		if n := len(codes); n < 3 {
			t.Errorf("%d of 8 requests of 7 MiB were sent away while the broker was stuck, want about half", n)
		}
		for range len(codes) {
			if code := <-codes; code != http.StatusServiceUnavailable {
				t.Errorf("got %d", code)
			}
		}
		close(journal.until)
		done.Wait()
		for range len(codes) {
			if code := <-codes; code != http.StatusAccepted {
				t.Errorf("got %d", code)
			}
		}
		if w := post(service.Handler(), batch, body); w.Code != http.StatusAccepted {
			t.Errorf("the room was not given back: %d", w.Code)
		}
	})
}

// hung is a journal whose broker never answers.
type hung struct{ memory }

func (*hung) Add(ctx context.Context, _ *joineryv1.LifecycleEvent) (bool, error) {
	<-ctx.Done()
	return false, ctx.Err()
}

func TestBrokerThatNeverAnswersIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, _ := over(t, &hung{}, io.Discard, nil)
		if w := post(service.Handler(), structured, oneEvent); w.Code != http.StatusServiceUnavailable {
			t.Errorf("got %d: %s", w.Code, w.Body)
		}
	})
}
