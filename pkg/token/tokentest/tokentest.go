// Package tokentest owns issuers for tests: they sign tokens, and publish the
// keys that verify them.
package tokentest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Key is a private key with its name.
type Key struct {
	Name      string
	Algorithm string
	Private   any
}

// NewKey makes a key for an algorithm: RS256, PS256, ES256, ES384 or EdDSA.
func NewKey(t testing.TB, name, algorithm string) Key {
	t.Helper()
	var private any
	var err error
	switch algorithm {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Key{Name: name, Algorithm: algorithm, Private: private}
}

// Sign makes a token of a type ("" for none) with the claims.
func (k Key) Sign(t testing.TB, kind string, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return k.SignBytes(t, kind, payload)
}

// SignBytes makes a token whose payload is exactly the bytes.
func (k Key) SignBytes(t testing.TB, kind string, payload []byte) string {
	t.Helper()
	options := &jose.SignerOptions{}
	if kind != "" {
		options.WithType(jose.ContentType(kind))
	}
	signing := jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: k.Private}
	if k.Name != "" {
		signing.Key = jose.JSONWebKey{Key: k.Private, KeyID: k.Name}
	}
	signer, err := jose.NewSigner(signing, options)
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

// Public is the key as a set publishes it.
func (k Key) Public(t testing.TB) json.RawMessage {
	t.Helper()
	key := jose.JSONWebKey{Key: k.Private, KeyID: k.Name, Algorithm: k.Algorithm, Use: "sig"}
	public := key.Public()
	data, err := public.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Set is a key set of the keys' public halves.
func Set(t testing.TB, keys ...Key) []byte {
	t.Helper()
	set := map[string]any{}
	list := []json.RawMessage{}
	for _, k := range keys {
		list = append(list, k.Public(t))
	}
	set["keys"] = list
	data, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Issuer publishes a key set, over HTTP without a network. It is an
// http.RoundTripper and an http.Handler, and safe for concurrent use.
type Issuer struct {
	mu      sync.Mutex
	set     []byte
	status  int
	failure error
	fetches int
}

// Publish puts a key set in the place of what was there.
func (i *Issuer) Publish(set []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.set, i.status, i.failure = set, http.StatusOK, nil
}

// Fail makes every fetch fail with err, or, where that is nil, with the status.
func (i *Issuer) Fail(status int, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.failure = status, err
}

// Fetches counts how often the set was asked for.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// RoundTrip implements http.RoundTripper.
func (i *Issuer) RoundTrip(req *http.Request) (*http.Response, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fetches++
	if i.failure != nil {
		return nil, i.failure
	}
	return &http.Response{
		StatusCode: i.status, Header: http.Header{"Location": {"https://elsewhere.example/"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(string(i.set))),
	}, nil
}

// ServeHTTP implements http.Handler.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	res, err := i.RoundTrip(req)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = res.Body.Close() }()
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, res.Body)
}
