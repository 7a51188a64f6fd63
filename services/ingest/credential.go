package ingest

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// Credential proves that a request comes from a source. Comparisons take the
// same time whatever is wrong.
type Credential interface {
	// Presented tells from the header alone whether Admits could say yes; so
	// most of what is forged is refused before its body is read.
	Presented(h http.Header) bool
	// Admits tells whether the request is proved to come from the source. body
	// is exactly what was sent.
	Admits(h http.Header, body []byte) bool
	// Validate says what is wrong with the credential itself; it shows no secret.
	Validate() error
}

// HMAC is a signature: the SHA-256 HMAC of the raw body in a header, in hex or
// base64. Any of the secrets may sign, so that they can be rotated.
type HMAC struct {
	Header string
	// Prefix stands before the signature. Where it is empty, "sha256=" may.
	Prefix  string
	Secrets [][]byte
}

// Validate implements Credential.
func (c HMAC) Validate() error {
	var errs []error
	if strings.TrimSpace(c.Header) == "" {
		errs = append(errs, errors.New("hmac_sha256: no header is named"))
	}
	if len(c.Secrets) == 0 || slices.ContainsFunc(c.Secrets, func(secret []byte) bool { return len(secret) == 0 }) {
		errs = append(errs, errors.New("hmac_sha256: no secret, or an empty one"))
	}
	return errors.Join(errs...)
}

// Presented implements Credential.
func (c HMAC) Presented(h http.Header) bool {
	_, ok := c.signature(h)
	return ok
}

// Admits implements Credential.
func (c HMAC) Admits(h http.Header, body []byte) bool {
	got, ok := c.signature(h)
	if !ok {
		return false
	}
	admitted := false
	for _, secret := range c.Secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		admitted = hmac.Equal(mac.Sum(nil), got) || admitted
	}
	return admitted
}

func (c HMAC) signature(h http.Header) ([]byte, bool) {
	value, ok := only(h, c.Header)
	if !ok {
		return nil, false
	}
	if c.Prefix == "" {
		return decodeSignature(strings.TrimPrefix(value, "sha256="))
	}
	value, ok = strings.CutPrefix(value, c.Prefix)
	if !ok {
		return nil, false
	}
	return decodeSignature(value)
}

// decodeSignature reads 32 bytes in one of the usual encodings. It takes no
// second spelling of the same bytes: hex is in one case, base64 has no stray bits.
func decodeSignature(text string) ([]byte, bool) {
	decode := hex.DecodeString
	switch {
	case len(text) == hex.EncodedLen(sha256.Size):
		if text != strings.ToLower(text) && text != strings.ToUpper(text) {
			return nil, false
		}
	case strings.ContainsAny(text, "-_"):
		decode = base64.RawURLEncoding.Strict().DecodeString
	default:
		decode = base64.RawStdEncoding.Strict().DecodeString
	}
	sum, err := decode(strings.TrimSuffix(text, "="))
	return sum, err == nil && len(sum) == sha256.Size
}

// Bearer is a token in the header Authorization. Any of the tokens admits.
type Bearer struct{ Tokens []string }

// Validate implements Credential.
func (c Bearer) Validate() error {
	if len(c.Tokens) == 0 || slices.Contains(c.Tokens, "") {
		return errors.New("bearer: no token, or an empty one")
	}
	return nil
}

// Presented implements Credential.
func (c Bearer) Presented(h http.Header) bool { return c.Admits(h, nil) }

// Admits implements Credential.
func (c Bearer) Admits(h http.Header, _ []byte) bool {
	token, ok := authorization(h, "bearer")
	if !ok {
		return false
	}
	admitted := false
	for _, want := range c.Tokens {
		admitted = equal(token, want) || admitted
	}
	return admitted
}

// Basic is a user name and a password in the header Authorization.
type Basic struct{ Username, Password string }

// Validate implements Credential.
func (c Basic) Validate() error {
	if c.Username == "" || c.Password == "" || strings.Contains(c.Username, ":") {
		return errors.New("basic: user name or password is empty, or the user name holds a colon")
	}
	return nil
}

// Presented implements Credential.
func (c Basic) Presented(h http.Header) bool { return c.Admits(h, nil) }

// Admits implements Credential.
func (c Basic) Admits(h http.Header, _ []byte) bool {
	encoded, ok := authorization(h, "basic")
	if !ok {
		return false
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	return err == nil && equal(string(decoded), c.Username+":"+c.Password)
}

// authorization is what follows the scheme in the one Authorization header.
func authorization(h http.Header, scheme string) (string, bool) {
	value, ok := only(h, "Authorization")
	if !ok {
		return "", false
	}
	got, rest, ok := strings.Cut(value, " ")
	return strings.TrimSpace(rest), ok && strings.EqualFold(got, scheme)
}

// only is the value of a header that is there exactly once: proxies and
// frameworks differ in which of two they take.
func only(h http.Header, name string) (string, bool) {
	values := h.Values(name)
	if len(values) != 1 {
		return "", false
	}
	return values[0], values[0] != ""
}

// equal compares in a time that depends on neither the place of the first
// difference nor the lengths.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
