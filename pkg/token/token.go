// Package token owns signed tokens: JSON Web Tokens in compact serialization
// (RFC 7515, RFC 7519), and the public keys that verify them (RFC 7517). It
// knows neither what a token is for nor what follows from it, and it is the one
// place that knows a JOSE library.
package token

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Why a token is refused. None of them says anything of the token's content.
var (
	ErrMalformed = errors.New("this is not a signed token")
	ErrType      = errors.New("the token is of another type")
	ErrAlgorithm = errors.New("the token is signed with an algorithm that is not allowed")
	ErrKey       = errors.New("the token is signed with a key that is not in the key set")
	ErrSignature = errors.New("the signature is not valid")
	ErrIssuer    = errors.New("the token is from another issuer")
	ErrAudience  = errors.New("the token is for another audience")
	ErrExpired   = errors.New("the token is not valid now")
)

// ErrUnavailable means that nothing can be said of the token, because the keys
// cannot be had now. The error in whose chain it is carries the pause after
// which it is worth trying again (fault.Pause).
var ErrUnavailable = errors.New("the keys cannot be had now")

const (
	// maxHeader bounds a token's header in bytes: it is read before anything is
	// proved, and holds a key's name and an algorithm.
	maxHeader = 8 << 10
	// maxUnnamed is how many keys are tried for a token that names none. Each
	// costs a verification to whoever sends a forged one.
	maxUnnamed = 8
	// skew is how far clocks may differ.
	skew = time.Minute
)

// Algorithms are the signature algorithms that can be allowed. All of them sign
// with a private key and verify with a public one: with a shared secret, or with
// none, whoever can read the key set could sign.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// DefaultAlgorithms are allowed where nothing else is said: those in use today.
func DefaultAlgorithms() []string { return []string{"RS256", "PS256", "ES256", "EdDSA"} }

// Verifier tells whether a token is what it claims to be. It is safe for
// concurrent use.
type Verifier struct {
	Keys *Keys
	// Issuer is what iss must be, word for word.
	Issuer string
	// Audience are the names that we go by: aud must hold one of them.
	Audience []string
	// Algorithms are allowed, of those that Algorithms lists.
	Algorithms []string
}

// Validate reports everything that is wrong with the settings.
func (v *Verifier) Validate() error {
	var errs []error
	if v.Keys == nil {
		errs = append(errs, errors.New("no keys"))
	}
	if v.Issuer == "" {
		errs = append(errs, errors.New("no issuer"))
	}
	if len(v.Audience) == 0 || slices.Contains(v.Audience, "") {
		errs = append(errs, errors.New("no audience, or an empty one"))
	}
	if len(v.Algorithms) == 0 {
		errs = append(errs, errors.New("no algorithm is allowed"))
	}
	for _, name := range v.Algorithms {
		if !slices.Contains(Algorithms(), name) {
			errs = append(errs, fmt.Errorf("algorithm %q is not one of %s", name, strings.Join(Algorithms(), ", ")))
		}
	}
	return errors.Join(errs...)
}

// Token is a token whose signature, type, issuer and audience are right.
type Token struct {
	// Claims is the payload as it was signed: the bytes of a JSON object.
	Claims []byte

	expires, begins *jwt.NumericDate
}

// Verify checks a token in compact serialization against one of the types that
// its header may claim ("secevent+jwt"; "" is a header without a type). It
// fails with one of the errors above. It does not judge exp and nbf; see
// Current.
func (v *Verifier) Verify(ctx context.Context, compact string, types ...string) (*Token, error) {
	signed, err := v.parse(compact)
	if err != nil {
		return nil, err
	}
	header := signed.Signatures[0].Protected
	if !slices.Contains(types, typeOf(header)) {
		return nil, ErrType
	}
	payload, err := v.open(ctx, signed, header)
	if err != nil {
		return nil, err
	}
	var claims jwt.Claims
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, ErrMalformed
	}
	switch {
	case claims.Issuer != v.Issuer:
		return nil, ErrIssuer
	case !slices.ContainsFunc(v.Audience, claims.Audience.Contains):
		return nil, ErrAudience
	}
	return &Token{Claims: payload, expires: claims.Expiry, begins: claims.NotBefore}, nil
}

// Plausible tells cheaply, and without proof, whether text could be a token that
// Verify takes: whether it has the form and an allowed algorithm.
func (v *Verifier) Plausible(text string) bool {
	_, err := v.parse(text)
	return err == nil
}

func (v *Verifier) parse(compact string) (*jose.JSONWebSignature, error) {
	if end := strings.IndexByte(compact, '.'); end < 0 || end > maxHeader {
		return nil, ErrMalformed
	}
	allowed := make([]jose.SignatureAlgorithm, len(v.Algorithms))
	for i, name := range v.Algorithms {
		allowed[i] = jose.SignatureAlgorithm(name)
	}
	signed, err := jose.ParseSignedCompact(compact, allowed)
	var unexpected *jose.ErrUnexpectedSignatureAlgorithm
	switch {
	case errors.As(err, &unexpected):
		return nil, ErrAlgorithm
	case err != nil || len(signed.Signatures) != 1:
		return nil, ErrMalformed
	}
	return signed, nil
}

// typeOf is the header's typ, without case and without the prefix that RFC 7515
// section 4.1.9 says to leave out.
func typeOf(h jose.Header) string {
	name, _ := h.ExtraHeaders[jose.HeaderType].(string)
	return strings.TrimPrefix(strings.ToLower(name), "application/")
}

// open verifies the signature with the keys that may have made it, and gives
// the payload.
func (v *Verifier) open(ctx context.Context, signed *jose.JSONWebSignature, header jose.Header) ([]byte, error) {
	named, err := v.Keys.find(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	var candidates []jose.JSONWebKey
	for _, key := range named {
		if fits(key, header.Algorithm) {
			candidates = append(candidates, key)
		}
	}
	if len(candidates) == 0 || (header.KeyID == "" && len(candidates) > maxUnnamed) {
		return nil, ErrKey
	}
	for _, key := range candidates {
		if payload, err := signed.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	return nil, ErrSignature
}

// Current tells whether the token may be used as a credential now: it says when
// it ends, and that is not over, nor is its beginning to come. Else ErrExpired.
func (t *Token) Current(now time.Time) error {
	if t.expires == nil || !now.Before(t.expires.Time().Add(skew)) {
		return ErrExpired
	}
	if t.begins != nil && now.Add(skew).Before(t.begins.Time()) {
		return ErrExpired
	}
	return nil
}
