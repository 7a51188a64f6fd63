package redisrate

import (
	"context"
	"net"
	"time"
)

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// quiet turns a failure to connect into a connection that fails at its first use.
// The callers see the same error, but go-redis, which writes failures to connect
// to stderr past every log, sees none. It also bounds the time, which go-redis
// leaves to the dialer.
func quiet(dial dialer, timeout time.Duration) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return unconnected{err}, nil
		}
		return conn, nil
	}
}

// unconnected is a connection that failed before it began.
type unconnected struct{ err error }

func (u unconnected) Read([]byte) (int, error)       { return 0, u.err }
func (u unconnected) Write([]byte) (int, error)      { return 0, u.err }
func (unconnected) Close() error                     { return nil }
func (unconnected) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (unconnected) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (unconnected) SetDeadline(time.Time) error      { return nil }
func (unconnected) SetReadDeadline(time.Time) error  { return nil }
func (unconnected) SetWriteDeadline(time.Time) error { return nil }
