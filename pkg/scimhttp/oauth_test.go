package scimhttp_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/token"
	"github.com/joinery/joinery/pkg/token/tokentest"
)

// desk is an authorization server, and the target that believes its tokens. It
// is reached without a network.
type desk struct {
	mu     sync.Mutex
	asked  []*http.Request
	forms  []url.Values
	life   int
	delay  time.Duration
	status int
	// refused is how many tokens, from the first, the target does not take.
	refused int
	served  int
}

const tokenURL = "https://login.example/token"

func (d *desk) RoundTrip(req *http.Request) (*http.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if req.URL.Host != "login.example" {
		d.served++
		for n := range d.refused {
			if req.Header.Get("Authorization") == fmt.Sprintf("Bearer t%d", n+1) {
				return said(401, ""), nil
			}
		}
		return said(200, `{"id":"1"}`), nil
	}
	data, _ := io.ReadAll(req.Body)
	form, err := url.ParseQuery(string(data))
	if err != nil {
		return nil, err
	}
	d.asked, d.forms = append(d.asked, req), append(d.forms, form)
	n := len(d.asked)
	if d.delay > 0 {
		d.mu.Unlock()
		select {
		case <-time.After(d.delay):
		case <-req.Context().Done():
		}
		d.mu.Lock()
	}
	if d.status != 0 {
		return said(d.status, secretToken), nil
	}
	return said(200, fmt.Sprintf(`{"access_token":"t%d","token_type":"Bearer","expires_in":%d}`, n, d.life)), nil
}

func (d *desk) fetches() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.asked)
}

func said(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func fixed(s string) scimhttp.Secret { return func() (string, error) { return s, nil } }

// granted plays with a client that gets its tokens at a desk, on fake time.
func granted(t *testing.T, d *desk, play func(t *testing.T, c *scimhttp.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		play(t, d.client(t, &scimhttp.ClientCredentials{ClientSecret: fixed(secretToken)}))
	})
}

func (d *desk) client(t *testing.T, credentials *scimhttp.ClientCredentials) *scimhttp.Client {
	t.Helper()
	credentials.TokenURL, credentials.ClientID, credentials.Transport = tokenURL, "joinery", d
	c, err := scimhttp.New(scimhttp.Options{Endpoint: "https://acme.example", Transport: d, Auth: credentials})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(ctx context.Context, c *scimhttp.Client) error {
	_, err := c.Get(ctx, scim.Users, "1")
	return err
}

func TestATokenIsKeptAndReplacedBeforeItEnds(t *testing.T) {
	d := &desk{life: 600}
	granted(t, d, func(t *testing.T, c *scimhttp.Client) {
		for _, step := range []struct {
			after   time.Duration
			fetches int
		}{{0, 1}, {time.Second, 1}, {8 * time.Minute, 1}, {time.Minute, 2}, {time.Second, 2}, {9 * time.Minute, 3}} {
			time.Sleep(step.after)
			if err := get(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := d.fetches(); n != step.fetches {
				t.Errorf("after %v more: %d tokens, want %d", step.after, n, step.fetches)
			}
		}
	})
}

func TestNobodyWaitsForTheNextTokenWhileThisOneHolds(t *testing.T) {
	d := &desk{life: 600}
	granted(t, d, func(t *testing.T, c *scimhttp.Client) {
		if err := get(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9*time.Minute + time.Second)
		d.delay = 10 * time.Second
		begun := time.Now()
		if err := get(t.Context(), c); err != nil || time.Since(begun) != 0 {
			t.Errorf("waited %v: %v", time.Since(begun), err)
		}
		time.Sleep(time.Minute)
		if n := d.fetches(); n != 2 {
			t.Errorf("%d tokens", n)
		}
	})
}

func TestOneRequestGetsTheTokenForAll(t *testing.T) {
	for name, d := range map[string]*desk{
		"at the beginning":     {life: 600, delay: time.Second},
		"after it was refused": {life: 600, delay: time.Second, refused: 1},
	} {
		granted(t, d, func(t *testing.T, c *scimhttp.Client) {
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if err := get(t.Context(), c); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n := d.fetches(); n != 1+d.refused {
				t.Errorf("%s: %d requests for a token", name, n)
			}
		})
	}
}

func TestOnesGoingAwayEndsNobodysWaitForAToken(t *testing.T) {
	d := &desk{life: 600, delay: 5 * time.Second}
	granted(t, d, func(t *testing.T, c *scimhttp.Client) {
		first, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := get(first, c); !errors.Is(err, context.Canceled) {
				t.Error("the one who left:", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if err := get(t.Context(), c); err != nil {
				t.Error("the one who stayed:", err)
			}
		})
		synctest.Wait()
		leave()
		wg.Wait()
		if n := d.fetches(); n != 1 {
			t.Errorf("%d tokens", n)
		}
	})
}

func TestAnAuthorizationServerThatIsAwayStopsNoTarget(t *testing.T) {
	for status, want := range map[int]fault.Kind{500: fault.Transient, 503: fault.Transient, 429: fault.Transient, 400: fault.TargetDown, 401: fault.TargetDown, 302: fault.TargetDown} {
		d := &desk{status: status}
		granted(t, d, func(t *testing.T, c *scimhttp.Client) {
			err := get(t.Context(), c)
			quiet(t, err)
			if !fault.Is(err, want) {
				t.Errorf("%d: %v (%v)", status, fault.KindOf(err), err)
			}
			if d.served > 0 {
				t.Error("the target was asked without a token")
			}
		})
	}
}

func TestTheLifeOfATokenIsBelievedWithinReason(t *testing.T) {
	for _, row := range []struct {
		life  int
		after time.Duration
		want  int
	}{{0, 3 * time.Minute, 1}, {0, 6 * time.Minute, 2}, {10, 4 * time.Second, 1}, {10, 11 * time.Second, 2}, {1 << 40, 29 * 24 * time.Hour, 1}, {1 << 40, 31 * 24 * time.Hour, 2}} {
		d := &desk{life: row.life}
		granted(t, d, func(t *testing.T, c *scimhttp.Client) {
			for range 2 {
				if err := get(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				time.Sleep(row.after)
			}
			if n := d.fetches(); n != row.want {
				t.Errorf("expires_in %d, %v later: %d tokens", row.life, row.after, n)
			}
		})
	}
}

func TestAClientProvesItselfByASignatureOfItsOwnEachTime(t *testing.T) {
	for _, algorithm := range token.SigningAlgorithms() {
		key := tokentest.NewKey(t, "k1", algorithm)
		issuer := &tokentest.Issuer{}
		issuer.Publish(tokentest.Set(t, key))
		d := &desk{life: 1}
		synctest.Test(t, func(t *testing.T) {
			c := d.client(t, &scimhttp.ClientCredentials{
				Scopes:    []string{"scim"},
				Assertion: &scimhttp.Assertion{Key: fixed(inPEM(t, key)), KeyID: "k1", Algorithm: algorithm, Lifetime: time.Minute},
			})
			for range 2 {
				if err := get(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
			}
			verifier := &token.Verifier{
				Keys: token.NewKeys(token.Place{URL: "https://x.example"}, issuer, nil), Issuer: "joinery",
				Audience: []string{tokenURL}, Algorithms: []string{algorithm},
			}
			seen := map[string]bool{}
			for i, form := range d.forms {
				if header := d.asked[i].Header.Get("Authorization"); header != "" {
					t.Error("a secret was sent as well")
				}
				verified, err := verifier.Verify(t.Context(), form.Get("client_assertion"), "jwt")
				if err != nil {
					t.Fatal(algorithm, err)
				}
				var claims struct {
					Sub, Aud, JTI string
					Iat, Exp      int64
				}
				if err := json.Unmarshal(verified.Claims, &claims); err != nil {
					t.Fatal(err)
				}
				if claims.Sub != "joinery" || claims.Exp-claims.Iat != 60 || claims.JTI == "" || seen[claims.JTI] {
					t.Errorf("%+v", claims)
				}
				seen[claims.JTI] = true
				form.Del("client_assertion")
			}
			want := url.Values{
				"grant_type": {"client_credentials"}, "scope": {"scim"}, "client_id": {"joinery"},
				"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			}
			if diff := cmp.Diff([]url.Values{want, want}, d.forms); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func inPEM(t *testing.T, key tokentest.Key) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key.Private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestAnAssertionIsForItsAudienceAndNeverLongerThanFiveMinutes(t *testing.T) {
	key := tokentest.NewKey(t, "k1", "ES256")
	for _, life := range []time.Duration{0, time.Hour} {
		d := &desk{life: 60}
		c := d.client(t, &scimhttp.ClientCredentials{Assertion: &scimhttp.Assertion{
			Key: fixed(inPEM(t, key)), Algorithm: "ES256", Audience: "https://issuer.example", Lifetime: life,
		}})
		if err := get(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		issuer := &tokentest.Issuer{}
		issuer.Publish(tokentest.Set(t, key))
		verifier := &token.Verifier{
			Keys: token.NewKeys(token.Place{URL: "https://x.example"}, issuer, nil), Issuer: "joinery",
			Audience: []string{"https://issuer.example"}, Algorithms: []string{"ES256"},
		}
		assertion := d.forms[0].Get("client_assertion")
		if _, err := verifier.Verify(t.Context(), assertion, "jwt"); err != nil {
			t.Error(err)
		}
		at, ok := token.Expiry(assertion)
		if left := time.Until(at); !ok || left > 5*time.Minute || left < 4*time.Minute {
			t.Errorf("it ends in %v", left)
		}
	}
}

func TestAKeyThatCannotSignStopsTheTargetAndIsNotShown(t *testing.T) {
	d := &desk{life: 60}
	for _, key := range []scimhttp.Secret{fixed(secretToken), func() (string, error) { return "", errors.New("no file") }} {
		c := d.client(t, &scimhttp.ClientCredentials{Assertion: &scimhttp.Assertion{Key: key, Algorithm: "RS256"}})
		err := get(t.Context(), c)
		quiet(t, err)
		if !fault.Is(err, fault.TargetDown) {
			t.Error(err)
		}
	}
	if len(d.asked) > 0 {
		t.Error("a token was asked for without a signature")
	}
}

func TestARotatedClientSecretIsUsedForTheNextToken(t *testing.T) {
	d := &desk{life: 60}
	secret := "one"
	c := d.client(t, &scimhttp.ClientCredentials{ClientSecret: func() (string, error) { return secret, nil }})
	d.refused = 1 // so that the second token is asked for at once
	if err := get(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	secret, d.refused = "two", 2
	if err := get(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	var used []string
	for _, req := range d.asked {
		_, password, _ := req.BasicAuth()
		used = append(used, password)
	}
	if diff := cmp.Diff([]string{"one", "one", "two"}, used); diff != "" {
		t.Error(diff)
	}
}
