package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats-server/v2/server"
)

// startCluster is three servers that keep three copies.
func startCluster(t *testing.T) []remote {
	t.Helper()
	var servers []remote
	var ports []int
	var routes []*url.URL
	for range 3 {
		port := freePort(t)
		ports = append(ports, port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))})
	}
	for i, port := range ports {
		servers = append(servers, launch(t, &server.Options{
			ServerName: fmt.Sprint("n", i), JetStream: true, SyncAlways: true, Routes: routes,
			Cluster: server.ClusterOpts{Name: "joinery", Host: "127.0.0.1", Port: port},
		}))
	}
	for _, s := range servers {
		s.await(t)
	}
	return servers
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, l.Close()) }()
	return l.Addr().(*net.TCPAddr).Port
}

// eventually asks again until the cluster has agreed on who leads.
func eventually(t *testing.T, what func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		err := what()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// Three copies on three servers: what is one code on one server is another here,
// and a leader that dies takes nothing along.
func TestClusterKeepsItsPromisesWhenALeaderDies(t *testing.T) {
	t.Parallel()
	servers := startCluster(t)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.ClientURL())
	}
	conn, err := stream.Dial(t.Context(), stream.Options{URL: strings.Join(urls, ","), Name: "test", Replicas: 3, Log: logTo(t)})
	must(t, err)
	defer conn.Close()
	eventually(t, func() error { return conn.Ready(t.Context()) })
	design := stream.Design([]string{"acme"}, 3)
	eventually(t, func() error { return conn.Apply(t.Context(), design) })
	found, err := conn.Compare(t.Context(), design)
	if err != nil || len(found) != 0 {
		t.Errorf("not as designed: %v, %v", found, err)
	}
	p := conn.Publisher()
	publish := func(id string, wantDuplicate bool) {
		t.Helper()
		eventually(t, func() error {
			duplicate, err := p.PublishNew("joinery.lifecycle.hr.p."+id, message.NewMessage(id+"-again", nil))
			if err == nil && wantDuplicate && !duplicate {
				t.Errorf("%s was not there", id)
			}
			return err
		})
	}
	must(t, p.PublishBatch(t.Context(), items("joinery.lifecycle.hr.p.", 50)))
	publish("e0049", true)
	if err := p.PublishBatch(t.Context(), items("joinery.lifecycle.hr.p.", 51)); !errors.Is(err, stream.ErrConflict) {
		t.Errorf("batch of what is there: %v", err)
	}
	bucket, err := stream.OpenBucket[person](t.Context(), conn, stream.Identities)
	must(t, err)
	rev, err := bucket.Put(t.Context(), "ann", person{Name: "1"}, 0)
	must(t, err)
	for _, stale := range []uint64{0, rev + 1} {
		if _, err := bucket.Put(t.Context(), "ann", person{}, stale); !errors.Is(err, stream.ErrConflict) {
			t.Errorf("put at %d: %v", stale, err)
		}
	}

	sub := conn.Subscriber(stream.SubscriberOptions{Stream: stream.Lifecycle, Durable: "mapper", Concurrency: 4, CloseTimeout: time.Second})
	messages, err := sub.Subscribe(t.Context(), "")
	must(t, err)
	seen := map[string]bool{}
	handle := func(n int) {
		t.Helper()
		for len(seen) < n {
			select {
			case msg := <-messages:
				seen[stream.DeliveryOf(msg).Subject] = true
				msg.Ack()
			case <-time.After(40 * time.Second):
				t.Fatalf("%d of %d came", len(seen), n)
			}
		}
	}
	handle(20)
	leader := slices.IndexFunc(servers, func(s remote) bool {
		return s.JetStreamIsStreamLeader("$G", stream.Lifecycle)
	})
	if leader < 0 {
		t.Fatal("nobody leads")
	}
	servers[leader].Shutdown()
	servers[leader].WaitForShutdown()
	for i := 50; i < 60; i++ {
		publish(fmt.Sprintf("e%04d", i), false)
	}
	publish("e0000", true)
	handle(60)
	must(t, sub.Ready(t.Context()))
	eventually(t, func() error {
		_, err := bucket.Put(t.Context(), "ann", person{Name: "2"}, rev)
		if errors.Is(err, stream.ErrConflict) { // an answer was lost: it may have been ours
			return nil
		}
		return err
	})
	must(t, sub.Close())
}
