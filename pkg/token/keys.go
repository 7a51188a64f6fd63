package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/joinery/joinery/pkg/fault"
)

// Place is where a key set is: at a URL or in a file.
type Place struct {
	URL, File string
	// AllowPrivate lets the URL lead into our own network.
	AllowPrivate bool
}

// pace is how often a set is read.
//
//	the set was read              a key that is in it   one that is not
//	less than again ago           is used               ErrUnavailable: it may be new; ErrKey where
//	                                                    it was read for this very key
//	less than fresh ago           is used               the set is read again
//	less than usable ago          the set is read again; what it was holds where that fails
//	longer ago, or never          the set is read again; ErrUnavailable where that fails
//
// Whatever is asked, the set is read no more often than every again: a flood of
// forgeries costs the issuer nothing.
type pace struct{ fresh, again, usable time.Duration }

// An issuer publishes a new key before it signs with it, and may withdraw one at
// any time; it may also be away for a while. Files cost nothing to read.
var (
	overHTTP = pace{fresh: 10 * time.Minute, again: 30 * time.Second, usable: time.Hour}
	fromFile = pace{fresh: 30 * time.Second, again: time.Second, usable: time.Hour}
)

// fetchTimeout bounds the reading of a set: a sender waits for it.
const fetchTimeout = 5 * time.Second

// Keys is a key set as it was last read. It is read when a key is asked for, by
// whoever asks first; others wait for the same reading. It is safe for
// concurrent use.
type Keys struct {
	read func(ctx context.Context) ([]byte, error)
	// told is called after each reading.
	told func(ctx context.Context, err error)
	pace pace

	mu   sync.Mutex
	keys []jose.JSONWebKey
	// fetched is when the set was last read whole, tried when reading last began.
	fetched, tried time.Time
	failure        error
	// missing is the name for which the set was last read in vain.
	missing string
	// reading is closed when the reading under way ends; nil where none is.
	reading chan struct{}
}

// NewKeys are the keys at a place. Those at a URL are fetched over transport,
// which must be as careful about addresses as the place says. told, where it is
// not nil, hears how each reading of the set ended.
func NewKeys(p Place, transport http.RoundTripper, told func(ctx context.Context, err error)) *Keys {
	if told == nil {
		told = func(context.Context, error) {}
	}
	if p.File != "" {
		return &Keys{pace: fromFile, told: told, read: func(context.Context) ([]byte, error) { return readFile(p.File) }}
	}
	client := &http.Client{
		Transport: transport, Timeout: fetchTimeout,
		// Where the operator's URL leads to is the operator's to say.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Keys{pace: overHTTP, told: told, read: func(ctx context.Context) ([]byte, error) { return fetch(ctx, client, p.URL) }}
}

// find is the keys of a name, or all of them where the name is "".
func (k *Keys) find(ctx context.Context, name string) ([]jose.JSONWebKey, error) {
	found, need := k.look(name)
	if need == enough {
		return found, nil
	}
	k.mu.Lock()
	reading := k.reading
	switch {
	case reading != nil && need == better:
		k.mu.Unlock()
		return found, nil
	case reading != nil:
		k.mu.Unlock()
		return k.wait(ctx, reading, name)
	case time.Since(k.tried) < k.pace.again:
		defer k.mu.Unlock()
		switch {
		case need == better:
			return found, nil
		case k.failure == nil && k.missing != "" && name == k.missing:
			return nil, ErrKey
		}
		return nil, k.unavailable()
	}
	k.reading, k.tried = make(chan struct{}), time.Now()
	k.mu.Unlock()
	k.renew(ctx, name)
	return k.settled(name)
}

// need is how much another reading of the set is wanted.
type need int

const (
	enough need = iota // the keys are there, and fresh
	better             // the keys are there, and grow old
	all                // the keys are not there, or too old
)

func (k *Keys) look(name string) ([]jose.JSONWebKey, need) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, age := k.named(name), time.Since(k.fetched)
	switch {
	case len(found) == 0 || age >= k.pace.usable:
		return nil, all
	case age >= k.pace.fresh:
		return found, better
	default:
		return found, enough
	}
}

func (k *Keys) named(name string) []jose.JSONWebKey {
	if name == "" {
		return k.keys
	}
	var out []jose.JSONWebKey
	for _, key := range k.keys {
		if key.KeyID == name {
			out = append(out, key)
		}
	}
	return out
}

// renew reads the set, because a name is asked for. It does so for all who wait:
// that the one who asked first has gone away ends nothing.
func (k *Keys) renew(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	data, err := k.read(ctx)
	var keys []jose.JSONWebKey
	if err == nil {
		keys, err = parseSet(data)
	}
	k.told(ctx, err)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failure = err; err == nil {
		k.keys, k.fetched, k.missing = keys, time.Now(), ""
		if len(k.named(name)) == 0 {
			k.missing = name
		}
	}
	close(k.reading)
	k.reading = nil
}

func (k *Keys) wait(ctx context.Context, reading <-chan struct{}, name string) ([]jose.JSONWebKey, error) {
	select {
	case <-reading:
		found, err := k.settled(name)
		if errors.Is(err, ErrKey) {
			// That reading may have begun before the key was published.
			k.mu.Lock()
			defer k.mu.Unlock()
			err = k.unavailable()
		}
		return found, err
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the keys: %w", errors.Join(ErrUnavailable, ctx.Err()))
	}
}

// settled is the answer after the set was read, well or not.
func (k *Keys) settled(name string) ([]jose.JSONWebKey, error) {
	found, need := k.look(name)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case need != all:
		return found, nil
	case k.failure != nil:
		return nil, k.unavailable()
	default:
		return nil, ErrKey
	}
}

// unavailable says when the set can be read again, and why it could not be.
func (k *Keys) unavailable() error {
	pause := max(k.pace.again-time.Since(k.tried), time.Second)
	if k.failure != nil {
		return fault.Retry(pause, fmt.Errorf("read the keys: %w: %w", ErrUnavailable, k.failure))
	}
	return fault.Retry(pause, fmt.Errorf("look for a new key: %w: they were read a moment ago", ErrUnavailable))
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxSet {
		return nil, fmt.Errorf("read the key set: it is not a file of at most %d KiB", maxSet>>10)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	return data, nil
}

func fetch(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, errors.New("the URL of the key set is no URL")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch the key set: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch the key set: the answer is %d", res.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxSet+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("fetch the key set: %w", err)
	case len(data) > maxSet:
		return nil, fmt.Errorf("fetch the key set: it is larger than %d KiB", maxSet>>10)
	}
	return data, nil
}
