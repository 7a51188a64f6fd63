package ingest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/token/tokentest"
	"github.com/joinery/joinery/services/ingest"
)

// bearer is the claims of a credential; change overwrites them.
func bearer(change map[string]any) map[string]any {
	out := map[string]any{"iss": issuerName, "aud": ours, "exp": time.Now().Add(time.Hour).Unix()}
	for name, v := range change {
		out[name] = v
	}
	return out
}

// tell sends an event with a bearer token.
func (i *idp) tell(token string) *httptest.ResponseRecorder {
	return i.post(structured, oneEvent, "X-Signature", "", "Authorization", "Bearer "+token)
}

func openBearer(t *testing.T) *idp {
	i := &idp{t: t, issuer: &tokentest.Issuer{}, key: tokentest.NewKey(t, "k1", "ES256")}
	i.issuer.Publish(tokentest.Set(t, i.key))
	i.door = open(t, tokenSource(t, i.issuer, mapping.SourceSpec{IdentityKey: "event.data.employee_id"}), hr())
	return i
}

func TestSignedBearerTokenAdmitsOnlyItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, row := range []struct {
			name   string
			token  func(i *idp) string
			status int
		}{
			{"as the issuer makes it", func(i *idp) string { return i.key.Sign(t, "JWT", bearer(nil)) }, http.StatusAccepted},
			{"an access token of RFC 9068", func(i *idp) string { return i.key.Sign(t, "at+jwt", bearer(nil)) }, http.StatusAccepted},
			{"without a type", func(i *idp) string { return i.key.Sign(t, "", bearer(nil)) }, http.StatusAccepted},
			{"for several", func(i *idp) string {
				return i.key.Sign(t, "", bearer(map[string]any{"aud": []string{"https://x.example", ours}}))
			}, http.StatusAccepted},
			{"over", func(i *idp) string {
				return i.key.Sign(t, "", bearer(map[string]any{"exp": time.Now().Add(-2 * time.Minute).Unix()}))
			}, http.StatusUnauthorized},
			{"without an end", func(i *idp) string { return i.key.Sign(t, "", map[string]any{"iss": issuerName, "aud": ours}) }, http.StatusUnauthorized},
			{"for another", func(i *idp) string {
				return i.key.Sign(t, "", bearer(map[string]any{"aud": "https://x.example"}))
			}, http.StatusUnauthorized},
			{"of another", func(i *idp) string {
				return i.key.Sign(t, "", bearer(map[string]any{"iss": "https://x.example"}))
			}, http.StatusUnauthorized},
			{"a security event token", func(i *idp) string { return i.key.Sign(t, "secevent+jwt", bearer(nil)) }, http.StatusUnauthorized},
			{"forged", func(*idp) string { return tokentest.NewKey(t, "k1", "ES256").Sign(t, "", bearer(nil)) }, http.StatusUnauthorized},
			{"with a key that nobody publishes", func(*idp) string { return tokentest.NewKey(t, "k9", "ES256").Sign(t, "", bearer(nil)) }, http.StatusUnauthorized},
			{"opaque", func(*idp) string { return "opaque" }, http.StatusUnauthorized},
			{"longer than headers are", func(i *idp) string {
				return i.key.Sign(t, "", bearer(map[string]any{"x": strings.Repeat("x", 16<<10)}))
			}, http.StatusUnauthorized},
		} {
			i := openBearer(t)
			w := i.tell(row.token(i))
			if w.Code != row.status || (len(i.journal.ids()) == 1) != (row.status == http.StatusAccepted) {
				t.Errorf("%s: got %d, stored %v", row.name, w.Code, i.journal.ids())
			}
		}
	})
}

func TestBearerTokenIsNeitherAcceptedNorRefusedWithoutKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := openBearer(t)
		i.issuer.Fail(http.StatusBadGateway, nil)
		good := i.key.Sign(t, "", bearer(nil))
		for range 5 {
			w := i.tell(good)
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "30" {
				t.Errorf("got %d %v", w.Code, w.Header())
			}
		}
		equal(t, 1, i.issuer.Fetches())
		equal(t, []string{}, i.journal.ids())
		if w := i.post(structured, oneEvent); w.Code != http.StatusAccepted {
			t.Errorf("a source without keys waits for those of another: %d", w.Code)
		}
		i.issuer.Publish(tokentest.Set(t, i.key))
		<-time.After(30 * time.Second)
		if w := i.tell(good); w.Code != http.StatusAccepted {
			t.Errorf("got %d", w.Code)
		}
	})
}

func TestBodyBehindAnImplausibleTokenIsNotReadAndCostsNoFetch(t *testing.T) {
	i := openBearer(t)
	for _, value := range []string{"Bearer a.b.c", "Bearer " + tokentest.Key{Algorithm: "HS256", Private: make([]byte, 32)}.Sign(t, "", bearer(nil))} {
		r := httptest.NewRequest(http.MethodPost, "/v1/events", unread{t})
		r.Header = http.Header{"Content-Type": {structured}, "Authorization": {value}}
		w := httptest.NewRecorder()
		i.Handler().ServeHTTP(w, r)
		i.refused(t, w, http.StatusUnauthorized, "")
	}
	equal(t, 0, i.issuer.Fetches())
}

func TestKeysAreValidatedWithTheirSource(t *testing.T) {
	i := openBearer(t)
	err := i.Reload([]ingest.Source{source("a", ingest.JWT{}), source("b", ingest.JWT{Verifier: nil})})
	if err == nil || !strings.Contains(err.Error(), `source "a": jwks: no verifier`) {
		t.Errorf("got %v", err)
	}
}

// FuzzSET pushes anything at all: whatever is not signed is neither stored nor
// answered otherwise than with a refusal. What is signed is answered with 202 or
// with an error document, and never stored with a refusal.
func FuzzSET(f *testing.F) {
	issuer := &tokentest.Issuer{}
	key := tokentest.NewKey(f, "k1", "ES256")
	issuer.Publish(tokentest.Set(f, key))
	good := stating("set-1", scimEvent+"prov:delete", nil, nil)
	f.Add([]byte(key.Sign(f, "secevent+jwt", good)), false)
	for _, claims := range []string{
		`{"iss":"https://idp.example","aud":"https://joinery.example","jti":"1","iat":1,"sub_id":{"format":"email","email":"a"},"events":{"urn:ietf:params:scim:event:prov:delete":{}}}`,
		`{"iss":"https://idp.example","aud":["https://joinery.example"],"jti":"1","iat":1,"sub_id":{"format":"scim","uri":"/Users/1","externalId":"e"},"events":{"urn:ietf:params:scim:event:prov:create:full":{"data":{"userName":"a","active":false}}}}`,
		`{"events":{}}`,
	} {
		f.Add([]byte(claims), true)
	}
	src := tokenSource(f, issuer, mapping.SourceSpec{IdentityKey: keyRule})
	tel, err := telemetry.New(context.Background(), telemetry.Options{Service: "ingest", Log: &lines{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, sign bool) {
		journal := &memory{}
		s, err := ingest.New([]ingest.Source{src}, ingest.Deps{Journal: journal, Telemetry: tel})
		if err != nil {
			t.Fatal(err)
		}
		text := string(body)
		if sign {
			text = key.SignBytes(t, "secevent+jwt", body)
		}
		r := httptest.NewRequest(http.MethodPost, "/v1/sets/idp", strings.NewReader(text))
		r.Header.Set("Content-Type", setMedia)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		switch stored := len(journal.ids()); {
		case w.Code == http.StatusAccepted && w.Body.Len() > 0:
			t.Errorf("202 with a body: %s", w.Body)
		case w.Code == http.StatusBadRequest:
			if doc := decode[map[string]string](t, w); doc["err"] == "" || stored > 0 {
				t.Errorf("refused with %s, and %d stored", w.Body, stored)
			}
		case w.Code != http.StatusAccepted && w.Code != http.StatusRequestEntityTooLarge:
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
}
