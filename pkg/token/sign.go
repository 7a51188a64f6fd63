package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Why nothing can be signed with a key. Neither says anything of the key.
var (
	ErrNoPrivateKey = errors.New("there is no private key for signatures, in PEM or as a JSON Web Key")
	ErrKeyAlgorithm = errors.New("the private key is not one for the algorithm")
)

// SigningAlgorithms are those that a Signer can have.
func SigningAlgorithms() []string { return []string{"RS256", "PS256", "ES256"} }

// Signer signs tokens with a private key. It is safe for concurrent use.
type Signer struct{ signer jose.Signer }

// NewSigner reads a private key: PEM (PKCS #8, PKCS #1 or SEC 1, unencrypted) or
// a JSON Web Key. name is the key's, as the header's kid; "" takes that of a JSON
// Web Key, if it has one. It fails with ErrNoPrivateKey or ErrKeyAlgorithm.
func NewSigner(key []byte, name, algorithm string) (*Signer, error) {
	private, named, err := privateKey(key)
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = named
	}
	whole := jose.JSONWebKey{Key: private, KeyID: name}
	public := whole.Public()
	if !slices.Contains(SigningAlgorithms(), algorithm) || !verifies(public) || !fits(public, algorithm) {
		return nil, ErrKeyAlgorithm
	}
	signing := jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: whole}
	signer, err := jose.NewSigner(signing, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, ErrKeyAlgorithm
	}
	return &Signer{signer: signer}, nil
}

// Sign makes a token of claims, in compact serialization.
func (s *Signer) Sign(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", errors.New("encode the claims of a token")
	}
	signed, err := s.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed.CompactSerialize()
}

// privateKey reads a key, and its name where it has one.
func privateKey(data []byte) (key any, name string, err error) {
	if block := keyBlock(data); block != nil {
		key, err := parsePrivate(block.Bytes)
		return key, "", err
	}
	var k jose.JSONWebKey
	if k.UnmarshalJSON(data) != nil || !k.Valid() || k.IsPublic() || (k.Use != "" && k.Use != "sig") {
		return nil, "", ErrNoPrivateKey
	}
	if !private(k.Key) {
		return nil, "", ErrNoPrivateKey
	}
	return k.Key, k.KeyID, nil
}

// keyBlock is the first block of a private key: files of EC keys begin with their
// parameters.
func keyBlock(data []byte) *pem.Block {
	for {
		block, rest := pem.Decode(data)
		if block == nil || strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block
		}
		data = rest
	}
}

func parsePrivate(der []byte) (any, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil && private(key) {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, ErrNoPrivateKey
}

func private(key any) bool {
	switch key.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		return true
	default:
		return false
	}
}

// Expiry is when a token that is given to us says that it ends. It is false for
// a text that is no JSON Web Token or does not say. Nothing is verified: it is
// for tokens that we hold ourselves.
func Expiry(text string) (time.Time, bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Expires *float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expires == nil {
		return time.Time{}, false
	}
	// Beyond the year 9999 no date can be written.
	if *claims.Expires < 0 || *claims.Expires > 253402300799 || math.IsNaN(*claims.Expires) {
		return time.Time{}, false
	}
	return time.Unix(int64(*claims.Expires), 0).UTC(), true
}
