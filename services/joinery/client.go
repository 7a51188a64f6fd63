package joinery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// client speaks to the console's API.
type client struct {
	base  string
	token string
	http  *http.Client
}

// console adds the flags that name the console, and gives the client they name.
func (t *terminal) console(c *cobra.Command) func() *client {
	base := c.PersistentFlags().String("console", env("JOINERY_CONSOLE", "http://127.0.0.1:8081"),
		"address of the console (JOINERY_CONSOLE)")
	token := c.PersistentFlags().String("token", "", "console token (default: JOINERY_CONSOLE_TOKEN)")
	return func() *client {
		secret := *token
		if secret == "" {
			secret = os.Getenv("JOINERY_CONSOLE_TOKEN")
		}
		return &client{base: strings.TrimRight(*base, "/"), token: secret, http: &http.Client{Timeout: 30 * time.Second}}
	}
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// problem is the console's answer to a request that it cannot fulfil (RFC 9457).
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func (p problem) Error() string { return fmt.Sprintf("%s: %s", p.Title, p.Detail) }

// get reads path into out.
func (c *client) get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, nil, out)
}

// post sends body to path and reads the answer into out.
func (c *client) post(ctx context.Context, path string, body, out any) error {
	return c.do(ctx, http.MethodPost, path, body, out)
}

func (c *client) do(ctx context.Context, method, path string, body, out any) error {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode a request: %w", err)
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/api/v1"+path, payload)
	if err != nil {
		return usage("console address: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("reach the console at %s: %w; is `joinery up` running, or is --console wrong?", c.base, err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("read the console's answer: %w", err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		return refusal(res.StatusCode, data)
	}
	if raw, ok := out.(*json.RawMessage); ok {
		*raw = data
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("read the console's answer: %w", err)
	}
	return nil
}

func refusal(status int, data []byte) error {
	var p problem
	if err := json.Unmarshal(data, &p); err != nil || p.Title == "" {
		return fmt.Errorf("the console answered %d", status)
	}
	p.Status = status
	return p
}

// isNotFound tells whether the console knows no such thing.
func isNotFound(err error) bool {
	var p problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}

// whoami names the person at the terminal, for the record.
func whoami() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

func escape(s string) string { return url.PathEscape(s) }
