package bubble_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/embedded/bubble"
)

// serving runs fn with a client whose transport reaches h as acme.example.
func serving(t *testing.T, h http.HandlerFunc, fn func(t *testing.T, client *http.Client)) {
	t.Helper()
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		b.Transport.Handle("acme.example", h)
		b.Transport.Handle("down.example", nil)
		fn(t, &http.Client{Transport: b.Transport})
	})
}

type contextKey struct{}

func TestServerSeesTheRequestAsOverAWire(t *testing.T) {
	type seen struct {
		Method, URI, Host, Body, Auth, Agent string
		Length                               int64
		Repeated                             []string
		Leaked                               any
	}
	var got seen
	serving(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = seen{
			r.Method, r.RequestURI, r.Host, string(body), r.Header.Get("Authorization"), r.UserAgent(),
			r.ContentLength, r.Header.Values("X-Repeated"), r.Context().Value(contextKey{}),
		}
		r.Header.Set("Authorization", "changed")
	}, func(t *testing.T, client *http.Client) {
		ctx := context.WithValue(t.Context(), contextKey{}, "of the client")
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://acme.example/scim/v2/Users/a%2Fb?x=1&y", strings.NewReader(`{"a":1}`))
		must(t, err)
		req.Header.Set("Authorization", "Bearer t")
		req.Header["X-Repeated"] = []string{"1", "2"}
		res, err := client.Do(req)
		must(t, err)
		must(t, res.Body.Close())
		if req.Header.Get("Authorization") != "Bearer t" {
			t.Error("the server changed the client's request")
		}
	})
	want := seen{
		"PUT", "/scim/v2/Users/a%2Fb?x=1&y", "acme.example", `{"a":1}`, "Bearer t", "Go-http-client/1.1", 7, []string{"1", "2"}, nil,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestClientSeesTheAnswerAsOverAWire(t *testing.T) {
	for _, row := range []struct {
		name, method string
		handler      http.HandlerFunc
		status       int
		body         string
		length       int64
	}{
		{"created", "POST", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "made")
		}, 201, "made", 4},
		{"nothing said", "GET", func(http.ResponseWriter, *http.Request) {}, 200, "", 0},
		{"no content", "DELETE", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, 204, "", 0},
		{"head", "HEAD", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "unseen") }, 200, "", 6},
		{"large", "GET", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), 1<<16)) }, 200, strings.Repeat("x", 1<<16), 1 << 16},
	} {
		t.Run(row.name, func(t *testing.T) {
			serving(t, row.handler, func(t *testing.T, client *http.Client) {
				req, err := http.NewRequestWithContext(t.Context(), row.method, "https://acme.example/", nil)
				must(t, err)
				res, err := client.Do(req)
				must(t, err)
				body, err := io.ReadAll(res.Body)
				must(t, err)
				must(t, res.Body.Close())
				if res.StatusCode != row.status || string(body) != row.body || res.ContentLength != row.length || res.Request != req {
					t.Errorf("%d, %d bytes of %d", res.StatusCode, len(body), res.ContentLength)
				}
				date, err := http.ParseTime(res.Header.Get("Date"))
				if err != nil || time.Since(date).Abs() > time.Second {
					t.Errorf("dated %v, %v", date, err)
				}
			})
		})
	}
}

func TestAbortedHandlerLosesItsAnswerAfterItsWork(t *testing.T) {
	worked := 0
	serving(t, func(w http.ResponseWriter, r *http.Request) {
		worked++
		_, _ = io.WriteString(w, "half of ")
		if r.URL.Path == "/flushed" {
			w.(http.Flusher).Flush()
		}
		panic(http.ErrAbortHandler)
	}, func(t *testing.T, client *http.Client) {
		_, err := client.Post("https://acme.example/", "application/json", strings.NewReader("{}"))
		if !errors.Is(err, bubble.ErrLost) || !errors.Is(err, io.ErrUnexpectedEOF) || worked != 1 {
			t.Errorf("%v, worked %d times", err, worked)
		}
		res, err := client.Get("https://acme.example/flushed")
		must(t, err)
		body, err := io.ReadAll(res.Body)
		if string(body) != "half of " || !errors.Is(err, bubble.ErrLost) {
			t.Errorf("read %q, %v", body, err)
		}
		must(t, res.Body.Close())
	})
}

func TestClientThatLeavesEndsTheHandlersContext(t *testing.T) {
	left := false
	serving(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		left = true
	}, func(t *testing.T, client *http.Client) {
		client.Timeout = time.Minute
		start := time.Now()
		_, err := client.Get("https://acme.example/")
		var timeout net.Error
		if took := time.Since(start); !errors.As(err, &timeout) || !timeout.Timeout() || took != time.Minute {
			t.Errorf("after %v: %v", took, err)
		}
		synctest.Wait()
		if !left {
			t.Error("the handler works on")
		}
	})
}

func TestHostsThatDoNotAnswerSayWhy(t *testing.T) {
	serving(t, nil, func(t *testing.T, client *http.Client) {
		_, err := client.Post("https://down.example/", "text/plain", strings.NewReader("body"))
		var op *net.OpError
		if !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Op != "dial" {
			t.Errorf("down: %v", err)
		}
		_, err = client.Get("https://nowhere.example/")
		var dns *net.DNSError
		if !errors.As(err, &dns) || !dns.IsNotFound {
			t.Errorf("nowhere: %v", err)
		}
	})
}

func TestWhatHTTPDoesNotAllowIsNotSent(t *testing.T) {
	serving(t, func(http.ResponseWriter, *http.Request) { t.Error("arrived") }, func(t *testing.T, client *http.Client) {
		_, err := client.Post("https://acme.example/", "text/plain", io.MultiReader(strings.NewReader("half"), failing{}))
		if err == nil || !strings.Contains(err.Error(), "no more") {
			t.Errorf("a body that breaks off: %v", err)
		}
	})
}

// failing is a body that cannot be read.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("no more") }
