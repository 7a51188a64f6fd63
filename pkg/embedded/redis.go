package embedded

import (
	"context"
	"net"

	"github.com/alicebob/miniredis/v2"
	"github.com/joinery/joinery/pkg/redisrate"
)

// Redis is a Redis inside the process. It caps near 5,000 calls a second.
type Redis struct{ mini *miniredis.Miniredis }

// StartRedis starts a Redis that is reached through Dial only.
func StartRedis() *Redis { return &Redis{mini: miniredis.NewMiniRedis()} }

// Options are the connection options of a limiter over the Redis. The address is
// an IP so that nobody resolves it; Dial does not look at it.
func (r *Redis) Options() redisrate.Options {
	return redisrate.Options{Addr: "127.0.0.1:6379", Dialer: r.Dial}
}

// Dial gives a connection to the Redis, whatever the address.
func (r *Redis) Dial(context.Context, string, string) (net.Conn, error) { return r.mini.Dial() }

// Flush empties the Redis, as a restart without persistence would.
func (r *Redis) Flush() { r.mini.FlushAll() }

// Close stops the Redis.
func (r *Redis) Close() { r.mini.Close() }
