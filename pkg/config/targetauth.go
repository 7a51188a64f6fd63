package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/token"
)

// TargetAuth is how Joinery and a target prove who they are. One way is set; a
// client certificate may stand beside another.
type TargetAuth struct {
	Bearer     *Secret `yaml:"bearer" doc:"A bearer token."`
	Basic      *Basic  `yaml:"basic" doc:"A user name and a password."`
	Header     *Header `yaml:"header" doc:"A header of the target's own."`
	OAuth2     *OAuth2 `yaml:"oauth2_client_credentials" doc:"A token fetched with the OAuth 2.0 client credentials grant."`
	MTLS       *MTLS   `yaml:"mtls" doc:"A client certificate: alone, or beside another way."`
	CA         *Secret `yaml:"ca" doc:"The certificate authorities that the target's certificate must be from, in PEM, in the place of the system's."`
	ServerName string  `yaml:"server_name" doc:"The name in the target's certificate, where it is not the endpoint's host."`
	Expires    string  `yaml:"expires" doc:"The day on which the credential ends, as in 2027-03-31, where Joinery cannot see it itself."`

	// Ends is Expires: the first moment of that day, UTC. Zero where it is not set.
	Ends time.Time
}

// Header is a header with a secret in it.
type Header struct {
	Name  string `yaml:"name" need:"true" doc:"The header's name."`
	Value Secret `yaml:"value" need:"true" doc:"The header's value."`
}

// OAuth2 is the client credentials grant (RFC 6749 section 4.4).
type OAuth2 struct {
	TokenURL      string         `yaml:"token_url" need:"true" doc:"Where tokens are fetched."`
	ClientID      string         `yaml:"client_id" need:"true" doc:"The client's id."`
	ClientSecret  *Secret        `yaml:"client_secret" doc:"The client's secret."`
	PrivateKeyJWT *PrivateKeyJWT `yaml:"private_key_jwt" doc:"A signature instead of a secret (RFC 7523)."`
	Scopes        []string       `yaml:"scopes" max:"32" doc:"The scopes to ask for."`
}

// PrivateKeyJWT is client authentication by a signed assertion (RFC 7523 section
// 2.2).
type PrivateKeyJWT struct {
	Key       Secret        `yaml:"key" need:"true" doc:"The private key, in PEM or as a JSON Web Key."`
	KeyID     string        `yaml:"kid" doc:"The key's name at the authorization server. Without it, that of the JSON Web Key, if it has one."`
	Algorithm string        `yaml:"algorithm" enum:"RS256 PS256 ES256" default:"RS256" doc:"The signature algorithm."`
	Audience  string        `yaml:"audience" doc:"Who is to believe the assertion, word for word. Without it, token_url."`
	Lifetime  time.Duration `yaml:"lifetime" default:"1m" min:"10s" max:"5m" doc:"How long an assertion is valid; each request has a new one."`
}

// MTLS is a client certificate.
type MTLS struct {
	Certificate Secret `yaml:"certificate" need:"true" doc:"The certificate in PEM, with those between it and the authority behind it."`
	Key         Secret `yaml:"key" need:"true" doc:"Its private key in PEM."`
}

func (t *Target) checkAuth(d *decoder) {
	a := &t.Auth
	if d.given("auth") {
		d.one("auth", *a, a.beside()...)
	}
	if a.Header != nil {
		d.header("auth.header.name", a.Header.Name)
	}
	if a.OAuth2 != nil {
		a.OAuth2.check(d, "auth.oauth2_client_credentials")
	}
	if a.MTLS != nil {
		a.MTLS.check(d, "auth.mtls")
	}
	if a.CA != nil {
		if certificates, err := secretly(*a.CA, "auth.ca", d); err == nil && len(certificates) == 0 {
			d.wrong("auth.ca", "there is no certificate in PEM")
		}
	}
	if t.overTLS() && strings.HasPrefix(strings.ToLower(t.Endpoint), "http:") {
		d.wrong("endpoint", "mtls, ca and server_name mean nothing over http: write https://")
	}
	a.checkExpires(d)
}

// overTLS tells whether something is set that only TLS can keep.
func (t *Target) overTLS() bool {
	return t.Auth.MTLS != nil || t.Auth.CA != nil || t.Auth.ServerName != ""
}

// beside are the keys that are no way of proving who we are, or need not be the
// only one.
func (a *TargetAuth) beside() []string {
	keys := []string{"ca", "server_name", "expires"}
	if a.Bearer != nil || a.Basic != nil || a.Header != nil || a.OAuth2 != nil {
		keys = append(keys, "mtls")
	}
	return keys
}

func (a *TargetAuth) checkExpires(d *decoder) {
	if a.Expires == "" {
		return
	}
	at, err := time.Parse(time.DateOnly, a.Expires)
	if err != nil {
		d.wrong("auth.expires", "%q is not a day: write one as in 2027-03-31", a.Expires)
		return
	}
	a.Ends = at
}

func (o *OAuth2) check(d *decoder, path string) {
	d.webAddress(path+".token_url", o.TokenURL)
	switch {
	case d.given(path+".client_secret") && d.given(path+".private_key_jwt"):
		d.wrong(path+".private_key_jwt", "the client proves itself in one way: write client_secret or private_key_jwt")
	case !d.given(path+".client_secret") && !d.given(path+".private_key_jwt"):
		d.wrong(path, "it is not said how the client proves itself: write client_secret or private_key_jwt")
	}
	if o.PrivateKeyJWT != nil {
		o.PrivateKeyJWT.check(d, path+".private_key_jwt")
	}
}

func (p *PrivateKeyJWT) check(d *decoder, path string) {
	key, err := p.Key.Read()
	if err != nil || p.Algorithm == "" { // reported when it was read
		return
	}
	switch _, err := token.NewSigner([]byte(key), p.KeyID, p.Algorithm); {
	case errors.Is(err, token.ErrKeyAlgorithm):
		d.wrong(path+".key", "this key cannot sign with %s: RS256 and PS256 need an RSA key of 2048 bits or more, ES256 one of P-256", p.Algorithm)
	case err != nil:
		d.wrong(path+".key", "this is not a private key in PEM (without a passphrase) or as a JSON Web Key")
	}
}

func (m *MTLS) check(d *decoder, path string) {
	certificates, err := secretly(m.Certificate, path+".certificate", d)
	if err != nil {
		return
	}
	key, err := m.Key.Read()
	if err != nil {
		return
	}
	text, err := m.Certificate.Read()
	if err != nil {
		return
	}
	if len(certificates) == 0 {
		d.wrong(path+".certificate", "there is no certificate in PEM")
		return
	}
	if _, err := tls.X509KeyPair([]byte(text), []byte(key)); err != nil {
		d.wrong(path+".key", "this is not the private key of the certificate, in PEM and without a passphrase")
	}
}

// secretly reads certificates, and reports those that cannot be read.
func secretly(s Secret, path string, d *decoder) ([]*x509.Certificate, error) {
	if _, err := s.Read(); err != nil {
		return nil, err // reported when it was read
	}
	certificates, err := certificatesOf(s)
	if err != nil {
		d.wrong(path, "a certificate in it cannot be read")
	}
	return certificates, err
}

// maxCertificates bounds the certificates of a file: the system's own authorities
// are about 150.
const maxCertificates = 1000

func certificatesOf(s Secret) ([]*x509.Certificate, error) {
	text, err := s.Read()
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for rest := []byte(text); len(out) < maxCertificates; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("a certificate cannot be read")
		}
		out = append(out, c)
	}
	return out, nil
}

// Expiry is when a credential ends.
type Expiry struct {
	// Credential says which, in words that hold nothing of it.
	Credential string
	At         time.Time
}

// Expiries are the ends of what is set, as far as they can be seen, the first
// one first: client certificates and authorities, bearer tokens and keys in
// headers that are JSON Web Tokens, and the day that the file names. It reads the
// secrets as they are now; err joins those that cannot be read.
func (a TargetAuth) Expiries() (out []Expiry, err error) {
	var problems []error
	see := func(credential string, at time.Time, err error) {
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("read the %s: %w", credential, err))
		case !at.IsZero():
			out = append(out, Expiry{Credential: credential, At: at.UTC()})
		}
	}
	see("credential (expires)", a.Ends, nil)
	if a.Bearer != nil {
		at, err := endOfToken(*a.Bearer)
		see("bearer token", at, err)
	}
	if a.Header != nil {
		at, err := endOfToken(a.Header.Value)
		see("header", at, err)
	}
	if a.MTLS != nil {
		// A chain ends with its first certificate that does.
		at, err := endOf(a.MTLS.Certificate, func(x, y time.Time) bool { return x.Before(y) })
		see("client certificate", at, err)
	}
	if a.CA != nil {
		// An old authority beside its successor may end.
		at, err := endOf(*a.CA, func(x, y time.Time) bool { return x.After(y) })
		see("certificate authority", at, err)
	}
	slices.SortStableFunc(out, func(x, y Expiry) int { return x.At.Compare(y.At) })
	return out, errors.Join(problems...)
}

func endOfToken(s Secret) (time.Time, error) {
	text, err := s.Read()
	if err != nil {
		return time.Time{}, err
	}
	if scheme, rest, two := strings.Cut(text, " "); two && strings.EqualFold(scheme, "bearer") {
		text = rest
	}
	at, _ := token.Expiry(text)
	return at, nil
}

func endOf(s Secret, better func(x, y time.Time) bool) (at time.Time, err error) {
	certificates, err := certificatesOf(s)
	for _, c := range certificates {
		if at.IsZero() || better(c.NotAfter, at) {
			at = c.NotAfter
		}
	}
	return at, err
}
