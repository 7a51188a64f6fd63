package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// minVersion is the oldest nats-server that keeps its word: earlier ones lose
// acknowledged messages at a power cut even with sync_interval: always.
func minVersion() [3]int { return [3]int{2, 15, 2} }

// howToRelax ends every refusal: what to do where durability is not wanted.
const howToRelax = "; or, where losing events is acceptable, set broker.durability: relaxed"

// CheckDurability tells whether an acknowledged publish is on disk: nats-server
// 2.15.2 or newer, with sync_interval: always, on every server of MonitorURL.
// The error says what to do.
func (c *Conn) CheckDurability(ctx context.Context) error {
	if err := checkVersion("the broker", c.nc.ConnectedServerVersion()); err != nil {
		return err
	}
	if c.options.Durable != nil {
		return c.options.Durable()
	}
	if c.options.MonitorURL == "" {
		return errors.New("cannot verify that the broker syncs every write to disk: start nats-server with " +
			"`http: 127.0.0.1:8222` and set broker.monitor_url to that address" + howToRelax)
	}
	for monitor := range strings.SplitSeq(c.options.MonitorURL, ",") {
		if err := checkServer(ctx, strings.TrimSpace(monitor)); err != nil {
			return err
		}
	}
	return nil
}

func checkVersion(who, version string) error {
	if newEnough(version) {
		return nil
	}
	least := minVersion()
	return fmt.Errorf("%s is nats-server %s, which may lose acknowledged messages at a power cut: "+
		"run nats-server %d.%d.%d or newer%s", who, version, least[0], least[1], least[2], howToRelax)
}

func newEnough(version string) bool {
	version, _, _ = strings.Cut(version, "-")
	parts := strings.SplitN(version, ".", 3)
	for i, least := range minVersion() {
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

// varz is what a nats-server's monitoring endpoint says of itself, as far as it
// matters here (nats-server server/monitor.go, Varz).
type varz struct {
	Version   string `json:"version"`
	JetStream struct {
		Config *struct {
			SyncAlways bool `json:"sync_always"`
		} `json:"config"`
	} `json:"jetstream"`
}

// maxVarz bounds the answer of a monitoring endpoint; a real one is about 5 KiB.
const maxVarz = 1 << 20

func checkServer(ctx context.Context, monitor string) error {
	about, err := ask(ctx, monitor)
	if err != nil {
		return fmt.Errorf("cannot verify that the broker syncs every write to disk: ask broker.monitor_url: %w%s", err, howToRelax)
	}
	if err := checkVersion(monitor, about.Version); err != nil {
		return err
	}
	if about.JetStream.Config == nil {
		return fmt.Errorf("the nats-server at %s has no JetStream: add a jetstream block to its configuration", monitor)
	}
	if !about.JetStream.Config.SyncAlways {
		return fmt.Errorf("the nats-server at %s acknowledges messages before they are on disk: "+
			"set `sync_interval: always` in its jetstream block%s", monitor, howToRelax)
	}
	return nil
}

func ask(ctx context.Context, monitor string) (varz, error) {
	var about varz
	ctx, cancel := bounded(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(monitor, "/")+"/varz", nil)
	if err != nil {
		return about, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return about, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return about, fmt.Errorf("%s answered %s", monitor, res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxVarz)).Decode(&about); err != nil {
		return about, fmt.Errorf("read the answer of %s: %w", monitor, err)
	}
	return about, nil
}
