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
)

// Secret reads a secret where it is kept, so that a changed one is picked up.
type Secret func() (string, error)

// Authenticator puts a credential on a request.
type Authenticator interface {
	Authorize(ctx context.Context, req *http.Request) error
}

// Refresher is an Authenticator that can get a new credential when one is
// refused.
type Refresher interface {
	Refresh(ctx context.Context) error
}

// Bearer sends a bearer token.
type Bearer struct{ Token Secret }

// Authorize implements Authenticator.
func (b Bearer) Authorize(_ context.Context, req *http.Request) error {
	return setSecret(req, "Authorization", "Bearer ", b.Token)
}

// Header sends an API key in a header of its own.
type Header struct {
	Name  string
	Value Secret
}

// Authorize implements Authenticator.
func (h Header) Authorize(_ context.Context, req *http.Request) error {
	return setSecret(req, h.Name, "", h.Value)
}

func setSecret(req *http.Request, name, prefix string, secret Secret) error {
	value, err := secret()
	if err != nil {
		return fmt.Errorf("read the credential: %w", err)
	}
	if value == "" || strings.ContainsAny(value, "\r\n") {
		return errors.New("the credential is empty or holds a line break")
	}
	req.Header.Set(name, prefix+value)
	return nil
}

// Basic sends a user name and a password.
type Basic struct {
	Username string
	Password Secret
}

// Authorize implements Authenticator.
func (b Basic) Authorize(_ context.Context, req *http.Request) error {
	password, err := b.Password()
	if err != nil {
		return fmt.Errorf("read the credential: %w", err)
	}
	req.SetBasicAuth(b.Username, password)
	return nil
}

// ClientCredentials gets tokens by the OAuth 2.0 client credentials grant (RFC
// 6749 section 4.4). A token is kept until shortly before it expires, and one
// request gets it for all.
type ClientCredentials struct {
	TokenURL     string
	ClientID     string
	ClientSecret Secret
	Scopes       []string
	// Transport reaches the token endpoint; it must be as safe as the target's.
	Transport http.RoundTripper

	mu      sync.Mutex
	token   string
	expires time.Time
}

// refreshEarly is how long before its end a token is replaced.
const refreshEarly = time.Minute

// Authorize implements Authenticator.
func (c *ClientCredentials) Authorize(ctx context.Context, req *http.Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == "" || time.Now().After(c.expires) {
		if err := c.fetch(ctx); err != nil {
			return err
		}
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	return nil
}

// Refresh implements Refresher.
func (c *ClientCredentials) Refresh(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fetch(ctx)
}

func (c *ClientCredentials) fetch(ctx context.Context) error {
	secret, err := c.ClientSecret()
	if err != nil {
		return fmt.Errorf("read the client secret: %w", err)
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(c.Scopes) > 0 {
		form.Set("scope", strings.Join(c.Scopes, " "))
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return errors.New("the token URL is no URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(secret))
	res, err := c.Transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask for a token: %w", plainCause(err))
	}
	defer func() { _ = res.Body.Close() }()
	var granted struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the token endpoint answered %d", res.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&granted); err != nil || granted.AccessToken == "" {
		return errors.New("the token endpoint gave no token")
	}
	life := time.Duration(granted.ExpiresIn) * time.Second
	if life <= 0 {
		life = 5 * time.Minute
	}
	c.token, c.expires = granted.AccessToken, time.Now().Add(max(life-refreshEarly, life/2))
	return nil
}
