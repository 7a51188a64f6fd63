package token_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/joinery/joinery/pkg/token"
	"github.com/joinery/joinery/pkg/token/tokentest"
)

const url = "https://issuer.example/jwks.json"

// trusting is a verifier of what an issuer publishes.
func trusting(issuer *tokentest.Issuer) *token.Verifier {
	return &token.Verifier{
		Keys: token.NewKeys(token.Place{URL: url}, issuer, nil), Issuer: "https://issuer.example",
		Audience: []string{"https://joinery.example", "joinery"}, Algorithms: token.DefaultAlgorithms(),
	}
}

// claims are right for trusting; change overwrites them, nil takes one out.
func claims(change map[string]any) map[string]any {
	out := map[string]any{"iss": "https://issuer.example", "aud": "joinery", "jti": "1"}
	for name, v := range change {
		if out[name] = v; v == nil {
			delete(out, name)
		}
	}
	return out
}

func publishing(t *testing.T, keys ...tokentest.Key) *tokentest.Issuer {
	issuer := &tokentest.Issuer{}
	issuer.Publish(tokentest.Set(t, keys...))
	return issuer
}

func TestTokensOfEveryUsualAlgorithmAreVerified(t *testing.T) {
	for _, algorithm := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		key := tokentest.NewKey(t, "k1", algorithm)
		v := trusting(publishing(t, tokentest.NewKey(t, "other", "ES256"), key))
		got, err := v.Verify(t.Context(), key.Sign(t, "secevent+jwt", claims(nil)), "secevent+jwt")
		if err != nil {
			t.Errorf("%s: %v", algorithm, err)
			continue
		}
		var back map[string]any
		if err := json.Unmarshal(got.Claims, &back); err != nil || back["jti"] != "1" {
			t.Errorf("%s: claims %s: %v", algorithm, got.Claims, err)
		}
	}
}

func TestWhatIsNotProvedIsRefused(t *testing.T) {
	key, thief := tokentest.NewKey(t, "k1", "RS256"), tokentest.NewKey(t, "k1", "RS256")
	curve := tokentest.NewKey(t, "curve", "ES256")
	big := tokentest.NewKey(t, "big", "ES384")
	set := tokentest.Set(t, key, curve, big)
	issuer := &tokentest.Issuer{}
	issuer.Publish(set)
	good := key.Sign(t, "secevent+jwt", claims(nil))
	parts := strings.Split(good, ".")
	private := jose.JSONWebKey{Key: key.Private}
	public, err := json.Marshal(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	shared := func(secret []byte) string {
		return tokentest.Key{Name: "k1", Algorithm: "HS256", Private: secret}.Sign(t, "secevent+jwt", claims(nil))
	}
	for _, row := range []struct {
		name  string
		token string
		want  error
	}{
		{"nothing", "", token.ErrMalformed},
		{"no token", "hello", token.ErrMalformed},
		{"two parts", parts[0] + "." + parts[1], token.ErrMalformed},
		{"four parts", good + ".x", token.ErrMalformed},
		{"an encrypted token's five parts", good + ".x.y", token.ErrMalformed},
		{"the JSON serialization", `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, token.ErrMalformed},
		{"a header without end", strings.Repeat("a", 9<<10) + "." + parts[1] + "." + parts[2], token.ErrMalformed},
		{"a header that names one thing twice", encode(`{"alg":"RS256","typ":"secevent+jwt","kid":"k1","alg":"none"}`) + "." + parts[1] + "." + parts[2], token.ErrMalformed},
		{"a critical extension nobody knows", encode(`{"alg":"RS256","typ":"secevent+jwt","kid":"k1","crit":["x"],"x":1}`) + "." + parts[1] + "." + parts[2], token.ErrSignature},
		{"algorithm none", encode(`{"alg":"none","typ":"secevent+jwt","kid":"k1"}`) + "." + parts[1] + ".", token.ErrAlgorithm},
		{"algorithm NONE", encode(`{"alg":"NONE","typ":"secevent+jwt","kid":"k1"}`) + "." + parts[1] + ".", token.ErrAlgorithm},
		{"no algorithm", encode(`{"typ":"secevent+jwt","kid":"k1"}`) + "." + parts[1] + "." + parts[2], token.ErrAlgorithm},
		{"the public key as a shared secret", shared(public), token.ErrAlgorithm},
		{"the key set as a shared secret", shared(set), token.ErrAlgorithm},
		{"an algorithm that is not allowed", tokentest.Key{Name: "k1", Algorithm: "RS512", Private: key.Private}.Sign(t, "secevent+jwt", claims(nil)), token.ErrAlgorithm},
		{"an algorithm of another key", tokentest.Key{Name: "curve", Algorithm: "RS256", Private: key.Private}.Sign(t, "secevent+jwt", claims(nil)), token.ErrKey},
		{"the other padding of the same key", tokentest.Key{Name: "k1", Algorithm: "PS256", Private: key.Private}.Sign(t, "secevent+jwt", claims(nil)), token.ErrKey},
		{"a curve too large for its algorithm", encode(`{"alg":"ES256","typ":"secevent+jwt","kid":"big"}`) + "." + parts[1] + "." + parts[2], token.ErrKey},
		{"another's key of the same name", thief.Sign(t, "secevent+jwt", claims(nil)), token.ErrSignature},
		{"another's key, brought along", embedded(t, thief), token.ErrSignature},
		{"no signature", parts[0] + "." + parts[1] + ".", token.ErrSignature},
		{"a changed payload", parts[0] + "." + encode(`{"iss":"https://issuer.example","aud":"joinery","jti":"2"}`) + "." + parts[2], token.ErrSignature},
		{"a changed header", encode(`{"alg":"RS256","typ":"secevent+jwt","kid":"k1","x":1}`) + "." + parts[1] + "." + parts[2], token.ErrSignature},
		{"another type", key.Sign(t, "jwt", claims(nil)), token.ErrType},
		{"no type", key.Sign(t, "", claims(nil)), token.ErrType},
		{"another issuer", key.Sign(t, "secevent+jwt", claims(map[string]any{"iss": "https://issuer.example/"})), token.ErrIssuer},
		{"no issuer", key.Sign(t, "secevent+jwt", claims(map[string]any{"iss": nil})), token.ErrIssuer},
		{"another audience", key.Sign(t, "secevent+jwt", claims(map[string]any{"aud": []string{"https://other.example"}})), token.ErrAudience},
		{"no audience", key.Sign(t, "secevent+jwt", claims(map[string]any{"aud": nil})), token.ErrAudience},
		{"an audience that is no text", key.Sign(t, "secevent+jwt", claims(map[string]any{"aud": []any{1}})), token.ErrMalformed},
		{"claims that are a list", key.SignBytes(t, "secevent+jwt", []byte(`[]`)), token.ErrMalformed},
		{"an issuer named twice", key.SignBytes(t, "secevent+jwt", []byte(`{"iss":"x","iss":"https://issuer.example","aud":"joinery"}`)), token.ErrMalformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := trusting(issuer).Verify(t.Context(), row.token, "secevent+jwt")
			if !errors.Is(err, row.want) || got != nil {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
}

// embedded is a token that brings the key along with which it was signed.
func embedded(t *testing.T, key tokentest.Key) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key.Private, KeyID: key.Name}},
		(&jose.SignerOptions{EmbedJWK: true}).WithType("secevent+jwt").WithHeader("kid", key.Name))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func TestTypeMayBeSpelledAsAMediaType(t *testing.T) {
	key := tokentest.NewKey(t, "k1", "ES256")
	v := trusting(publishing(t, key))
	for _, kind := range []string{"secevent+jwt", "SecEvent+JWT", "application/secevent+jwt"} {
		if _, err := v.Verify(t.Context(), key.Sign(t, kind, claims(nil)), "secevent+jwt"); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestKeyWithoutANameIsFoundByTrying(t *testing.T) {
	key := tokentest.NewKey(t, "", "ES256")
	v := trusting(publishing(t, tokentest.NewKey(t, "a", "ES256"), tokentest.NewKey(t, "b", "EdDSA"), key))
	if _, err := v.Verify(t.Context(), key.Sign(t, "secevent+jwt", claims(nil)), "secevent+jwt"); err != nil {
		t.Error(err)
	}
	var many []tokentest.Key
	for i := range 9 {
		many = append(many, tokentest.NewKey(t, fmt.Sprint(i), "ES256"))
	}
	v = trusting(publishing(t, append(many, key)...))
	if _, err := v.Verify(t.Context(), key.Sign(t, "secevent+jwt", claims(nil)), "secevent+jwt"); !errors.Is(err, token.ErrKey) {
		t.Errorf("ten keys are tried for a token that names none: %v", err)
	}
}

func TestCredentialHasABeginningAndAnEnd(t *testing.T) {
	key := tokentest.NewKey(t, "k1", "ES256")
	v := trusting(publishing(t, key))
	now := time.Now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for _, row := range []struct {
		name   string
		claims map[string]any
		want   error
	}{
		{"under way", map[string]any{"exp": at(time.Hour), "nbf": at(-time.Hour)}, nil},
		{"without a beginning", map[string]any{"exp": at(time.Hour)}, nil},
		{"a little over, as clocks differ", map[string]any{"exp": at(-30 * time.Second)}, nil},
		{"over", map[string]any{"exp": at(-2 * time.Minute)}, token.ErrExpired},
		{"to come", map[string]any{"exp": at(time.Hour), "nbf": at(2 * time.Minute)}, token.ErrExpired},
		{"without an end", nil, token.ErrExpired},
	} {
		got, err := v.Verify(t.Context(), key.Sign(t, "", claims(row.claims)), "", "jwt")
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Current(now); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, err, row.want)
		}
	}
}

func TestPlausibilityCostsNoFetch(t *testing.T) {
	issuer := &tokentest.Issuer{}
	v := trusting(issuer)
	key := tokentest.NewKey(t, "k1", "ES256")
	for text, want := range map[string]bool{
		key.Sign(t, "", claims(nil)): true, "opaque": false, "a.b.c": false, "": false,
		tokentest.Key{Algorithm: "HS256", Private: make([]byte, 32)}.Sign(t, "", claims(nil)): false,
	} {
		if got := v.Plausible(text); got != want {
			t.Errorf("%q: got %v", text, got)
		}
	}
	if n := issuer.Fetches(); n != 0 {
		t.Errorf("%d fetches", n)
	}
}

func TestKeySetsLeaveOutWhatCannotVerify(t *testing.T) {
	good := tokentest.NewKey(t, "k1", "ES256")
	private, err := json.Marshal(jose.JSONWebKey{Key: good.Private, KeyID: "k1"})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := json.Marshal(jose.JSONWebKey{Key: []byte("0123456789abcdef0123456789abcdef"), KeyID: "k1"})
	if err != nil {
		t.Fatal(err)
	}
	small := `{"kty":"RSA","kid":"small","e":"AQAB","n":"` + base64.RawURLEncoding.EncodeToString(append([]byte{0xc1}, make([]byte, 127)...)) + `"}`
	encryption := strings.Replace(string(good.Public(t)), `"use":"sig"`, `"use":"enc"`, 1)
	for name, bad := range map[string]string{
		"a private key": string(private), "a shared secret": string(secret), "a small key": small, "a key for encryption": encryption,
		"an unknown family": `{"kty":"XYZ","kid":"k1"}`, "no family": `{}`, "no key": `5`, "a curve without a point": `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`,
	} {
		if err := token.CheckSet([]byte(`{"keys":[` + bad + `]}`)); !errors.Is(err, token.ErrNoKeys) {
			t.Errorf("%s: got %v", name, err)
		}
		if err := token.CheckSet([]byte(`{"keys":[` + bad + `,` + string(good.Public(t)) + `]}`)); err != nil {
			t.Errorf("%s beside a good one: %v", name, err)
		}
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"keys":{}}`, `{"keys":[]}`, `{"keys":[` + strings.Repeat("{},", 100) + string(good.Public(t)) + `]}`, strings.Repeat(" ", 256<<10) + `{"keys":[]}`} {
		if err := token.CheckSet([]byte(bad)); !errors.Is(err, token.ErrNoKeys) {
			t.Errorf("%.40q: got %v", bad, err)
		}
	}
}

func TestSettingsAreValidatedAllAtOnce(t *testing.T) {
	err := (&token.Verifier{Audience: []string{""}, Algorithms: []string{"HS256", "none"}}).Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"no keys", "no issuer", "no audience", `algorithm "HS256" is not`, `algorithm "none" is not`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if err := trusting(&tokentest.Issuer{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestErrorsRepeatNothingOfTheToken(t *testing.T) {
	key := tokentest.NewKey(t, "k1", "ES256")
	v := trusting(publishing(t, key))
	for _, text := range []string{
		"canary.canary.canary",
		base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"canary"}`)) + ".x.y",
		tokentest.NewKey(t, "canary", "ES256").Sign(t, "secevent+jwt", claims(nil)),
		key.Sign(t, "canary", claims(nil)),
		key.Sign(t, "secevent+jwt", claims(map[string]any{"iss": "canary"})),
		key.Sign(t, "secevent+jwt", claims(map[string]any{"aud": "canary"})),
	} {
		if _, err := v.Verify(t.Context(), text, "secevent+jwt"); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%.30s: %v", text, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	key := tokentest.NewKey(f, "k1", "ES256")
	path := filepath.Join(dir, "jwks.json")
	if err := os.WriteFile(path, tokentest.Set(f, key), 0o600); err != nil {
		f.Fatal(err)
	}
	v := &token.Verifier{
		Keys: token.NewKeys(token.Place{File: path}, nil, nil), Issuer: "https://issuer.example",
		Audience: []string{"joinery"}, Algorithms: token.DefaultAlgorithms(),
	}
	good := key.Sign(f, "secevent+jwt", claims(nil))
	f.Add(good)
	f.Add("a.b.c")
	f.Add(`{"payload":""}`)
	payload := strings.Split(good, ".")[1]
	f.Fuzz(func(t *testing.T, text string) {
		got, err := v.Verify(t.Context(), text, "secevent+jwt")
		if err == nil && base64.RawURLEncoding.EncodeToString(got.Claims) != payload {
			t.Errorf("verified what was never signed: %s", got.Claims)
		}
	})
}
