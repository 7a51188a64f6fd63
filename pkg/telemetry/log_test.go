package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// said is what one call writes, without the time.
func said(t *testing.T, speak func(*slog.Logger)) map[string]any {
	t.Helper()
	var out bytes.Buffer
	speak(start(t, telemetry.Options{Log: &out, Level: slog.LevelDebug}).Log)
	all := lines(t, &out)
	if len(all) != 1 {
		t.Fatalf("%d lines, want 1:\n%s", len(all), out.String())
	}
	if _, err := time.Parse(time.RFC3339Nano, all[0]["time"].(string)); err != nil {
		t.Errorf("time: %v", err)
	}
	delete(all[0], "time")
	return all[0]
}

func TestALineIsOneObjectWithServiceAndTrace(t *testing.T) {
	var out bytes.Buffer
	tel := start(t, telemetry.Options{Service: "ingest", Instance: "ingest-1", Log: &out})
	ctx, span := tel.Tracer.Start(t.Context(), "work")
	tel.Log.With("target", "acme").WithGroup("answer").InfoContext(ctx, "sent", "status", 201,
		slog.Group("took", slog.Duration("wait", 1500*time.Microsecond)))
	got := lines(t, &out)[0]
	delete(got, "time")
	want := map[string]any{
		"level": "info", "message": "sent", "service": "ingest", "instance": "ingest-1", "target": "acme",
		"trace_id": span.SpanContext().TraceID().String(), "span_id": span.SpanContext().SpanID().String(),
		"answer.status": 201.0, "answer.took.wait": 1.5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}

func TestTheLevelCanChangeWhileRunning(t *testing.T) {
	var out bytes.Buffer
	var level slog.LevelVar
	tel := start(t, telemetry.Options{Log: &out, Level: &level})
	tel.Log.Debug("too quiet")
	level.Set(slog.LevelDebug)
	tel.Log.Debug("heard")
	level.Set(slog.LevelError)
	tel.Log.Warn("too quiet")
	got := lines(t, &out)
	if len(got) != 1 || got[0]["message"] != "heard" || got[0]["level"] != "debug" {
		t.Errorf("got %v", got)
	}
}

func TestSecretsAreReplacedByTheirNames(t *testing.T) {
	for _, name := range []string{
		"password", "Authorization", "api_key", "API-Key", "client_secret", "accessToken", "set-cookie",
		"email", "user_name", "userName", "name.givenName", "http.query", "payload",
	} {
		got := said(t, func(l *slog.Logger) { l.Info("m", name, "canary") })
		if got[name] != telemetry.Redacted {
			t.Errorf("%s: %v", name, got[name])
		}
	}
}

func TestSecretsInGroupsAndLoggersAreReplacedToo(t *testing.T) {
	got := said(t, func(l *slog.Logger) {
		l.With(slog.Group("auth", "token", "canary")).WithGroup("oauth.secret").Info("m", "value", "canary")
	})
	want := map[string]any{
		"level": "info", "message": "m", "auth.token": telemetry.Redacted, "oauth.secret.value": telemetry.Redacted,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}

func TestCountsAreShownWhateverTheirName(t *testing.T) {
	got := said(t, func(l *slog.Logger) {
		l.Info("m", "tokens", 3, "email_sent", true, "token_wait", 2*time.Millisecond, "secrets", uint8(4), "token_rate", float32(0.5))
	})
	want := map[string]any{
		"level": "info", "message": "m", "tokens": 3.0, "email_sent": true, "token_wait": 2.0, "secrets": 4.0, "token_rate": 0.5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}

type broken struct{ name *string }

func (b *broken) String() string { return *b.name }

type stringer struct{ name string }

func (s stringer) String() string { return "the " + s.name }

func TestOnlyPlainValuesAreShown(t *testing.T) {
	target := &url.URL{Scheme: "https", User: url.UserPassword("ann", "canary"), Host: "acme.example", Path: "/Users", RawQuery: "filter=canary"}
	rows := []struct {
		name string
		in   any
		want any
	}{
		{"a text", "plain", "plain"},
		{"a list of texts", []string{"userName", "Bearer canary-canary"}, []any{"userName", "Bearer [redacted]"}},
		{"a list of numbers", []int{1, 2}, []any{1.0, 2.0}},
		{"an error", fmt.Errorf("answer %d: %w", 409, errors.New("uniqueness")), "answer 409: uniqueness"},
		{"an error that quotes a header", errors.New("sent authorization: bearer canary-canary-1"), "sent authorization: bearer [redacted]"},
		{"an error that quotes an address", errors.New("dial nats://svc:canary@nats:4222: refused"), "dial nats://[redacted]@nats:4222: refused"},
		{"words that only look like credentials", "basic rule, bearer of news", "basic rule, bearer of news"},
		{"a type with a text of its own", stringer{"lane"}, "the lane"},
		{"a text that panics", (*broken)(nil), "[unprintable]"},
		{"a struct", struct{ Email string }{"canary"}, "[struct { Email string }]"},
		{"a map", map[string]string{"email": "canary"}, "[map[string]string]"},
		{"bytes", []byte("canary"), "[[]uint8]"},
		{"a message", message.NewMessage("1", []byte("canary")), "[*message.Message]"},
		{"a protobuf message", &joineryv1.ProvisioningCommand{Identity: "canary"}, "[*joineryv1.ProvisioningCommand]"},
		{"a URL without who asks for what", target, "https://acme.example/Users"},
		{"a text in another order than it has", "abc\u202Etxt.exe", "abc\uFFFDtxt.exe"},
		{"a text with line ends", "one\r\n{\"level\":\"error\"}", "one\r\n{\"level\":\"error\"}"},
		{"nothing", nil, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := said(t, func(l *slog.Logger) { l.Info("m", "value", row.in) })
			if diff := cmp.Diff(row.want, got["value"]); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
		})
	}
}

func TestALongTextIsCutAtACharacter(t *testing.T) {
	got := said(t, func(l *slog.Logger) { l.Info("m", "value", strings.Repeat("ä", 10_000)) })["value"].(string)
	if len(got) > 9000 || !strings.HasSuffix(got, "ä[cut]") {
		t.Errorf("%d bytes, ends with %q", len(got), got[len(got)-10:])
	}
}

func TestManyGoroutinesDoNotMixTheirLines(t *testing.T) {
	var out bytes.Buffer
	tel := start(t, telemetry.Options{Log: &out})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 100 {
				tel.Log.Info("m", "i", i)
			}
		})
	}
	wg.Wait()
	if got := len(lines(t, &out)); got != 800 {
		t.Errorf("%d lines, want 800", got)
	}
}

func TestWatermillCannotSayMessages(t *testing.T) {
	msg := message.NewMessage("4711", []byte("canary"))
	msg.Metadata.Set("email", "canary")
	var out bytes.Buffer
	log := telemetry.Watermill(start(t, telemetry.Options{Log: &out, Level: slog.LevelDebug - 8}).Log)
	fields := watermill.LogFields{
		"not_sent_message": fmt.Sprintf("%#v", []*message.Message{msg}), "messages": message.Messages{msg},
		"msg": msg, "metadata": msg.Metadata, "payload": msg.Payload, "topic": "commands", "message_uuid": "4711",
	}
	log = log.With(fields)
	log.Error("Cannot publish messages", errors.New("no answer"), fields)
	log.Info("Adding handler", fields)
	log.Debug("Adding middleware", fields)
	log.Trace("Sending produced messages", fields)
	if strings.Contains(out.String(), "canary") {
		t.Errorf("a message was written:\n%s", out.String())
	}
	got := lines(t, &out)
	for _, line := range got {
		delete(line, "time")
	}
	base := map[string]any{"message": "watermill", "topic": "commands", "message_uuid": "4711"}
	with := func(more map[string]any) map[string]any {
		for k, v := range base {
			more[k] = v
		}
		return more
	}
	want := []map[string]any{
		with(map[string]any{"level": "warn", "said": "Cannot publish messages", "error": "no answer"}),
		with(map[string]any{"level": "debug", "said": "Adding handler"}),
		with(map[string]any{"level": "debug", "said": "Adding middleware"}),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func FuzzEveryLineIsOneObject(f *testing.F) {
	f.Add("m", "key", "value")
	f.Add("a\nb", "token", "\x00\xff\u2028")
	f.Add("Bearer abcdefghijk", "", "://u:p@h")
	f.Fuzz(func(t *testing.T, msg, key, value string) {
		var out bytes.Buffer
		tel, err := telemetry.New(t.Context(), telemetry.Options{Log: &out})
		if err != nil {
			t.Fatal(err)
		}
		tel.Log.With(key, value).WithGroup(key).Info(msg, key, value, "error", errors.New(value))
		if n := bytes.Count(out.Bytes(), []byte("\n")); n != 1 || !json.Valid(out.Bytes()) {
			t.Errorf("%d lines, valid %v: %q", n, json.Valid(out.Bytes()), out.String())
		}
	})
}
