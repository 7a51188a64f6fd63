package token_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/joinery/joinery/pkg/token"
	"github.com/joinery/joinery/pkg/token/tokentest"
)

// written is a private key in the forms that tools write.
func written(t *testing.T, key tokentest.Key) map[string][]byte {
	t.Helper()
	block := func(kind string, der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	der, err := x509.MarshalPKCS8PrivateKey(key.Private)
	out := map[string][]byte{"PKCS #8": block("PRIVATE KEY", der, err)}
	switch private := key.Private.(type) {
	case *rsa.PrivateKey:
		out["PKCS #1"] = block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private), nil)
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(private)
		out["SEC 1"] = append(block("EC PARAMETERS", []byte{6, 0}, nil), block("EC PRIVATE KEY", der, err)...)
	}
	web, err := jose.JSONWebKey{Key: key.Private, KeyID: key.Name}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	out["JWK"] = web
	return out
}

func TestWhatIsSignedWithAnyFormOfAKeyIsVerified(t *testing.T) {
	for _, algorithm := range token.SigningAlgorithms() {
		key := tokentest.NewKey(t, "k1", algorithm)
		issuer := &tokentest.Issuer{}
		issuer.Publish(tokentest.Set(t, key))
		for form, text := range written(t, key) {
			name := "k1"
			if form == "JWK" {
				name = "" // it names itself
			}
			signer, err := token.NewSigner(text, name, algorithm)
			if err != nil {
				t.Fatal(algorithm, form, err)
			}
			signed, err := signer.Sign(claims(nil))
			if err != nil {
				t.Fatal(err)
			}
			verifier := trusting(issuer)
			verifier.Algorithms = []string{algorithm}
			if _, err := verifier.Verify(t.Context(), signed, "jwt"); err != nil {
				t.Error(algorithm, form, err)
			}
		}
	}
}

func TestAKeyThatDoesNotFitSignsNothing(t *testing.T) {
	rsaKey, ecKey := tokentest.NewKey(t, "r", "RS256"), tokentest.NewKey(t, "e", "ES256")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := func(private any) []byte { return written(t, tokentest.Key{Private: private})["PKCS #8"] }
	for name, row := range map[string]struct {
		key       []byte
		algorithm string
		want      error
	}{
		"RSA key for ES256":  {of(rsaKey.Private), "ES256", token.ErrKeyAlgorithm},
		"EC key for PS256":   {of(ecKey.Private), "PS256", token.ErrKeyAlgorithm},
		"other curve":        {of(p384), "ES256", token.ErrKeyAlgorithm},
		"shared secret":      {of(rsaKey.Private), "HS256", token.ErrKeyAlgorithm},
		"no algorithm":       {of(rsaKey.Private), "none", token.ErrKeyAlgorithm},
		"RSA key of 1024":    {of(small), "RS256", token.ErrKeyAlgorithm},
		"public key":         {ecKey.Public(t), "ES256", token.ErrNoPrivateKey},
		"symmetric JWK":      {[]byte(`{"kty":"oct","k":"c2VjcmV0"}`), "RS256", token.ErrNoPrivateKey},
		"encryption JWK":     {encryptionKey(t, rsaKey), "RS256", token.ErrNoPrivateKey},
		"something else":     {[]byte("hunter2"), "RS256", token.ErrNoPrivateKey},
		"damaged PEM":        {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), "RS256", token.ErrNoPrivateKey},
		"certificate only":   {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), "RS256", token.ErrNoPrivateKey},
		"nothing whatsoever": {nil, "RS256", token.ErrNoPrivateKey},
	} {
		if _, err := token.NewSigner(row.key, "", row.algorithm); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func encryptionKey(t *testing.T, key tokentest.Key) []byte {
	t.Helper()
	web, err := json.Marshal(jose.JSONWebKey{Key: key.Private, Use: "enc"})
	if err != nil {
		t.Fatal(err)
	}
	return web
}

func TestTheEndOfATokenIsReadAsItIsWritten(t *testing.T) {
	key := tokentest.NewKey(t, "", "ES256")
	at := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	if got, ok := token.Expiry(key.Sign(t, "", map[string]any{"exp": at.Unix()})); !ok || !got.Equal(at) {
		t.Error(got, ok)
	}
	for name, text := range map[string]string{
		"opaque": "xoxb-123", "no exp": key.Sign(t, "", map[string]any{"sub": "a"}), "text": key.Sign(t, "", map[string]any{"exp": "soon"}),
		"beyond dates": key.Sign(t, "", map[string]any{"exp": 1e300}), "not base64": "a.!.c", "not JSON": "a.YQ.c", "empty": "",
	} {
		if at, ok := token.Expiry(text); ok {
			t.Errorf("%s: %v", name, at)
		}
	}
}
