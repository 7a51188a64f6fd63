package scimhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/simulator"
)

// secretToken and secretName must appear in no error.
const (
	secretToken = "canary-token"
	secretName  = "canary@example.com"
)

func client(t *testing.T, h http.Handler) *scimhttp.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := scimhttp.New(scimhttp.Options{
		Endpoint: s.URL + "/", AllowPrivate: true, Timeout: 5 * time.Second,
		Auth: scimhttp.Bearer{Token: func() (string, error) { return secretToken, nil }},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func answering(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

var user = scim.Resource{"userName": secretName}

// quiet fails where an error shows what it must not.
func quiet(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), "canary") {
		t.Errorf("the error tells too much: %v", err)
	}
}

func TestEveryAnswerMeansWhatTheDesignSays(t *testing.T) {
	for _, row := range []struct {
		status    int
		header    []string
		get, post fault.Kind
		pause     time.Duration
	}{
		{400, nil, fault.Permanent, fault.Permanent, 0},
		{401, nil, fault.TargetDown, fault.TargetDown, 0},
		{403, nil, fault.TargetDown, fault.TargetDown, 0},
		{404, nil, fault.NotFound, fault.NotFound, 0},
		{405, nil, fault.Unsupported, fault.Unsupported, 0},
		{408, nil, fault.Transient, fault.Unknown, 0},
		{409, nil, fault.Conflict, fault.Conflict, 0},
		{412, nil, fault.Changed, fault.Conflict, 0},
		{413, nil, fault.Permanent, fault.Permanent, 0},
		{422, nil, fault.Permanent, fault.Permanent, 0},
		{429, nil, fault.Throttled, fault.Throttled, 0},
		{429, []string{"Retry-After", "7"}, fault.Throttled, fault.Throttled, 7 * time.Second},
		{429, []string{"Retry-After", "nonsense", "X-RateLimit-Reset", "9"}, fault.Throttled, fault.Throttled, 9 * time.Second},
		{429, []string{"Retry-After", "99999999"}, fault.Throttled, fault.Throttled, 24 * time.Hour},
		{500, nil, fault.Transient, fault.Unknown, 0},
		{501, nil, fault.Unsupported, fault.Unsupported, 0},
		{503, nil, fault.Transient, fault.Unknown, 0},
		{503, []string{"Retry-After", "3"}, fault.Throttled, fault.Throttled, 3 * time.Second},
		{302, []string{"Location", "/elsewhere"}, fault.TargetDown, fault.TargetDown, 0},
	} {
		t.Run(fmt.Sprint(row.status, row.header), func(t *testing.T) {
			c := client(t, answering(row.status, `{"detail":"`+secretName+`","scimType":"invalidValue"}`, row.header...))
			_, err := c.Get(t.Context(), scim.Users, "1")
			quiet(t, err)
			if got := fault.KindOf(err); err == nil || got != row.get || fault.Pause(err) != row.pause {
				t.Errorf("GET: %v %v", got, fault.Pause(err))
			}
			_, err = c.Create(t.Context(), scim.Users, user)
			quiet(t, err)
			if got := fault.KindOf(err); err == nil || got != row.post {
				t.Errorf("POST: %v", got)
			}
		})
	}
}

func TestARetryAfterDateIsReadAgainstOurClock(t *testing.T) {
	at := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	_, err := client(t, answering(429, "", "Retry-After", at)).Get(t.Context(), scim.Users, "1")
	if d := fault.Pause(err); d < 50*time.Second || d > time.Minute {
		t.Error(d)
	}
}

func TestNothingIsSentToWhereATargetPoints(t *testing.T) {
	var reached atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := client(t, answering(status, "", "Location", other.URL+"/Users"))
		if _, err := c.Create(t.Context(), scim.Users, user); !fault.Is(err, fault.TargetDown) {
			t.Errorf("%d: %v", status, err)
		}
	}
	if reached.Load() > 0 {
		t.Error("a redirect was followed")
	}
}

func TestOnlyALostAnswerToAPostIsUnknown(t *testing.T) {
	drops := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})
	c := client(t, drops)
	_, err := c.Create(t.Context(), scim.Users, user)
	quiet(t, err)
	if !fault.Is(err, fault.Unknown) {
		t.Error("POST:", err)
	}
	if _, err = c.Patch(t.Context(), scim.Users, "1", "", nil); !fault.Is(err, fault.Transient) {
		t.Error("PATCH:", err)
	}
	closed := httptest.NewServer(drops)
	closed.Close()
	c, _ = scimhttp.New(scimhttp.Options{Endpoint: closed.URL, AllowPrivate: true})
	if _, err = c.Create(t.Context(), scim.Users, user); !fault.Is(err, fault.Transient) {
		t.Error("nobody there, so nothing was sent:", err)
	}
}

func TestSuccessThatIsNoneIsNotBelieved(t *testing.T) {
	for name, row := range map[string]struct {
		body, contentType string
		get, post         fault.Kind
	}{
		"a web page":        {"<html>sign in</html>", "text/html", fault.Transient, fault.Unknown},
		"no JSON":           {"{", "application/json", fault.Transient, fault.Unknown},
		"an error document": {`{"schemas":["` + scim.ErrorSchema + `"],"status":"400"}`, "application/json", fault.Transient, fault.Unknown},
	} {
		c := client(t, answering(200, row.body, "Content-Type", row.contentType))
		if _, err := c.Get(t.Context(), scim.Users, "1"); err == nil || fault.KindOf(err) != row.get {
			t.Errorf("%s: GET: %v", name, err)
		}
		if _, err := c.Create(t.Context(), scim.Users, user); err == nil || fault.KindOf(err) != row.post {
			t.Errorf("%s: POST: %v", name, err)
		}
	}
	if _, err := client(t, answering(200, `{"id":"2"}`)).Get(t.Context(), scim.Users, "1"); err == nil {
		t.Error("another resource than was asked for was believed")
	}
	created, err := client(t, answering(201, "", "Location", "https://x.example/scim/Users/a%20b")).Create(t.Context(), scim.Users, user)
	if err != nil || created.ID() != "a b" {
		t.Error(created, err)
	}
	if changed, err := client(t, answering(204, "")).Patch(t.Context(), scim.Users, "1", "", nil); err != nil || changed != nil {
		t.Error(changed, err)
	}
	if _, err := client(t, answering(200, strings.Repeat("x", 2<<20))).Get(t.Context(), scim.Users, "1"); err == nil {
		t.Error("an endless answer was read")
	}
}

func TestASearchIsBelievedOnlyWhereItFindsTheValue(t *testing.T) {
	everybody := `{"totalResults":2,"Resources":[{"id":"1","userName":"bo"},{"id":"2","emails":[{"value":"cy@x"}]}]}`
	c := client(t, answering(200, everybody))
	if found, err := c.Find(t.Context(), scim.Users, "userName", "BO"); err != nil || len(found) != 1 {
		t.Error(found, err)
	}
	if found, err := c.Find(t.Context(), scim.Users, "emails.value", "cy@x"); err != nil || len(found) != 1 {
		t.Error(found, err)
	}
	_, err := c.Find(t.Context(), scim.Users, "userName", secretName)
	quiet(t, err)
	if !errors.Is(err, scimhttp.ErrFilterIgnored) {
		t.Error(err)
	}
	if found, err := client(t, answering(200, `{"totalResults":0}`)).Find(t.Context(), scim.Users, "userName", "x"); err != nil || len(found) != 0 {
		t.Error(found, err)
	}
}

// pages serves a listing from a function of startIndex.
func pages(page func(start int) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start, _ := strconv.Atoi(r.URL.Query().Get("startIndex"))
		_, _ = io.WriteString(w, page(start))
	}
}

func list(ctx context.Context, c *scimhttp.Client) (n int, err error) {
	for _, e := range c.List(ctx, scim.Users) {
		if e != nil {
			return n, e
		}
		n++
	}
	return n, nil
}

func TestAListThatCannotBeTrustedIsAnError(t *testing.T) {
	one := func(id int, total string) string {
		return fmt.Sprintf(`{"totalResults":%s,"Resources":[{"id":"%d"}]}`, total, id)
	}
	for name, page := range map[string]func(int) string{
		"repeats a page": func(int) string { return one(1, "3") },
		"ends too early": func(start int) string {
			return map[bool]string{true: one(1, "3"), false: `{"totalResults":3,"Resources":[]}`}[start == 1]
		},
		"changes its total":     func(start int) string { return one(start, strconv.Itoa(5-start)) },
		"gives more than total": func(int) string { return `{"totalResults":1,"Resources":[{"id":"1"},{"id":"2"}]}` },
		"has no resources":      func(int) string { return `{"totalResults":3}` },
		"is no list":            func(int) string { return `{"detail":"x"}` },
		"has no ids":            func(int) string { return `{"totalResults":1,"Resources":[{}]}` },
	} {
		if _, err := list(t.Context(), client(t, pages(page))); err == nil {
			t.Errorf("%s: believed", name)
		}
	}
	honest := func(start int) string {
		if start > 3 {
			return `{"totalResults":3,"Resources":[]}`
		}
		return one(start, "3")
	}
	if n, err := list(t.Context(), client(t, pages(honest))); n != 3 || err != nil {
		t.Error(n, err)
	}
	if n, err := list(t.Context(), client(t, answering(200, `{"totalResults":0}`))); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestRequestsCarryWhatTargetsDemand(t *testing.T) {
	sim := simulator.New(simulator.Options{Token: secretToken})
	waits := 0
	s := httptest.NewServer(sim)
	defer s.Close()
	c, err := scimhttp.New(scimhttp.Options{
		Endpoint: s.URL, AllowPrivate: true, Wait: func(context.Context, int) error { waits++; return nil },
		Auth: scimhttp.Bearer{Token: func() (string, error) { return secretToken, nil }},
	})
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.Create(t.Context(), scim.Users, scim.Resource{"userName": "a", scim.EnterpriseSchema: map[string]any{"department": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Patch(t.Context(), scim.Users, made.ID(), made.Version(), []scim.Operation{{Op: "replace", Path: "title", Value: "y"}}); err != nil {
		t.Error(err)
	}
	if _, err := c.Patch(t.Context(), scim.Users, made.ID(), made.Version(), []scim.Operation{{Op: "replace", Path: "title", Value: "z"}}); !fault.Is(err, fault.Changed) {
		t.Error("a stale ETag:", err)
	}
	if err := c.Delete(t.Context(), scim.Users, made.ID(), ""); err != nil {
		t.Error(err)
	}
	for _, r := range sim.Requests() {
		if !strings.HasPrefix(r.UserAgent, "Joinery/") {
			t.Errorf("%s %s by %q", r.Method, r.Path, r.UserAgent)
		}
	}
	if waits != 4 {
		t.Errorf("waited for %d tokens", waits)
	}
}

func TestARefusedTokenIsFetchedOnceMore(t *testing.T) {
	var fetched atomic.Int32
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"access_token":"t%d","expires_in":3600}`, fetched.Add(1))
	}))
	defer tokens.Close()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t2" {
			w.WriteHeader(401)
			return
		}
		_, _ = io.WriteString(w, `{"id":"1"}`)
	}))
	defer target.Close()
	c, err := scimhttp.New(scimhttp.Options{Endpoint: target.URL, AllowPrivate: true, Auth: &scimhttp.ClientCredentials{
		TokenURL: tokens.URL, ClientID: "id", ClientSecret: func() (string, error) { return secretToken, nil },
		Transport: scimhttp.NewTransport(true, 1),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.Get(t.Context(), scim.Users, "1"); err != nil {
			t.Fatal(err)
		}
	}
	if n := fetched.Load(); n != 2 {
		t.Errorf("fetched %d tokens", n)
	}
}

func TestNoTargetMayBeInside(t *testing.T) {
	for _, address := range []string{
		"127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.192", "192.168.1.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
		"::127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:db8::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "ff02::1",
	} {
		if scimhttp.Permitted(netip.MustParseAddr(address)) {
			t.Errorf("%s is permitted", address)
		}
	}
	for _, address := range []string{"1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"} {
		if !scimhttp.Permitted(netip.MustParseAddr(address)) {
			t.Errorf("%s is forbidden", address)
		}
	}
	s := httptest.NewServer(answering(200, `{"id":"1"}`))
	defer s.Close()
	c, err := scimhttp.New(scimhttp.Options{Endpoint: strings.Replace(s.URL, "127.0.0.1", "localhost", 1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), scim.Users, "1"); !errors.Is(err, scimhttp.ErrForbiddenAddress) {
		t.Error("a name that leads inside was dialled:", err)
	}
	for _, endpoint := range []string{"", "ftp://x", "https://user:pw@x", "https://x?y=1", "x.example"} {
		if _, err := scimhttp.New(scimhttp.Options{Endpoint: endpoint}); err == nil {
			t.Errorf("%q was taken", endpoint)
		}
	}
}
