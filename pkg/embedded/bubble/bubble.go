// Package bubble runs a test on fake time with the real parts inside: a
// JetStream server on disk, a Redis implementation, and HTTP without sockets.
// An hour of outage takes as long as the work in it.
package bubble

import (
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/joinery/joinery/pkg/embedded"
	"github.com/nats-io/nats-server/v2/server/ats"
)

// Bubble is the world of one test.
type Bubble struct {
	Broker *embedded.Broker
	Redis  *embedded.Redis
	// Transport reaches the handlers that the test gave a host name.
	Transport *Transport
}

// Run runs fn in a bubble. Everything fn starts must have ended when it returns;
// the broker and the Redis are closed after it. Bubbles must not run in
// parallel, nor beside a test that uses the broker.
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
		broker, err := embedded.StartBroker(embedded.BrokerOptions{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer broker.Close()
		redis := embedded.StartRedis()
		defer redis.Close()
		fn(t, &Bubble{
			Broker: broker, Redis: redis, Transport: &Transport{base: t.Context(), hosts: map[string]http.Handler{}},
		})
	})
}

// emptyPools drops what libraries keep in pools for the whole process: nats.go
// keeps timers, and one that was made in another bubble ends this one. What a
// pool holds survives one collection, not two.
func emptyPools() {
	runtime.GC()
	runtime.GC()
}

// RestartBroker stops the broker and starts it again on what it stored. Clients
// reconnect.
func (b *Bubble) RestartBroker(t *testing.T) {
	t.Helper()
	b.Broker.Stop()
	if err := b.Broker.Start(); err != nil {
		t.Fatal(err)
	}
}
