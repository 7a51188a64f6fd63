package scimhttp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
)

// identity is a certificate with its key, in PEM.
type identity struct {
	certificate, key string
	parsed           *x509.Certificate
	private          *ecdsa.PrivateKey
}

// issue makes a certificate of a name; issuer nil makes an authority.
func issue(t *testing.T, name string, issuer *identity) identity {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent, signing := template, private
	if issuer == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		parent, signing = issuer.parsed, issuer.private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signing)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return identity{
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})), parsed, private,
	}
}

// strict is a target that answers only clients of an authority, and tells who
// they are.
func strict(t *testing.T, authority identity, name string) *httptest.Server {
	t.Helper()
	own := issue(t, name, &authority)
	pair, err := tls.X509KeyPair([]byte(own.certificate), []byte(own.key))
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(authority.parsed)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"id":"1","userName":"`+r.TLS.PeerCertificates[0].Subject.CommonName+`"}`)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	s.Config.ErrorLog = nil
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// who asks the target who we are.
func who(t *testing.T, c *scimhttp.Client) (string, error) {
	t.Helper()
	r, err := c.Get(t.Context(), scim.Users, "1")
	name, _ := r["userName"].(string)
	return name, err
}

func TestATargetAndItsClientKnowEachOtherByTheirOwnAuthority(t *testing.T) {
	ours, theirs := issue(t, "ca", nil), issue(t, "other ca", nil)
	s := strict(t, ours, "scim.internal")
	us, stranger := issue(t, "joinery", &ours), issue(t, "joinery", &theirs)
	for name, row := range map[string]struct {
		tls  *scimhttp.TLS
		want string
	}{
		"known both ways":            {&scimhttp.TLS{Certificate: fixed(us.certificate), Key: fixed(us.key), CA: fixed(ours.certificate), ServerName: "scim.internal"}, "joinery"},
		"no certificate of ours":     {&scimhttp.TLS{CA: fixed(ours.certificate), ServerName: "scim.internal"}, ""},
		"certificate of another":     {&scimhttp.TLS{Certificate: fixed(stranger.certificate), Key: fixed(stranger.key), CA: fixed(ours.certificate), ServerName: "scim.internal"}, ""},
		"another authority":          {&scimhttp.TLS{Certificate: fixed(us.certificate), Key: fixed(us.key), CA: fixed(theirs.certificate), ServerName: "scim.internal"}, ""},
		"another name":               {&scimhttp.TLS{Certificate: fixed(us.certificate), Key: fixed(us.key), CA: fixed(ours.certificate), ServerName: "else.internal"}, ""},
		"the system's authorities":   {&scimhttp.TLS{Certificate: fixed(us.certificate), Key: fixed(us.key), ServerName: "scim.internal"}, ""},
		"the URL's host is no name":  {&scimhttp.TLS{Certificate: fixed(us.certificate), Key: fixed(us.key), CA: fixed(ours.certificate)}, ""},
		"nothing set but the system": {nil, ""},
	} {
		c, err := scimhttp.New(scimhttp.Options{Endpoint: s.URL, AllowPrivate: true, TLS: row.tls})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := who(t, c); got != row.want || (err == nil) != (row.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestCertificatesFollowTheirFiles(t *testing.T) {
	authority := issue(t, "ca", nil)
	s := strict(t, authority, "scim.internal")
	us := issue(t, "joinery-1", &authority)
	read := func(of func() string) scimhttp.Secret { return func() (string, error) { return of(), nil } }
	transport := scimhttp.NewTLSTransport(true, 1, scimhttp.TLS{
		Certificate: read(func() string { return us.certificate }), Key: read(func() string { return us.key }),
		CA: read(func() string { return authority.certificate }), ServerName: "scim.internal",
	})
	c, err := scimhttp.New(scimhttp.Options{Endpoint: s.URL, AllowPrivate: true, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		if got, err := who(t, c); got != want || err != nil {
			t.Errorf("%q, want %q: %v", got, want, err)
		}
	}
	expect("joinery-1")
	next := issue(t, "joinery-2", &authority)
	us.certificate = next.certificate // half of it: the key is still to come
	scimhttp.LookNow(transport)
	expect("joinery-1")
	us = next
	expect("joinery-1") // not looked at again yet
	scimhttp.LookNow(transport)
	expect("joinery-2")
	authority = issue(t, "new ca", nil)
	scimhttp.LookNow(transport)
	if _, err := who(t, c); err == nil {
		t.Error("an authority that is no longer trusted was believed")
	}
}

func TestCertificatesThatCannotBeUsedAreRefusedWithoutShowingThem(t *testing.T) {
	one, other := issue(t, "a", nil), issue(t, "b", nil)
	away := func() (string, error) { return "", errors.New("no file") }
	for name, row := range map[string]struct {
		tls  scimhttp.TLS
		want error
	}{
		"not a pair": {scimhttp.TLS{Certificate: fixed(one.certificate), Key: fixed(other.key)}, scimhttp.ErrPair},
		"no PEM":     {scimhttp.TLS{Certificate: fixed(secretToken), Key: fixed(secretToken)}, scimhttp.ErrPair},
		"no CA":      {scimhttp.TLS{CA: fixed(secretToken)}, scimhttp.ErrCA},
		"no file":    {scimhttp.TLS{CA: away}, nil},
	} {
		_, err := row.tls.Config()
		quiet(t, err)
		if err == nil || (row.want != nil && !errors.Is(err, row.want)) {
			t.Errorf("%s: %v", name, err)
		}
		c, _ := scimhttp.New(scimhttp.Options{Endpoint: "https://acme.example", TLS: &row.tls})
		if _, err := who(t, c); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	config, err := scimhttp.TLS{Certificate: fixed(one.certificate), Key: fixed(one.key)}.Config()
	if err != nil || config.MinVersion != tls.VersionTLS12 || len(config.Certificates) != 1 {
		t.Error(config, err)
	}
}
