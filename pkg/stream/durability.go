package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The oldest nats-server that keeps its word: earlier ones lose acknowledged
// messages at a power cut even with sync_interval: always.
const (
	minMajor = 2
	minMinor = 15
	minPatch = 2
)

// CheckDurability tells whether an acknowledged publish is on disk: nats-server
// 2.15.2 or newer, with sync_interval: always. The error says what to do.
func (c *Conn) CheckDurability(ctx context.Context) error {
	if version := c.nc.ConnectedServerVersion(); !newEnough(version) {
		return fmt.Errorf("nats-server %s may lose acknowledged messages at a power cut: "+
			"run nats-server %d.%d.%d or newer, or set broker.durability: relaxed", version, minMajor, minMinor, minPatch)
	}
	if c.options.Durable != nil {
		return c.options.Durable()
	}
	if c.options.MonitorURL == "" {
		return fmt.Errorf("cannot verify that the broker syncs every write: set broker.monitor_url to the server's " +
			"monitoring address (http://...:8222), or set broker.durability: relaxed")
	}
	return syncsAlways(ctx, c.options.MonitorURL)
}

func newEnough(version string) bool {
	version, _, _ = strings.Cut(version, "-")
	parts := strings.SplitN(version, ".", 3)
	for i, least := range []int{minMajor, minMinor, minPatch} {
		if i >= len(parts) {
			return false
		}
		n, err := strconv.Atoi(parts[i])
		if err != nil || n < least {
			return false
		}
		if n > least {
			return true
		}
	}
	return true
}

// syncsAlways asks the monitoring endpoint of a server.
func syncsAlways(ctx context.Context, monitor string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(monitor, "/")+"/jsz?config=true", nil)
	if err != nil {
		return fmt.Errorf("broker.monitor_url: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the broker's monitoring endpoint: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	var jsz struct {
		Config struct {
			SyncAlways bool `json:"sync_always"`
		} `json:"config"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&jsz); err != nil {
		return fmt.Errorf("read the broker's monitoring answer: %w", err)
	}
	if !jsz.Config.SyncAlways {
		return fmt.Errorf("the broker acknowledges messages before they are on disk: set `sync_interval: always` in its " +
			"jetstream block, or set broker.durability: relaxed")
	}
	return nil
}
