package ingest_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/token"
	"github.com/joinery/joinery/pkg/token/tokentest"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/ingest"
)

const (
	issuerName = "https://idp.example"
	ours       = "https://joinery.example"
	setMedia   = "application/secevent+jwt"
	scimEvent  = "urn:ietf:params:scim:event:"
	riscEvent  = "https://schemas.openid.net/secevent/risc/event-type/"
	caepEvent  = "https://schemas.openid.net/secevent/caep/event-type/"
)

// idp is a source that signs tokens.
type idp struct {
	*door
	t      testing.TB
	issuer *tokentest.Issuer
	key    tokentest.Key
}

// keyRule names a person by externalId, e-mail or subject, whichever there is.
const keyRule = `has(event.data.person.externalId) ? event.data.person.externalId
	: has(event.data.person.email) ? event.data.person.email : event.data.person.sub`

func openIDP(t *testing.T, more ...ingest.Source) *idp {
	t.Helper()
	i := &idp{t: t, issuer: &tokentest.Issuer{}, key: tokentest.NewKey(t, "k1", "ES256")}
	i.issuer.Publish(tokentest.Set(t, i.key))
	i.door = open(t, append(more, tokenSource(t, i.issuer, mapping.SourceSpec{IdentityKey: keyRule}))...)
	return i
}

func tokenSource(t testing.TB, issuer http.RoundTripper, spec mapping.SourceSpec) ingest.Source {
	rules, problems := mapping.CompileSource(spec)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return ingest.Source{
		Name: "idp", Events: event.Source{Rules: rules, KeyField: event.KeyField(spec.IdentityKey)},
		Credentials: []ingest.Credential{ingest.JWT{Verifier: &token.Verifier{
			Keys: token.NewKeys(token.Place{URL: issuerName + "/jwks"}, issuer, nil), Issuer: issuerName,
			Audience: []string{ours}, Algorithms: token.DefaultAlgorithms(),
		}}},
	}
}

// stating is the claims of a token with one event about ann; change overwrites
// them, nil takes one out.
func stating(jti, kind string, payload, change map[string]any) map[string]any {
	if payload == nil {
		payload = map[string]any{}
	}
	out := map[string]any{
		"iss": issuerName, "aud": ours, "jti": jti, "iat": time.Now().Unix(),
		"sub_id": map[string]any{"format": "scim", "uri": "/Users/u1", "externalId": "ann"},
		"events": map[string]any{kind: payload},
	}
	maps.Copy(out, change)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	return out
}

// push delivers a token; headers come in pairs.
func (i *idp) push(text string, headers ...string) *httptest.ResponseRecorder {
	return i.pushTo("/v1/sets/idp", text, headers...)
}

func (i *idp) pushTo(path, text string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(text))
	r.Header.Set("Content-Type", setMedia)
	for n := 0; n < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	w := httptest.NewRecorder()
	i.Handler().ServeHTTP(w, r)
	return w
}

func (i *idp) signed(claims map[string]any) string { return i.key.Sign(i.t, "secevent+jwt", claims) }

// taken checks that a token was answered as RFC 8935 section 2.2 says.
func (i *idp) taken(w *httptest.ResponseRecorder) {
	i.t.Helper()
	if w.Code != http.StatusAccepted || w.Body.Len() != 0 {
		i.t.Errorf("got %d: %s", w.Code, w.Body)
	}
}

// denied checks an error document of RFC 8935 section 2.3, and that nothing was
// stored.
func (i *idp) denied(name string, w *httptest.ResponseRecorder, status int, code string) {
	i.t.Helper()
	got := map[string]string{}
	if w.Header().Get("Content-Type") == "application/json" {
		got = decode[map[string]string](i.t.(*testing.T), w)
	}
	if w.Code != status || got["err"] != code || got["description"] == "" || w.Header().Get("Content-Language") != "en" {
		i.t.Errorf("%s: got %d %s, want %d %s", name, w.Code, w.Body, status, code)
	}
	if ids := i.journal.ids(); len(ids) != 0 {
		i.t.Errorf("%s: refused, but stored: %v", name, ids)
	}
}

func TestTokenIsStoredAndAnsweredWithoutABody(t *testing.T) {
	i := openIDP(t)
	i.taken(i.push(i.signed(stating("set-1", scimEvent+"prov:deactivate", nil, nil))))
	equal(t, []string{"set-1"}, i.journal.ids())
	stored := i.journal.events[event.IDOf("idp", "set-1")].Event
	equal(t, joineryv1.LifecycleKind_LIFECYCLE_KIND_DISABLED, stored.GetKind())
	equal(t, "ann", stored.GetIdentityKey())
	equal(t, "idp", stored.GetSource())
	line := i.lastLine(t)
	for name, want := range map[string]any{"source": "idp", "format": "set", "events": 1.0, "accepted": 1.0, "duplicates": 0.0, "status": 202.0, "event": stored.GetId()} {
		if line[name] != want {
			t.Errorf("%s is %v, want %v", name, line[name], want)
		}
	}
	if got := i.scrape(t); !strings.Contains(got, `joinery_ingest_events_total{source="idp",status="accepted"} 1`) {
		t.Errorf("the event is not counted:\n%s", got)
	}
	if spans := i.spans.GetSpans(); len(spans) != 1 || spans[0].Name != "accept event" {
		t.Errorf("spans %v", spans)
	}
}

func TestTokenSentAgainIsTakenAgainAndStoredOnce(t *testing.T) {
	i := openIDP(t)
	claims := stating("set-1", riscEvent+"account-disabled", map[string]any{"reason": "hijacking"}, nil)
	i.taken(i.push(i.signed(claims)))
	i.taken(i.push(i.signed(claims)))
	claims["iat"] = time.Now().Add(time.Minute).Unix() // made anew to be sent again
	i.taken(i.push(i.signed(claims)))
	equal(t, []string{"set-1"}, i.journal.ids())
	equal(t, 1.0, i.lastLine(t)["duplicates"])
}

func TestIDUsedForAnotherFactIsAnInvalidRequest(t *testing.T) {
	i := openIDP(t)
	i.taken(i.push(i.signed(stating("set-1", scimEvent+"prov:activate", nil, nil))))
	w := i.push(i.signed(stating("set-1", scimEvent+"prov:delete", nil, nil)))
	if w.Code != http.StatusBadRequest || decode[map[string]string](t, w)["err"] != "invalid_request" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	equal(t, []string{"set-1"}, i.journal.ids())
}

func TestTokenThatIsNotProvedIsRefused(t *testing.T) { synctest.Test(t, unprovedTokens) }

func unprovedTokens(t *testing.T) {
	i := openIDP(t, hr())
	thief := tokentest.NewKey(t, "k1", "ES256")
	stranger := tokentest.NewKey(t, "k9", "ES256")
	good := stating("set-1", scimEvent+"prov:delete", nil, nil)
	with := func(change map[string]any) string {
		return i.signed(stating("set-1", scimEvent+"prov:delete", nil, change))
	}
	parts := strings.Split(i.signed(good), ".")
	for _, row := range []struct {
		name string
		text string
		code string
	}{
		{"no token", "hello", "invalid_request"},
		{"nothing", "", "invalid_request"},
		{"a forged signature", thief.Sign(t, "secevent+jwt", good), "authentication_failed"},
		{"another's payload", parts[0] + "." + strings.Split(with(map[string]any{"jti": "set-2"}), ".")[1] + "." + parts[2], "authentication_failed"},
		{"a key that nobody publishes", stranger.Sign(t, "secevent+jwt", good), "invalid_key"},
		{"no algorithm", "eyJhbGciOiJub25lIiwidHlwIjoic2VjZXZlbnQrand0In0." + parts[1] + ".", "invalid_key"},
		{"a shared secret", tokentest.Key{Name: "k1", Algorithm: "HS256", Private: tokentest.Set(t, i.key)}.Sign(t, "secevent+jwt", good), "invalid_key"},
		{"another issuer", with(map[string]any{"iss": "https://evil.example"}), "invalid_issuer"},
		{"another audience", with(map[string]any{"aud": []string{"https://other.example"}}), "invalid_audience"},
		{"no audience", with(map[string]any{"aud": nil}), "invalid_audience"},
		{"an ID token", i.key.Sign(t, "jwt", good), "invalid_request"},
		{"a token without a type", i.key.Sign(t, "", good), "invalid_request"},
		{"no id", with(map[string]any{"jti": nil}), "invalid_request"},
		{"no time", with(map[string]any{"iat": nil}), "invalid_request"},
		{"a time to come", with(map[string]any{"iat": time.Now().Add(time.Hour).Unix()}), "invalid_request"},
		{"no events", with(map[string]any{"events": nil}), "invalid_request"},
		{"nobody", with(map[string]any{"sub_id": nil}), "invalid_request"},
		{"somebody whom the rule does not find", with(map[string]any{"sub_id": map[string]any{"format": "opaque", "id": "7"}}), "invalid_request"},
		{"a claim named twice", i.key.SignBytes(t, "secevent+jwt", []byte(fmt.Sprintf(`{"iss":%q,"aud":%q,"jti":"a","JTI":"b"}`, issuerName, ours))), "invalid_request"},
		{"claims nested too deep", with(map[string]any{"x": nested(40)}), "invalid_request"},
	} {
		<-time.After(30 * time.Second) // an unknown key is looked for again
		i.denied(row.name, i.push(row.text), http.StatusBadRequest, row.code)
	}
}

func nested(depth int) any {
	var v any = 1
	for range depth {
		v = []any{v}
	}
	return v
}

func TestOnlySourcesWithKeysTakeTokens(t *testing.T) {
	i := openIDP(t, hr())
	text := i.signed(stating("set-1", scimEvent+"prov:delete", nil, nil))
	i.denied("a source without keys", i.pushTo("/v1/sets/hr", text), http.StatusForbidden, "access_denied")
	i.denied("no source", i.pushTo("/v1/sets/nobody", text), http.StatusForbidden, "access_denied")
	equal(t, i.pushTo("/v1/sets/hr", text).Body.String(), i.pushTo("/v1/sets/nobody", text).Body.String())
	if n := i.issuer.Fetches(); n != 0 {
		t.Errorf("%d fetches", n)
	}
}

func TestWhatIsNoPushIsAnsweredByHTTP(t *testing.T) {
	i := openIDP(t)
	text := i.signed(stating("set-1", scimEvent+"prov:delete", nil, nil))
	for name, row := range map[string]struct {
		answer *httptest.ResponseRecorder
		status int
	}{
		"another media type": {i.push(text, "Content-Type", "application/json"), http.StatusUnsupportedMediaType},
		"compressed":         {i.push(text, "Content-Encoding", "gzip"), http.StatusUnsupportedMediaType},
		"too large":          {i.push(strings.Repeat("a", ingest.MaxSET+1)), http.StatusRequestEntityTooLarge},
		"another path":       {i.pushTo("/v1/sets/", text), http.StatusNotFound},
		"another method": {func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			i.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/sets/idp", nil))
			return w
		}(), http.StatusMethodNotAllowed},
	} {
		if row.answer.Code != row.status || row.answer.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %d %s", name, row.answer.Code, row.answer.Body)
		}
	}
	equal(t, []string{}, i.journal.ids())
}

func TestTokenIsNotAcceptedBeforeItIsStored(t *testing.T) {
	i := openIDP(t)
	text := i.signed(stating("set-1", riscEvent+"account-purged", nil, nil))
	i.journal.fail = func(string) error { return errors.New("the broker is away") }
	w := i.push(text)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %d %v", w.Code, w.Header())
	}
	i.journal.fail = nil
	i.taken(i.push(text))
	equal(t, []string{"set-1"}, i.journal.ids())
}

func TestTokenIsNotAcceptedWithoutKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := openIDP(t)
		text := i.signed(stating("set-1", riscEvent+"account-purged", nil, nil))
		i.issuer.Fail(http.StatusBadGateway, nil)
		for range 3 {
			w := i.push(text)
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "30" {
				t.Errorf("got %d %v", w.Code, w.Header())
			}
		}
		equal(t, 1, i.issuer.Fetches())
		equal(t, []string{}, i.journal.ids())
		i.issuer.Publish(tokentest.Set(t, i.key))
		<-time.After(30 * time.Second)
		i.taken(i.push(text))
	})
}

func TestRotatedKeyIsTakenWithoutARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := openIDP(t)
		i.taken(i.push(i.signed(stating("set-1", scimEvent+"prov:activate", nil, nil))))
		<-time.After(time.Minute)
		old := i.key
		i.key = tokentest.NewKey(t, "k2", "ES256")
		i.issuer.Publish(tokentest.Set(t, i.key))
		i.taken(i.push(i.signed(stating("set-2", scimEvent+"prov:deactivate", nil, nil))))
		equal(t, []string{"set-1", "set-2"}, i.journal.ids())
		<-time.After(time.Minute)
		w := i.push(old.Sign(t, "secevent+jwt", stating("set-3", scimEvent+"prov:activate", nil, nil)))
		equal(t, http.StatusBadRequest, w.Code)
		equal(t, "invalid_key", decode[map[string]string](t, w)["err"])
	})
}

func TestFloodOfForgedTokensCostsNoFetchAndHardlyALine(t *testing.T) {
	i := openIDP(t)
	i.taken(i.push(i.signed(stating("set-1", scimEvent+"prov:activate", nil, nil))))
	forged := tokentest.NewKey(t, "k1", "ES256").Sign(t, "secevent+jwt", stating("set-2", scimEvent+"prov:delete", nil, nil))
	for range 500 {
		if w := i.push(forged); w.Code != http.StatusBadRequest {
			t.Fatalf("got %d", w.Code)
		}
	}
	equal(t, 1, i.issuer.Fetches())
	equal(t, []string{"set-1"}, i.journal.ids())
	if n := strings.Count(i.log.String(), "\n"); n > 10 {
		t.Errorf("%d lines for 500 forgeries", n)
	}
	if got := i.scrape(t); !strings.Contains(got, `joinery_ingest_refused_total{reason="authentication_failed",source="unknown"} 500`) {
		t.Errorf("forgeries are not counted:\n%s", got)
	}
}

func TestTokenHasNoEndThatCounts(t *testing.T) {
	i := openIDP(t)
	i.taken(i.push(i.signed(stating("set-1", scimEvent+"prov:delete", nil, map[string]any{
		"exp": time.Now().Add(-time.Hour).Unix(), "iat": time.Now().Add(-30 * 24 * time.Hour).Unix(),
	}))))
	equal(t, []string{"set-1"}, i.journal.ids())
}

func TestEventsOfOneTokenAreStoredTogether(t *testing.T) {
	i := openIDP(t)
	text := i.signed(stating("set-1", "", nil, map[string]any{"events": map[string]any{
		scimEvent + "feed:add": map[string]any{},
		scimEvent + "prov:create:full": map[string]any{"data": map[string]any{
			"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": "ann", "active": true,
		}},
		"https://example.com/event-type/nobody-knows": map[string]any{"a": 1},
	}}))
	i.taken(i.push(text))
	equal(t, []string{"set-1#" + scimEvent + "feed:add", "set-1#" + scimEvent + "prov:create:full"}, i.journal.ids())
	equal(t, 3.0, i.lastLine(t)["events"])
	equal(t, 2.0, i.lastLine(t)["accepted"])
	i.taken(i.push(text))
	equal(t, 2.0, i.lastLine(t)["duplicates"])
}

func TestEventsAboutNobodyAreTakenAndLeftOut(t *testing.T) {
	i := openIDP(t)
	group := map[string]any{"sub_id": map[string]any{"format": "scim", "uri": "/Groups/g1", "externalId": "crm"}}
	stream := map[string]any{"sub_id": map[string]any{"format": "opaque", "id": "stream-1"}}
	device := map[string]any{"sub_id": map[string]any{"format": "complex", "device": map[string]any{"format": "opaque", "id": "d1"}}}
	for _, claims := range []map[string]any{
		stating("1", scimEvent+"prov:delete", nil, group),
		stating("2", "https://schemas.openid.net/secevent/ssf/event-type/verification", map[string]any{"state": "x"}, stream),
		stating("3", caepEvent+"session-revoked", nil, device),
		stating("4", riscEvent+"credential-compromise", map[string]any{"credential_type": "password"}, stream),
	} {
		i.taken(i.push(i.signed(claims)))
		equal(t, 0.0, i.lastLine(t)["accepted"])
	}
	equal(t, []string{}, i.journal.ids())
}

func TestRefusalOfAProvedTokenNamesItsSourceAndNoValues(t *testing.T) {
	i := openIDP(t)
	i.push(i.signed(stating("set-1", scimEvent+"prov:delete", nil, map[string]any{"aud": "canary"})))
	equal(t, "invalid_audience", i.lastLine(t)["reason"])
	equal(t, "idp", i.lastLine(t)["source"])
	i.push(i.signed(stating("set-1", scimEvent+"prov:delete", nil, map[string]any{"sub_id": map[string]any{"format": "email", "email": "canary\n"}})))
	equal(t, "invalid", i.lastLine(t)["reason"])
	if strings.Contains(i.log.String(), "canary") {
		t.Errorf("the log shows what the token says:\n%s", i.log)
	}
}

// withheldBody is a body that arrives when it is told to.
type withheldBody struct{ arrive <-chan struct{} }

func (s withheldBody) Read([]byte) (int, error) {
	<-s.arrive
	return 0, io.EOF
}

func TestUnknownSendersOfTokensLeaveRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := openIDP(t, hr())
		arrive := make(chan struct{})
		var senders sync.WaitGroup
		for range 64 {
			senders.Go(func() {
				r := httptest.NewRequest(http.MethodPost, "/v1/sets/idp", withheldBody{arrive})
				r.Header.Set("Content-Type", setMedia)
				i.Handler().ServeHTTP(httptest.NewRecorder(), r)
			})
		}
		synctest.Wait()
		text := i.signed(stating("set-1", scimEvent+"prov:delete", nil, nil))
		if w := i.push(text); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("got %d", w.Code)
		}
		if w := i.post(structured, oneEvent); w.Code != http.StatusAccepted {
			t.Errorf("another door is closed: %d", w.Code)
		}
		close(arrive)
		senders.Wait()
		i.taken(i.push(text))
	})
}
