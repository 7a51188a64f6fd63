// Package bubble runs a test on fake time with the real parts inside: a
// JetStream server on disk, a Redis implementation, and HTTP without sockets.
// An hour of outage takes as long as the work in it.
package bubble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/joinery/joinery/pkg/embedded"
	"github.com/nats-io/nats-server/v2/server/ats"
)

// Bubble is the world of one test.
type Bubble struct {
	Broker    *embedded.Broker
	Redis     *embedded.Redis
	Transport *Transport
	options   embedded.BrokerOptions
}

// Run runs fn in a bubble. Everything fn starts must have ended when it returns;
// the broker and the Redis are closed after it.
func Run(t *testing.T, fn func(t *testing.T, b *Bubble)) {
	t.Helper()
	dir := t.TempDir()
	// The server's clock is a ticker for the whole process: it must not be born
	// inside a bubble.
	ats.Register()
	defer ats.Unregister()
	defer emptyPools()
	emptyPools()
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		// The same clock judges the age of messages, so fake time must begin where
		// it stands: otherwise what is stored now looks decades old.
		<-time.After(time.Until(now))
		b := &Bubble{
			Redis: embedded.StartRedis(), Transport: &Transport{hosts: map[string]http.Handler{}},
			options: embedded.BrokerOptions{Dir: dir},
		}
		b.start(t)
		defer func() {
			b.Redis.Close()
			b.Broker.Close()
		}()
		fn(t, b)
	})
}

// emptyPools drops what libraries keep in pools for the whole process: nats.go
// keeps timers, and one that was made in another bubble ends this one. What a
// pool holds survives one collection, not two.
func emptyPools() {
	runtime.GC()
	runtime.GC()
}

func (b *Bubble) start(t *testing.T) {
	broker, err := embedded.StartBroker(b.options)
	if err != nil {
		t.Fatal(err)
	}
	b.Broker = broker
}

// RestartBroker stops the broker and starts it again on what it stored. Its
// clients must have been closed.
func (b *Bubble) RestartBroker(t *testing.T) {
	t.Helper()
	b.Broker.Close()
	b.start(t)
}

// Transport is an http.RoundTripper that calls handlers. A handler that panics
// with http.ErrAbortHandler loses its answer after having done its work.
type Transport struct {
	mu    sync.Mutex
	hosts map[string]http.Handler
}

// Handle routes a host to a handler.
func (tr *Transport) Handle(host string, h http.Handler) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.hosts[host] = h
}

// ErrLost: the connection ended before the answer.
var ErrLost = fmt.Errorf("connection lost before the answer: %w", io.ErrUnexpectedEOF)

// RoundTrip implements http.RoundTripper.
func (tr *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	tr.mu.Lock()
	h := tr.hosts[req.URL.Host]
	tr.mu.Unlock()
	if h == nil {
		return nil, fmt.Errorf("dial %s: no such host", req.URL.Host)
	}
	in, err := incoming(req)
	if err != nil {
		return nil, err
	}
	type result struct {
		res *http.Response
		err error
	}
	done := make(chan result, 1)
	go func() {
		res, err := serve(h, in) //nolint:bodyclose // it is the caller's to close
		done <- result{res, err}
	}()
	select {
	case r := <-done:
		if r.res != nil {
			r.res.Request = req
		}
		return r.res, r.err
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

// incoming is the request as a server would read it.
func incoming(req *http.Request) (*http.Request, error) {
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		_ = req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	in := req.Clone(context.WithoutCancel(req.Context()))
	in.RequestURI, in.Host, in.RemoteAddr = req.URL.RequestURI(), req.URL.Host, "127.0.0.1:1"
	in.Body, in.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return in, nil
}

func serve(h http.Handler, req *http.Request) (res *http.Response, err error) {
	rec := httptest.NewRecorder()
	defer func() {
		p := recover()
		if e, isError := p.(error); isError && errors.Is(e, http.ErrAbortHandler) {
			res, err = nil, ErrLost
		} else if p != nil {
			panic(p)
		}
	}()
	h.ServeHTTP(rec, req)
	return rec.Result(), nil
}
