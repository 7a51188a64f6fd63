package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

const (
	// maxSet bounds a key set in bytes: a hundred RSA keys with certificates.
	maxSet = 256 << 10
	// maxKeys bounds the keys of a set. Issuers have a handful, and keep old ones
	// for a while.
	maxKeys = 100
	// minModulus is the least size of an RSA key in bits (RFC 7518 section 3.3).
	minModulus = 2048
)

// ErrNoKeys means that a text is no key set, or that there is none in it that
// could verify anything.
var ErrNoKeys = errors.New("there is no key set with a public key for signatures")

// CheckSet tells whether data is a key set (RFC 7517 section 5) with at least
// one public key that can verify a signature; else ErrNoKeys.
func CheckSet(data []byte) error {
	_, err := parseSet(data)
	return err
}

// parseSet reads the keys that can verify. What it does not understand it leaves
// out, as RFC 7517 section 5 says; so it does with private and shared keys, which
// have no business in a set that others can read.
func parseSet(data []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(data) > maxSet || json.Unmarshal(data, &set) != nil || len(set.Keys) > maxKeys {
		return nil, ErrNoKeys
	}
	var out []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(raw); err == nil && verifies(key) {
			out = append(out, key)
		}
	}
	if len(out) == 0 {
		return nil, ErrNoKeys
	}
	return out, nil
}

func verifies(key jose.JSONWebKey) bool {
	if (key.Use != "" && key.Use != "sig") || !key.Valid() {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= minModulus
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	default:
		return false
	}
}

// fits tells whether a key is one for the algorithm. The key decides, not the
// token: a token that names another family is refused whatever its bytes are.
func fits(key jose.JSONWebKey, algorithm string) bool {
	if key.Algorithm != "" && key.Algorithm != algorithm {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return algorithm == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[public.Curve.Params().BitSize]
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	default:
		return false
	}
}
