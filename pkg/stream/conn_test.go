package stream_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats-server/v2/server"
)

func TestWaitingForABrokerEndsWithItsContext(t *testing.T) {
	o := stream.Options{URL: "nats://127.0.0.1:1", Name: "test"}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := stream.Dial(ctx, o); !errors.Is(err, stream.ErrUnavailable) {
		t.Errorf("says %v", err)
	}
}

func TestBrokerThatComesLaterIsWaitedFor(t *testing.T) {
	first := startServer(t, &server.Options{JetStream: true})
	address := first.Addr().String()
	first.Shutdown()
	first.WaitForShutdown()
	dialed := make(chan error, 1)
	go func() {
		conn, err := stream.Dial(t.Context(), stream.Options{URL: "nats://" + address, Name: "test"})
		if err == nil {
			err = conn.Drain(t.Context())
		}
		dialed <- err
	}()
	o := &server.Options{JetStream: true}
	_, port, err := net.SplitHostPort(address)
	must(t, err)
	o.Port, err = strconv.Atoi(port)
	must(t, err)
	startServer(t, o)
	must(t, <-dialed)
}

func TestWhatWaitingDoesNotMendIsAnErrorAtOnce(t *testing.T) {
	locked := startServer(t, &server.Options{Username: "joinery", Password: "secret"})
	for name, o := range map[string]stream.Options{
		"no password":           {URL: locked.ClientURL()},
		"an impossible address": {URL: "nats://%zz"},
		"no credentials file":   {URL: locked.ClientURL(), Credentials: t.TempDir() + "/none.creds"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := stream.Dial(ctx, o)
		if err == nil || errors.Is(err, stream.ErrUnavailable) || ctx.Err() != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

func TestClientKeepsToItsOwnInbox(t *testing.T) {
	s := startServer(t, &server.Options{JetStream: true, Users: []*server.User{{
		Username: "mapper", Password: "p", Permissions: &server.Permissions{
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_mapper.>"}},
		},
	}}})
	o := s.options()
	o.URL = strings.Replace(o.URL, "nats://", "nats://mapper:p@", 1)
	o.InboxPrefix = "_INBOX_mapper"
	conn, err := stream.Dial(t.Context(), o)
	must(t, err)
	defer conn.Close()
	must(t, conn.Apply(t.Context(), stream.Design(nil, 1)))
	must(t, conn.Ready(t.Context()))
}
