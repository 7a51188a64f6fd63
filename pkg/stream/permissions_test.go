package stream_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

func TestASourceMayPublishInItsOwnNameAndNothingElse(t *testing.T) {
	t.Setenv("JOINERY_NATS_PASSWORD", "ours")
	t.Setenv("NATS_PASSWORD_HR", "theirs")
	t.Setenv("NATS_PASSWORD_PAY_ROLL", "others")
	path := filepath.Join(t.TempDir(), "nats.conf")
	must(t, os.WriteFile(path, []byte("jetstream: enabled\n"+stream.Permissions([]string{"hr", "pay-roll"})), 0o600))
	options, err := server.ProcessConfigFile(path)
	must(t, err)
	broker := startServer(t, options)
	as := func(user, password, inbox string) *stream.Conn {
		conn, err := stream.Dial(t.Context(), stream.Options{
			URL: "nats://" + user + ":" + password + "@" + broker.Addr().String(), Name: user, InboxPrefix: inbox,
		})
		must(t, err)
		t.Cleanup(conn.Close)
		return conn
	}
	services := as("joinery", "ours", "")
	must(t, services.Apply(t.Context(), stream.Design([]string{"acme"}, 1)))
	hr := as("hr", "theirs", stream.IntakeInbox("hr"))
	if err := hr.Publisher().Publish(stream.IntakeSubject("hr"), message.NewMessage("e1", []byte("{}"))); err != nil {
		t.Error("its own subject:", err)
	}
	if _, err := services.Last(t.Context(), stream.Intake, "joinery.intake.hr"); err != nil {
		t.Error(err)
	}

	forbidden := make(chan error, 8)
	nc, err := nats.Connect(broker.ClientURL(), nats.UserInfo("hr", "theirs"), nats.CustomInboxPrefix(stream.IntakeInbox("hr")),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { forbidden <- err }))
	must(t, err)
	defer nc.Close()
	refused := func(what string) {
		t.Helper()
		select {
		case err := <-forbidden:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Error(what, err)
			}
		case <-time.After(5 * time.Second):
			t.Error("allowed:", what)
		}
	}
	for _, subject := range []string{
		"joinery.intake.pay-roll", "joinery.lifecycle.hr.x.y", "joinery.command.acme.urgent.x", "$JS.API.STREAM.DELETE.LIFECYCLE",
		"$JS.ACK.LIFECYCLE.mapper.1.1.1.1.0", "$KV.ACCOUNTS.acme.x",
	} {
		must(t, nc.Publish(subject, []byte("x")))
		refused("publish " + subject)
	}
	for _, subject := range []string{"_INBOX.>", "joinery.>", "_INBOX_pay-roll.>"} {
		_, err := nc.SubscribeSync(subject)
		must(t, err)
		must(t, nc.Flush())
		refused("subscribe " + subject)
	}
}
