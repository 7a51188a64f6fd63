package scimhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/joinery/joinery/pkg/fault"
)

// Secret reads a secret where it is kept, so that a changed one is picked up.
type Secret func() (string, error)

// Authenticator puts a credential on a request.
type Authenticator interface {
	Authorize(ctx context.Context, req *http.Request) error
}

// Refresher is an Authenticator that can get a new credential when one is
// refused: the value of the Authorization header that the target did not take.
// Where there is a newer one already, it gets none.
type Refresher interface {
	Refresh(ctx context.Context, refused string) error
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

// errAway: the token endpoint could not be asked, which says nothing of the
// credential.
var errAway = errors.New("the token endpoint is away")

// unauthorized marks a request that got no credential: the target is down, but
// where only the token endpoint is away, the request is tried again.
func unauthorized(err error) error {
	err = fmt.Errorf("authorize a request: %w", err)
	if errors.Is(err, errAway) {
		return fault.Retry(fault.Pause(err), err)
	}
	return fault.Mark(fault.TargetDown, err)
}
