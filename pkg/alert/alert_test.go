package alert_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/alert"
)

type receiver func(*http.Request) (*http.Response, error)

func (r receiver) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

func status(code int) *http.Response {
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(""))}
}

func fixed(s string) func() (string, error) { return func() (string, error) { return s, nil } }

// ring runs a bell on fake time until it has nothing left to do.
func ring(t *testing.T, answer receiver, receivers []alert.Receiver, raise func(b *alert.Bell)) (log string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := alert.New(slog.New(slog.NewTextHandler(&out, nil)), answer)
		b.Configure(receivers)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		raise(b)
		time.Sleep(time.Hour)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		log = out.String()
	})
	return log
}

func TestAnAlertIsPostedSignedToEveryReceiver(t *testing.T) {
	var got []string
	answer := receiver(func(req *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(req.Body)
		id, stamp := req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp")
		signed := req.Header.Get("webhook-signature") == alert.Sign("whsec_c2VjcmV0", id, stamp, body)
		got = append(got, req.URL.Host+" "+string(body))
		if signed != (req.URL.Host == "pager.example") {
			t.Error(req.URL.Host, "signed:", signed)
		}
		return status(204), nil
	})
	receivers := []alert.Receiver{
		{URL: fixed("https://pager.example/x"), Secret: fixed("whsec_c2VjcmV0")},
		{URL: fixed("https://chat.example/y")},
	}
	ring(t, answer, receivers, func(b *alert.Bell) {
		b.Raise(t.Context(), alert.Quarantined, "acme", "acme answers 401")
	})
	body := `{"type":"target.quarantined","subject":"acme","summary":"acme answers 401","timestamp":"2000-01-01T00:00:00Z"}`
	if diff := cmp.Diff([]string{"pager.example " + body, "chat.example " + body}, got); diff != "" {
		t.Error(diff)
	}
}

// The vector of the Standard Webhooks specification's reference implementations.
func TestTheSignatureIsTheStandardOne(t *testing.T) {
	got := alert.Sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTheSameAlertIsSentOnceInAWhile(t *testing.T) {
	n := 0
	answer := receiver(func(*http.Request) (*http.Response, error) { n++; return status(200), nil })
	ring(t, answer, []alert.Receiver{{URL: fixed("https://pager.example")}}, func(b *alert.Bell) {
		for range 3 {
			b.Raise(t.Context(), alert.Quarantined, "acme", "again")
			b.Raise(t.Context(), alert.Quarantined, "globex", "another")
		}
		time.Sleep(alert.Quiet)
		b.Raise(t.Context(), alert.Quarantined, "acme", "later")
	})
	if n != 3 {
		t.Errorf("%d alerts", n)
	}
}

func TestAReceiverThatIsAwayIsTriedAgainAndItsAddressIsNotLogged(t *testing.T) {
	n := 0
	answer := receiver(func(*http.Request) (*http.Response, error) { n++; return status(500), nil })
	log := ring(t, answer, []alert.Receiver{{URL: fixed("https://hooks.example/secret-path")}}, func(b *alert.Bell) {
		b.Raise(t.Context(), alert.Held, "batch", "50 leavers")
	})
	if n != 4 || !strings.Contains(log, "alert not delivered") || strings.Contains(log, "secret-path") {
		t.Error(n, log)
	}
}

func TestAFloodOfAlertsNeverBlocks(t *testing.T) {
	slow := receiver(func(*http.Request) (*http.Response, error) { time.Sleep(time.Second); return status(200), nil })
	log := ring(t, slow, []alert.Receiver{{URL: fixed("https://pager.example")}}, func(b *alert.Bell) {
		for i := range 1000 {
			b.Raise(t.Context(), alert.Held, strings.Repeat("x", i), "")
		}
	})
	if !strings.Contains(log, "too many wait") {
		t.Error("nothing was dropped")
	}
}
