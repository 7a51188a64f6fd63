package redisrate_test

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/joinery/joinery/pkg/rate"
	"github.com/joinery/joinery/pkg/rate/ratetest"
	"github.com/joinery/joinery/pkg/redisrate"
	"github.com/redis/go-redis/v9"
)

func TestTheLimiterOnRedisPassesTheSuite(t *testing.T) {
	ratetest.Suite{
		Open: func(t *testing.T) func() ratetest.Limiter {
			n := newNetwork(t)
			return func() ratetest.Limiter { return open(t, n, redisrate.Options{}) }
		},
		Within:  synctest.Test,
		Minutes: true,
	}.Run(t)
}

func TestTheLimiterInMemoryPassesTheSuite(t *testing.T) {
	ratetest.Suite{
		Open: func(t *testing.T) func() ratetest.Limiter {
			l := redisrate.NewLocal(redisrate.Options{Replicas: 7})
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			return func() ratetest.Limiter { return l }
		},
		Within:  synctest.Test,
		Minutes: true,
	}.Run(t)
}

// realRedis names a real Redis, host:port, for the live suite.
const realRedis = "JOINERY_TEST_REDIS"

func TestTheLimiterPassesTheSuiteOnARealRedisAndRealTime(t *testing.T) {
	addr := os.Getenv(realRedis)
	if addr == "" {
		t.Skip("runs in the live suite, with " + realRedis)
	}
	ratetest.Suite{
		Open: func(t *testing.T) func() ratetest.Limiter {
			empty(t, addr)
			return func() ratetest.Limiter {
				l, err := redisrate.New(redisrate.Options{Addr: addr})
				if err != nil {
					t.Fatalf("open: %v", err)
				}
				t.Cleanup(func() { _ = l.Close() })
				return l
			}
		},
		Within: func(t *testing.T, test func(*testing.T)) { test(t) },
		Late:   100 * time.Millisecond,
	}.Run(t)
}

// The cache of scripts and the data are lost again and again, under load.
func TestARealRedisThatForgetsNeverAllowsMore(t *testing.T) {
	addr := os.Getenv(realRedis)
	if addr == "" {
		t.Skip("runs in the live suite, with " + realRedis)
	}
	empty(t, addr)
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = client.Close() }()
	j, w := newJournal(), rate.Window{Requests: 50, Per: time.Second}
	ctx, cancel := context.WithCancel(t.Context())
	var limiters []*redisrate.Limiter
	for range 4 {
		o := j.options(4)
		o.Addr = addr
		l, err := redisrate.New(o)
		if err != nil {
			t.Fatal(err)
		}
		limiters = append(limiters, l)
		if err := l.Configure("acme", rate.Limits{w}); err != nil {
			t.Fatal(err)
		}
		load(ctx, l, rate.Normal, 2)
	}
	for i := range 12 {
		<-time.After(300 * time.Millisecond)
		forget := client.FlushAll
		if i%2 == 1 {
			forget = client.ScriptFlush
		}
		if err := forget(ctx).Err(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	for _, l := range limiters {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	j.never(t, w)
	if got := j.between(0, time.Hour); got < 100 || len(j.alarms) != 0 {
		t.Errorf("%d requests in 3.6 s, alarms %v", got, j.alarms)
	}
}

func empty(t *testing.T, addr string) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = client.Close() }()
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatalf("empty the Redis: %v", err)
	}
}
