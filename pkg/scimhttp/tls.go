package scimhttp

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// TLS is how we and a target know each other. The zero value is the usual:
// the system's certificate authorities, the URL's host name, no certificate of
// ours.
type TLS struct {
	// Certificate and Key prove who we are: a chain in PEM, ours first, and its
	// private key in PEM. Both nil send none.
	Certificate, Key Secret
	// CA replaces the system's certificate authorities: certificates in PEM. nil
	// keeps them.
	CA Secret
	// ServerName is the name in the target's certificate, where it is not the host
	// of its URL.
	ServerName string
}

// Why a TLS setting cannot be used.
var (
	ErrPair = errors.New("the certificate and the private key are not a pair in PEM")
	ErrCA   = errors.New("there is no certificate in PEM among the certificate authorities")
)

// Config reads the files. The error wraps ErrPair, ErrCA or that of reading.
func (t TLS) Config() (*tls.Config, error) {
	config, _, err := t.read()
	return config, err
}

// read is the configuration, and a digest of what it was made of.
func (t TLS) read() (*tls.Config, [sha256.Size]byte, error) {
	config, digest := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}, sha256.New()
	var sum [sha256.Size]byte
	text := func(s Secret) ([]byte, error) {
		if s == nil {
			return nil, nil
		}
		value, err := s()
		fmt.Fprintf(digest, "%d %s", len(value), value)
		return []byte(value), err
	}
	certificate, err := text(t.Certificate)
	if err != nil {
		return nil, sum, fmt.Errorf("read the client certificate: %w", err)
	}
	key, err := text(t.Key)
	if err != nil {
		return nil, sum, fmt.Errorf("read the key of the client certificate: %w", err)
	}
	authorities, err := text(t.CA)
	if err != nil {
		return nil, sum, fmt.Errorf("read the certificate authorities: %w", err)
	}
	if t.Certificate != nil {
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, sum, ErrPair // the cause may show a part of the key
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if t.CA != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, sum, ErrCA
		}
	}
	return config, [sha256.Size]byte(digest.Sum(nil)), nil
}

// Look is how often the files of TLS are looked at for changes.
const Look = 15 * time.Second

// rotating is a transport whose certificates follow their files. Requests under
// way end over the connections that they have.
type rotating struct {
	tls TLS
	// make gives a transport without a configuration of TLS.
	make func() *http.Transport

	mu     sync.Mutex
	inner  *http.Transport
	digest [sha256.Size]byte
	looked time.Time
}

// RoundTrip implements http.RoundTripper. Where the files cannot be read, what
// they held before goes on to be used: a file may be half written.
func (r *rotating) RoundTrip(req *http.Request) (*http.Response, error) {
	inner, err := r.current()
	if err != nil {
		return nil, err
	}
	return inner.RoundTrip(req)
}

func (r *rotating) current() (*http.Transport, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inner != nil && time.Since(r.looked) < Look {
		return r.inner, nil
	}
	config, digest, err := r.tls.read()
	switch {
	case err != nil && r.inner == nil:
		return nil, err
	case err == nil && (r.inner == nil || digest != r.digest):
		if r.inner != nil {
			r.inner.CloseIdleConnections()
		}
		r.inner, r.digest = r.make(), digest
		r.inner.TLSClientConfig = config
	}
	r.looked = time.Now()
	return r.inner, nil
}

// CloseIdleConnections lets http.Client close what is open.
func (r *rotating) CloseIdleConnections() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inner != nil {
		r.inner.CloseIdleConnections()
	}
}

// NewTLSTransport is NewTransport with certificates that follow their files:
// they are looked at every 15 seconds.
func NewTLSTransport(allowPrivate bool, concurrency int, t TLS) http.RoundTripper {
	return &rotating{tls: t, make: func() *http.Transport { return NewTransport(allowPrivate, concurrency) }}
}
