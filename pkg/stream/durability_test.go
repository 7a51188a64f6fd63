package stream_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/embedded"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats-server/v2/server"
)

func TestBrokerThatSyncsAlwaysIsTrusted(t *testing.T) {
	first := startServer(t, &server.Options{JetStream: true, SyncAlways: true})
	second := startServer(t, &server.Options{JetStream: true, SyncAlways: true})
	o := first.options()
	o.MonitorURL = first.monitor() + "/, " + second.monitor()
	conn, err := stream.Dial(t.Context(), o)
	must(t, err)
	defer conn.Close()
	must(t, conn.CheckDurability(t.Context()))
	must(t, open(t).conn.CheckDurability(t.Context()))
}

func TestBrokerThatCannotBeTrustedIsRefusedWithWhatToDo(t *testing.T) {
	lazy := startServer(t, &server.Options{JetStream: true})
	always := startServer(t, &server.Options{JetStream: true, SyncAlways: true})
	none := startServer(t, &server.Options{})
	fake := func(status int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	for _, row := range []struct {
		name, monitor, says string
	}{
		{"no address to ask", "", "set broker.monitor_url"},
		{"nobody answers", "http://127.0.0.1:1", "ask broker.monitor_url"},
		{"not an address", "http://bad host", "ask broker.monitor_url"},
		{"not a nats-server", fake(404, ""), "404"},
		{"an answer that is not JSON", fake(200, "<html>"), "read the answer"},
		{"syncs every two minutes", lazy.monitor(), "set `sync_interval: always`"},
		{"one of two does", always.monitor() + "," + lazy.monitor(), lazy.monitor()},
		{"no JetStream", none.monitor(), "add a jetstream block"},
		{"an old server in the cluster", fake(200, `{"version":"2.14.6","jetstream":{"config":{"sync_always":true}}}`), "nats-server 2.14.6"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := always.options()
			o.MonitorURL = row.monitor
			conn, err := stream.Dial(t.Context(), o)
			must(t, err)
			defer conn.Close()
			if err := conn.CheckDurability(t.Context()); err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("says %v", err)
			}
		})
	}
}

func TestEmbeddedBrokerThatDoesNotSyncSaysSo(t *testing.T) {
	b, err := embedded.StartBroker(embedded.BrokerOptions{Dir: t.TempDir(), SyncInterval: time.Minute})
	must(t, err)
	defer b.Close()
	w := connect(t, b)
	defer w.close()
	if err := w.conn.CheckDurability(t.Context()); err == nil {
		t.Error("trusted")
	}
}

func TestOldServersAreNotNewEnough(t *testing.T) {
	for version, want := range map[string]bool{
		"2.15.2": true, "2.15.3": true, "2.16.0": true, "3.0.0": true, "2.15.2-RC.1": true, "2.100.0": true,
		"2.15.1": false, "2.14.9": false, "1.99.99": false, "2.15": false, "": false, "dev": false, "2.15.x": false,
	} {
		if got := stream.NewEnough(version); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}
