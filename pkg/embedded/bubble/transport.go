package bubble

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"time"
)

// Transport is an http.RoundTripper without sockets. Requests and answers are
// written and read as HTTP/1.1, so that both sides see what they would over a
// wire: no context values, no headers that HTTP does not allow.
//
//	the handler panics with http.ErrAbortHandler   the answer is lost, the work is done
//	... after it flushed                           the answer breaks off
//	the client's context ends                      the client leaves, the handler's context ends
//	the host has no handler                        connection refused
//	the host was never named                       no such host
type Transport struct {
	base  context.Context
	mu    sync.Mutex
	hosts map[string]http.Handler
}

// Handle routes a host (with its port, if requests have one) to a handler. nil
// makes the host refuse connections.
func (tr *Transport) Handle(host string, h http.Handler) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.hosts[host] = h
}

// ErrLost: the connection ended before the answer.
var ErrLost = fmt.Errorf("connection lost before the answer: %w", io.ErrUnexpectedEOF)

// RoundTrip implements http.RoundTripper.
func (tr *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	h, err := tr.dial(req.URL.Host)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	in, err := received(req)
	if err != nil {
		return nil, err
	}
	ctx, hangUp := context.WithCancel(tr.base)
	type result struct {
		res *http.Response
		err error
	}
	done := make(chan result, 1)
	go func() {
		res, err := serve(h, in.WithContext(ctx), req) //nolint:bodyclose // it is the caller's to close
		done <- result{res, err}
	}()
	defer hangUp()
	select {
	case r := <-done:
		return r.res, r.err
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

func (tr *Transport) dial(host string) (http.Handler, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	h, known := tr.hosts[host]
	switch {
	case !known:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
	case h == nil:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return h, nil
}

// received is the request as the server reads it.
func received(req *http.Request) (*http.Request, error) {
	var wire bytes.Buffer
	if err := req.Write(&wire); err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	in, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	in.RemoteAddr = "192.0.2.1:1234" // TEST-NET-1, RFC 5737
	return in, nil
}

// serve calls the handler and gives the answer as the client reads it.
func serve(h http.Handler, in, req *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	aborted := call(h, rec, in)
	if aborted && !rec.Flushed {
		return nil, ErrLost
	}
	out := rec.Result()
	out.Request = req
	if out.Header.Get("Date") == "" {
		out.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	if !aborted && out.ContentLength < 0 {
		out.ContentLength = int64(rec.Body.Len())
	}
	var wire bytes.Buffer
	if err := out.Write(&wire); err != nil {
		return nil, fmt.Errorf("write the answer: %w", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(&wire), req)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if aborted {
		res.Body = io.NopCloser(io.MultiReader(res.Body, brokenOff{}))
	}
	return res, nil
}

// call tells whether the handler hung up.
func call(h http.Handler, w http.ResponseWriter, in *http.Request) (aborted bool) {
	defer func() {
		p := recover()
		if e, isError := p.(error); isError && errors.Is(e, http.ErrAbortHandler) {
			aborted = true
		} else if p != nil {
			panic(p)
		}
	}()
	h.ServeHTTP(w, in)
	return false
}

// brokenOff is the end of an answer that has none.
type brokenOff struct{}

func (brokenOff) Read([]byte) (int, error) { return 0, ErrLost }
