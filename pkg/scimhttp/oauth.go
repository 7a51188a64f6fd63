package scimhttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/token"
	"golang.org/x/sync/singleflight"
)

// ClientCredentials gets tokens by the OAuth 2.0 client credentials grant (RFC
// 6749 section 4.4). A token is kept until shortly before it expires, and one
// request gets it for all who wait, however many there are:
//
//	the token has                it is
//	more than refreshEarly left  used
//	less                         used, while one request gets the next
//	come to its end, or is none  waited for
//	been refused by the target   got anew once, by whoever was refused first
type ClientCredentials struct {
	TokenURL string
	ClientID string
	// ClientSecret is sent by HTTP Basic. Where Assertion is set, it is not used.
	ClientSecret Secret
	// Assertion proves who the client is by a signature instead.
	Assertion *Assertion
	Scopes    []string
	// Transport reaches the token endpoint; it must be as safe as the target's.
	Transport http.RoundTripper

	flight singleflight.Group
	mu     sync.Mutex
	held   grant
}

// grant is a token as it was given.
type grant struct {
	token         string
	renew, expire time.Time
}

// How long tokens are used.
const (
	// refreshEarly is how long before its end a token is replaced. Of one that
	// lives shortly, half its life.
	refreshEarly = time.Minute
	// untold is the life of a token whose answer does not tell it.
	untold = 5 * time.Minute
	// longest is the life of a token that we believe in: beyond, the number is a
	// mistake.
	longest = 30 * 24 * time.Hour
	// fetchTimeout bounds a request for a token: everything waits for it.
	fetchTimeout = 15 * time.Second
)

// Authorize implements Authenticator.
func (c *ClientCredentials) Authorize(ctx context.Context, req *http.Request) error {
	c.mu.Lock()
	held := c.held
	c.mu.Unlock()
	now := time.Now()
	switch {
	case held.token == "" || !now.Before(held.expire):
		var err error
		if held, err = c.wait(ctx); err != nil {
			return err
		}
	case !now.Before(held.renew):
		c.start(ctx) // it arrives before this one ends; a failure is met by those who wait for it then
	}
	req.Header.Set("Authorization", "Bearer "+held.token)
	return nil
}

// Refresh implements Refresher.
func (c *ClientCredentials) Refresh(ctx context.Context, refused string) error {
	c.mu.Lock()
	newer := c.held.token != "" && "Bearer "+c.held.token != refused
	c.mu.Unlock()
	if newer {
		return nil
	}
	_, err := c.wait(ctx)
	return err
}

// start gets a token for all, once at a time. That the one who asked first has
// gone away ends nothing.
func (c *ClientCredentials) start(ctx context.Context) <-chan singleflight.Result {
	return c.flight.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		got, err := c.fetch(ctx)
		if err != nil {
			return got, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.held = got
		return got, nil
	})
}

func (c *ClientCredentials) wait(ctx context.Context) (grant, error) {
	select {
	case r := <-c.start(ctx):
		got, _ := r.Val.(grant)
		return got, r.Err
	case <-ctx.Done():
		return grant{}, fmt.Errorf("wait for a token: %w: %w", errAway, ctx.Err())
	}
}

func (c *ClientCredentials) fetch(ctx context.Context) (grant, error) {
	req, err := c.request(ctx)
	if err != nil {
		return grant{}, err
	}
	res, err := c.Transport.RoundTrip(req)
	if err != nil {
		return grant{}, fmt.Errorf("ask for a token: %w: %w", errAway, plainCause(err))
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return grant{}, refusedToken(res)
	}
	var granted struct {
		AccessToken string  `json:"access_token"`
		TokenType   string  `json:"token_type"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&granted); err != nil || granted.AccessToken == "" {
		return grant{}, errors.New("the token endpoint gave no token")
	}
	if strings.ContainsAny(granted.AccessToken, "\r\n") || (granted.TokenType != "" && !strings.EqualFold(granted.TokenType, "bearer")) {
		return grant{}, errors.New("the token endpoint gave a token that is no bearer token")
	}
	return lived(granted.AccessToken, granted.ExpiresIn, time.Now()), nil
}

// refusedToken is what an answer without a token means: a client that is not
// known stops the target, an authorization server that is away does not.
func refusedToken(res *http.Response) error {
	pause, _ := retryAfter(res.Header, time.Now())
	switch {
	case res.StatusCode == http.StatusTooManyRequests, res.StatusCode >= http.StatusInternalServerError, res.StatusCode == http.StatusRequestTimeout:
		return fault.Retry(pause, fmt.Errorf("%w: it answered %d", errAway, res.StatusCode))
	}
	return fmt.Errorf("the token endpoint answered %d", res.StatusCode)
}

// lived is a token with the times that follow from its life in seconds.
func lived(token string, seconds float64, now time.Time) grant {
	life := untold
	if seconds > 0 {
		life = time.Duration(min(seconds, longest.Seconds()) * float64(time.Second))
	}
	return grant{token: token, renew: now.Add(max(life-refreshEarly, life/2)), expire: now.Add(life)}
}

func (c *ClientCredentials) request(ctx context.Context) (*http.Request, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(c.Scopes) > 0 {
		form.Set("scope", strings.Join(c.Scopes, " "))
	}
	secret := ""
	var err error
	if c.Assertion != nil {
		err = c.Assertion.add(form, c.ClientID, c.TokenURL, time.Now())
	} else if secret, err = c.ClientSecret(); err != nil {
		err = fmt.Errorf("read the client secret: %w", err)
	}
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("the token URL is no URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if c.Assertion == nil {
		req.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(secret))
	}
	return req, nil
}

// Assertion proves who a client is with a signed token (RFC 7523 sections 2.2
// and 3). Each request has one of its own.
type Assertion struct {
	// Key is a private key in PEM or as a JSON Web Key.
	Key Secret
	// KeyID is the key's name at the authorization server; "" sends none but that
	// of a JSON Web Key.
	KeyID string
	// Algorithm is RS256, PS256 or ES256.
	Algorithm string
	// Audience is who is to believe it; "" is the token endpoint's URL.
	Audience string
	// Lifetime of an assertion: at most 5 minutes, which 0 means as well.
	Lifetime time.Duration
}

// MaxAssertion is the longest life of a client assertion: who finds one can use
// it so long.
const MaxAssertion = 5 * time.Minute

// assertionType is the value of client_assertion_type (RFC 7523 section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func (a *Assertion) add(form url.Values, client, endpoint string, now time.Time) error {
	key, err := a.Key()
	if err != nil {
		return fmt.Errorf("read the private key: %w", err)
	}
	signer, err := token.NewSigner([]byte(key), a.KeyID, a.Algorithm)
	if err != nil {
		return fmt.Errorf("read the private key: %w", err)
	}
	life := a.Lifetime
	if life <= 0 || life > MaxAssertion {
		life = MaxAssertion
	}
	audience := a.Audience
	if audience == "" {
		audience = endpoint
	}
	signed, err := signer.Sign(map[string]any{
		"iss": client, "sub": client, "aud": audience, "jti": uuid.NewString(),
		"iat": now.Unix(), "exp": now.Add(life).Unix(),
	})
	if err != nil {
		return fmt.Errorf("sign the client assertion: %w", err)
	}
	form.Set("client_id", client)
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", signed)
	return nil
}
