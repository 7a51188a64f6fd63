package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// webAddress checks an http(s) URL that others are called by; "" is allowed.
// Messages never repeat it: what is wrong with it may be a password in it.
func (d *decoder) webAddress(path, text string) {
	if text == "" {
		return
	}
	if _, why := webURL(text); why != "" {
		d.wrong(path, "%s", why)
	}
}

// endpoint checks the base URL of a service provider, to which paths are added.
func (d *decoder) endpoint(path, text string, allowPrivate bool) {
	if text == "" { // reported as missing
		return
	}
	u, why := webURL(text)
	switch {
	case why != "":
		d.wrong(path, "%s", why)
	case u.RawQuery != "" || u.ForceQuery:
		d.wrong(path, "an endpoint has no query: resources are found by paths behind it")
	case !allowPrivate && private(u.Hostname()):
		d.wrong(path, "%s is a private address: if that is meant, write allow_private: true", u.Hostname())
	}
}

// webURL reads an absolute http(s) URL without user and fragment.
func webURL(text string) (u *url.URL, why string) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, "this is not a URL"
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, "this is not a web address: it must begin with https:// or http://"
	case u.User != nil:
		return nil, "a URL holds no user and no password here: no secret is ever written"
	case u.Hostname() == "" || !port(u.Port()):
		return nil, "the URL names no host, or a port that does not exist"
	case u.Fragment != "":
		return nil, "the URL must end before the #"
	}
	return u, ""
}

func port(text string) bool {
	if text == "" {
		return true
	}
	_, err := netip.ParseAddrPort("127.0.0.1:" + text)
	return err == nil
}

// private tells whether a host is, by its name alone, not on the internet.
func private(host string) bool {
	if host = strings.ToLower(strings.TrimSuffix(host, ".")); host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
}

// brokers checks the addresses of NATS servers.
func (d *decoder) brokers(path, text string) {
	for address := range strings.SplitSeq(text, ",") {
		u, err := url.Parse(strings.TrimSpace(address))
		switch {
		case err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			d.wrong(path, "this is not the address of a NATS server: write one like nats://host:4222, several with commas between")
		case u.User != nil:
			d.wrong(path, "an address holds no user and no password here: put them under credentials")
		}
	}
}

// hostPort checks host:port, as one calls it; "" is allowed.
func (d *decoder) hostPort(path, text string) {
	if text == "" {
		return
	}
	host, number, err := net.SplitHostPort(text)
	if err != nil || host == "" || number == "" || !port(number) {
		d.wrong(path, "%q is not host:port", text)
	}
}

// listenAddress checks host:port, as one listens on it: the host may be empty.
func (d *decoder) listenAddress(path, text string) {
	if _, number, err := net.SplitHostPort(text); err != nil || number == "" || !port(number) {
		d.wrong(path, "%q is not an address to listen on: write one like :8080", text)
	}
}
