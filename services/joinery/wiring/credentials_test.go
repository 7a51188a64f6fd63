package wiring

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/telemetry"
)

// pair is a certificate for everything that signs itself, and its key.
func pair(t *testing.T, name string, end time.Time) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: end.Add(-60 * 24 * time.Hour), NotAfter: end, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// folder is a configuration of one target, read from files.
func folder(t *testing.T, files map[string]string) *config.Folder {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := config.Load(dir, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestATargetIsReachedByItsFileWithACertificateAndASignedAssertion(t *testing.T) {
	ours, ourKey := pair(t, "joinery", time.Now().Add(24*time.Hour))
	theirs, theirKey := pair(t, "scim.internal", time.Now().Add(24*time.Hour))
	asked := 0
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.PostFormValue("client_assertion") == "" || r.PostFormValue("client_id") != "joinery" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"access_token":"granted","expires_in":600}`)
	}))
	defer tokens.Close()
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(ours)
	own, err := tls.X509KeyPair(theirs, theirKey)
	if err != nil {
		t.Fatal(err)
	}
	target := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer granted" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"id":"1","userName":"`+r.TLS.PeerCertificates[0].Subject.CommonName+`"}`)
	}))
	target.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	target.StartTLS()
	defer target.Close()
	f := folder(t, map[string]string{
		"us.pem": string(ours), "us.key": string(ourKey), "ca.pem": string(theirs),
		"targets/acme.yaml": "target: acme\nassign: true\nusers: [{ to: userName, from: identity.email }]\nallow_private: true\nendpoint: " + target.URL + `
auth:
  oauth2_client_credentials:
    token_url: ` + tokens.URL + `
    client_id: joinery
    private_key_jwt: { key: { file: us.key }, algorithm: ES256 }
  mtls: { certificate: { file: us.pem }, key: { file: us.key } }
  ca: { file: ca.pem }
  server_name: scim.internal
`,
	})
	c, err := Client(f.Targets["acme"])
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r, err := c.Get(t.Context(), scim.Users, "1")
		if err != nil || r["userName"] != "joinery" {
			t.Error(r, err)
		}
	}
	if asked != 1 {
		t.Errorf("%d tokens", asked)
	}
}

func TestACredentialThatEndsIsToldOfOnceADayFromThirtyDaysBefore(t *testing.T) {
	end := time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC)
	f := folder(t, map[string]string{
		"token":             "opaque",
		"targets/acme.yaml": "target: acme\nassign: true\nusers: [{ to: userName, from: identity.email }]\nendpoint: https://acme.example\nauth: { bearer: { file: token }, expires: 2027-03-31 }\n",
	})
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "test", Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	e := ends{
		seconds: tel.Metrics.Gauge("joinery_target_credential_expiry_seconds", "x", "target", "credential"),
		warn: func(_ context.Context, target, credential, says string) {
			said = append(said, fmt.Sprintf("%s: %s %s", target, credential, says))
		},
		failed: func(_ context.Context, target string, err error) { said = append(said, target+": "+err.Error()) },
		told:   map[[2]string]time.Time{}, shown: map[[2]string]bool{},
	}
	for _, before := range []time.Duration{31 * 24 * time.Hour, 30 * 24 * time.Hour, 30*24*time.Hour - time.Hour, 30*24*time.Hour - 2*time.Hour, 28 * 24 * time.Hour, time.Hour, -48 * time.Hour} {
		e.look(t.Context(), f, end.Add(-before))
	}
	want := []string{
		"acme: credential (expires) ends on 2027-03-31 (in 29 days)",
		"acme: credential (expires) ends on 2027-03-31 (in 28 days)",
		"acme: credential (expires) ends on 2027-03-31 (within a day)",
		"acme: credential (expires) ended on 2027-03-31 (2 days ago)",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
	series := func() string {
		out := httptest.NewRecorder()
		tel.Metrics.Handler().ServeHTTP(out, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return lineWith(out.Body.String(), `joinery_target_credential_expiry_seconds{`)
	}
	if got, want := series(), `joinery_target_credential_expiry_seconds{credential="credential (expires)",target="acme"} -172800`; got != want {
		t.Error(got)
	}
	e.look(t.Context(), &config.Folder{}, end)
	if got := series(); got != "" || len(e.told) != 0 {
		t.Error("a target that is gone is still shown:", got)
	}
}

func lineWith(text, prefix string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func TestACredentialThatCannotBeReadIsToldOf(t *testing.T) {
	gone := config.Target{Name: "acme", Auth: config.TargetAuth{Bearer: &config.Secret{File: filepath.Join(t.TempDir(), "gone")}}}
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "test", Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	failed := ""
	e := ends{
		seconds: tel.Metrics.Gauge("x", "x", "target", "credential"),
		failed:  func(_ context.Context, target string, _ error) { failed = target },
		told:    map[[2]string]time.Time{}, shown: map[[2]string]bool{},
	}
	e.look(t.Context(), &config.Folder{Targets: map[string]config.Target{"acme": gone}}, time.Now())
	if failed != "acme" {
		t.Error("nobody was told")
	}
}
