package scimhttp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// ErrForbiddenAddress: the target's name leads to an address that no target may
// have.
var ErrForbiddenAddress = errors.New("the target is at an address inside our own network; set allow_private if that is meant")

// forbidden are the networks that a target may not be in: what belongs to the
// machine, the site, the link or the cloud's metadata, and every form in which
// IPv6 can spell an IPv4 address. The standard library's IsPrivate misses most.
func forbidden() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"::/128", "::1/128", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
		"2002::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// Permitted tells whether a target may be at the address.
func Permitted(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return false
	}
	for _, network := range forbidden() {
		if network.Contains(addr) {
			return false
		}
	}
	return true
}

// NewTransport is the transport to a target. It checks the very address it
// dials, after the name was resolved, so that no answer of a name server can
// lead inside; it uses no proxy and TLS 1.2 or newer.
func NewTransport(allowPrivate bool, concurrency int) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if !allowPrivate {
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !Permitted(at.Addr()) {
				return ErrForbiddenAddress
			}
			return nil
		}
	}
	return &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: concurrency, MaxConnsPerHost: 0, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 0, ExpectContinueTimeout: time.Second,
		MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true, Proxy: nil,
	}
}

func safeTransport(o Options) http.RoundTripper {
	if o.TLS != nil {
		return NewTLSTransport(o.AllowPrivate, o.Concurrency, *o.TLS)
	}
	return NewTransport(o.AllowPrivate, o.Concurrency)
}
