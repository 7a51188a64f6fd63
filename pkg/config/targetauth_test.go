package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func block(kind string, der []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// selfSigned is a certificate that ends at a time, and its key.
func selfSigned(t testing.TB, end time.Time) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "joinery"}, NotBefore: end.Add(-24 * time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	certificate = block("CERTIFICATE", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(private)
	return certificate, block("PRIVATE KEY", der, err)
}

func unsigned(exp time.Time) string {
	payload := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, exp.Unix()))
	return "e30." + payload + ".c2ln"
}

var (
	soon  = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	later = time.Date(2028, 1, 31, 12, 0, 0, 0, time.UTC)
)

// credentials are the files of a folder.
func credentials(t testing.TB) map[string]string {
	certificate, key := selfSigned(t, soon)
	_, other := selfSigned(t, soon)
	old, _ := selfSigned(t, later)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"client.pem": certificate, "client.key": key, "other.key": other, "ca.pem": certificate + old,
		"rsa.key":     block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private), nil),
		"broken.pem":  block("CERTIFICATE", []byte("hunter2"), nil),
		"nothing.pem": "hunter2", "token": unsigned(later), "opaque": "hunter2", "key": "Bearer " + unsigned(soon),
	}
}

func authFolder(t testing.TB, content map[string]string, endpoint, auth string) string {
	t.Helper()
	content = maps.Clone(content)
	content["targets/acme.yaml"] = "target: acme\nendpoint: " + endpoint + "\nassign: true\nauth:\n" + auth + userName
	return files(t, content)
}

func TestEveryWayToATargetIsRead(t *testing.T) {
	content := credentials(t)
	file := func(dir, name string) *Secret { return &Secret{File: filepath.Join(dir, name)} }
	for name, row := range map[string]struct {
		auth string
		want func(dir string) TargetAuth
	}{
		"a certificate alone": {
			"  mtls: { certificate: { file: client.pem }, key: { file: client.key } }\n  server_name: scim.internal\n  ca: { file: ca.pem }\n",
			func(dir string) TargetAuth {
				return TargetAuth{
					MTLS: &MTLS{Certificate: *file(dir, "client.pem"), Key: *file(dir, "client.key")},
					CA:   file(dir, "ca.pem"), ServerName: "scim.internal",
				}
			},
		},
		"a certificate beside a token": {
			"  bearer: { file: token }\n  mtls: { certificate: { file: client.pem }, key: { file: client.key } }\n  expires: 2027-03-31\n",
			func(dir string) TargetAuth {
				return TargetAuth{
					Bearer: file(dir, "token"), MTLS: &MTLS{Certificate: *file(dir, "client.pem"), Key: *file(dir, "client.key")},
					Expires: "2027-03-31", Ends: time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC),
				}
			},
		},
		"a signed assertion": {
			"  oauth2_client_credentials:\n    token_url: https://login.example/token\n    client_id: a\n    private_key_jwt: { key: { file: client.key }, kid: k1, algorithm: ES256, audience: https://login.example, lifetime: 2m }\n",
			func(dir string) TargetAuth {
				return TargetAuth{OAuth2: &OAuth2{TokenURL: "https://login.example/token", ClientID: "a", PrivateKeyJWT: &PrivateKeyJWT{
					Key: *file(dir, "client.key"), KeyID: "k1", Algorithm: "ES256", Audience: "https://login.example", Lifetime: 2 * time.Minute,
				}}}
			},
		},
		"what an assertion is by default": {
			"  oauth2_client_credentials: { token_url: https://login.example/token, client_id: a, private_key_jwt: { key: { file: rsa.key } } }\n",
			func(dir string) TargetAuth {
				return TargetAuth{OAuth2: &OAuth2{TokenURL: "https://login.example/token", ClientID: "a", PrivateKeyJWT: &PrivateKeyJWT{
					Key: *file(dir, "rsa.key"), Algorithm: "RS256", Lifetime: time.Minute,
				}}}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := authFolder(t, content, "https://acme.example", row.auth)
			got := loaded(t, dir).Targets["acme"].Auth
			if diff := cmp.Diff(row.want(dir), got, plainly); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsWrongWithAWayToATargetIsSaidWithItsLine(t *testing.T) {
	content := credentials(t)
	oauth := "  oauth2_client_credentials:\n    token_url: https://login.example/token\n    client_id: a\n"
	pair := func(certificate, key string) string {
		return "  mtls:\n    certificate: { file: " + certificate + " }\n    key: { file: " + key + " }\n"
	}
	for name, row := range map[string]struct{ endpoint, auth, want string }{
		"no way but settings":      {"", "  server_name: a\n  expires: 2027-01-01\n", "5:3: auth is empty: one of bearer, basic, header, oauth2_client_credentials, mtls is needed"},
		"two ways":                 {"", "  bearer: { file: token }\n  header: { name: X-Key, value: { file: key } }\n" + pair("client.pem", "client.key"), "5:3: auth names bearer and header: one is needed"},
		"key of another":           {"", pair("client.pem", "other.key"), "7:10: this is not the private key of the certificate, in PEM and without a passphrase"},
		"no certificate":           {"", pair("nothing.pem", "client.key"), "6:18: there is no certificate in PEM"},
		"broken certificate":       {"", pair("broken.pem", "client.key"), "6:18: a certificate in it cannot be read"},
		"missing file":             {"", pair("gone.pem", "client.key"), "6:18: the file gone.pem cannot be read"},
		"no key":                   {"", "  mtls: { certificate: { file: client.pem } }\n", "5:9: key is missing"},
		"no authority":             {"", "  bearer: { file: token }\n  ca: { file: nothing.pem }\n", "6:7: there is no certificate in PEM"},
		"no day":                   {"", "  bearer: { file: token }\n  expires: next year\n", `6:12: "next year" is not a day: write one as in 2027-03-31`},
		"over http":                {"http://acme.example", "  bearer: { file: token }\n  server_name: a\n", "2:11: mtls, ca and server_name mean nothing over http: write https://"},
		"no proof of the client":   {"", oauth, "6:5: it is not said how the client proves itself: write client_secret or private_key_jwt"},
		"two proofs of the client": {"", oauth + "    client_secret: { file: opaque }\n    private_key_jwt: { key: { file: rsa.key } }\n", "9:22: the client proves itself in one way: write client_secret or private_key_jwt"},
		"RSA key for ES256":        {"", oauth + "    private_key_jwt: { key: { file: rsa.key }, algorithm: ES256 }\n", "8:29: this key cannot sign with ES256: RS256 and PS256 need an RSA key of 2048 bits or more, ES256 one of P-256"},
		"no private key":           {"", oauth + "    private_key_jwt: { key: { file: opaque } }\n", "8:29: this is not a private key in PEM (without a passphrase) or as a JSON Web Key"},
		"shared secret":            {"", oauth + "    private_key_jwt: { key: { file: rsa.key }, algorithm: HS256 }\n", `8:59: "HS256" is not allowed here: write RS256 or PS256 or ES256 (did you mean RS256?)`},
		"long assertion":           {"", oauth + "    private_key_jwt: { key: { file: rsa.key }, lifetime: 1h }\n", "8:58: 1h is too much: at most 5m"},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := row.endpoint
			if endpoint == "" {
				endpoint = "https://acme.example"
			}
			_, err := Load(authFolder(t, content, endpoint, row.auth), environment)
			if want := "targets/acme.yaml:" + row.want; err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("a secret is shown")
			}
		})
	}
}

func TestTheEndOfEveryCredentialIsSeen(t *testing.T) {
	content := credentials(t)
	dir := authFolder(t, content, "https://acme.example", "  bearer: { file: token }\n  mtls: { certificate: { file: client.pem }, key: { file: client.key } }\n"+
		"  ca: { file: ca.pem }\n  expires: 2027-02-01\n")
	auth := loaded(t, dir).Targets["acme"].Auth
	got, err := auth.Expiries()
	want := []Expiry{
		{"client certificate", soon},
		{"credential (expires)", time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)},
		{"bearer token", later},
		{"certificate authority", later}, // the old one beside it does not count
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	// A token that was rotated is seen without another load.
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "client.pem")); err != nil {
		t.Fatal(err)
	}
	got, err = auth.Expiries()
	if diff := cmp.Diff([]Expiry{want[1], want[3]}, got); diff != "" {
		t.Error(diff)
	}
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error("a certificate that is gone was not told of:", err)
	}
	dir = authFolder(t, content, "https://acme.example", "  header: { name: X-Key, value: { file: key } }\n")
	if got, err = loaded(t, dir).Targets["acme"].Auth.Expiries(); err != nil || len(got) != 1 || !got[0].At.Equal(soon) {
		t.Error(got, err)
	}
}
