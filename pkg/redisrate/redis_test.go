package redisrate_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/joinery/joinery/pkg/rate"
	"github.com/joinery/joinery/pkg/redisrate"
)

// network is the way to an embedded Redis, which can be cut.
type network struct {
	redis *miniredis.Miniredis

	mu    sync.Mutex
	cut   bool
	hangs bool
	conns []net.Conn
	calls int
}

func newNetwork(t *testing.T) *network {
	n := &network{redis: miniredis.NewMiniRedis()}
	t.Cleanup(n.redis.Close)
	return n
}

var errCut = errors.New("the network is cut")

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	cut, hangs := n.cut, n.hangs
	n.mu.Unlock()
	switch {
	case hangs:
		<-ctx.Done()
		return nil, ctx.Err()
	case cut:
		return nil, errCut
	}
	conn, err := n.redis.Dial()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, conn)
	return &counted{Conn: conn, network: n}, nil
}

// set cuts or mends the network; hanging, it swallows what is sent.
func (n *network) set(cut, hangs bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut, n.hangs = cut, hangs
	if !cut {
		return
	}
	for _, c := range n.conns {
		_ = c.Close()
	}
	n.conns = nil
}

func (n *network) sent() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls
}

// counted counts the requests of a connection: go-redis writes each at once.
type counted struct {
	net.Conn
	network *network
}

func (c *counted) Write(b []byte) (int, error) {
	c.network.mu.Lock()
	c.network.calls++
	c.network.mu.Unlock()
	return c.Conn.Write(b)
}

// open is a limiter on the network, with limits for target acme.
func open(t *testing.T, n *network, o redisrate.Options, limits ...rate.Window) *redisrate.Limiter {
	t.Helper()
	o.Dialer = n.dial
	l, err := redisrate.New(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := l.Configure("acme", limits); err != nil {
		t.Fatalf("configure: %v", err)
	}
	return l
}
