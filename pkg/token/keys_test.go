package token_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/token"
	"github.com/joinery/joinery/pkg/token/tokentest"
)

// bench is an issuer and one who trusts it, on fake time.
type bench struct {
	*testing.T
	issuer   *tokentest.Issuer
	verifier *token.Verifier
}

func trial(t *testing.T, play func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &tokentest.Issuer{}
		play(t, &bench{t, issuer, trusting(issuer)})
	})
}

// verify is what becomes of a token that a key has signed just now.
func (b *bench) verify(key tokentest.Key) error {
	b.Helper()
	_, err := b.verifier.Verify(b.Context(), key.Sign(b.T, "secevent+jwt", claims(nil)), "secevent+jwt")
	return err
}

func (b *bench) expect(key tokentest.Key, want error, fetches int) {
	b.Helper()
	if err := b.verify(key); !errors.Is(err, want) || (want == nil && err != nil) {
		b.Errorf("got %v, want %v", err, want)
	}
	if n := b.issuer.Fetches(); n != fetches {
		b.Errorf("%d fetches, want %d", n, fetches)
	}
}

func TestKeysAreFetchedOnceAndKept(t *testing.T) {
	trial(t, func(t *testing.T, b *bench) {
		key := tokentest.NewKey(t, "k1", "ES256")
		b.issuer.Publish(tokentest.Set(t, key))
		for range 10 {
			b.expect(key, nil, 1)
		}
		<-time.After(10 * time.Minute)
		b.expect(key, nil, 2)
	})
}

func TestRotatedKeyIsFoundWithoutARestart(t *testing.T) {
	trial(t, func(t *testing.T, b *bench) {
		before, after := tokentest.NewKey(t, "k1", "ES256"), tokentest.NewKey(t, "k2", "ES256")
		b.issuer.Publish(tokentest.Set(t, before))
		b.expect(before, nil, 1)
		<-time.After(time.Minute)
		b.issuer.Publish(tokentest.Set(t, before, after))
		b.expect(after, nil, 2)
		b.expect(before, nil, 2)
		b.issuer.Publish(tokentest.Set(t, after))
		<-time.After(10 * time.Minute)
		b.expect(after, nil, 3)
		b.expect(before, token.ErrUnavailable, 3) // read a moment ago: it might be newer still
		<-time.After(30 * time.Second)
		b.expect(before, token.ErrKey, 4)
		b.expect(before, token.ErrKey, 4) // asked again, it is no other key
		<-time.After(30 * time.Second)
		b.expect(before, token.ErrKey, 5)
	})
}

func TestForgedSignaturesCostNoFetch(t *testing.T) {
	trial(t, func(t *testing.T, b *bench) {
		key, forged := tokentest.NewKey(t, "k1", "ES256"), tokentest.NewKey(t, "k1", "ES256")
		b.issuer.Publish(tokentest.Set(t, key))
		b.expect(key, nil, 1)
		text := forged.Sign(t, "secevent+jwt", claims(nil))
		for range 500 {
			if _, err := b.verifier.Verify(b.Context(), text, "secevent+jwt"); !errors.Is(err, token.ErrSignature) {
				t.Fatal(err)
			}
			<-time.After(time.Second)
		}
		b.expect(key, nil, 1)
	})
}

func TestFloodOfUnknownKeysIsFetchedForSeldom(t *testing.T) {
	trial(t, func(t *testing.T, b *bench) {
		key, unknown := tokentest.NewKey(t, "k1", "ES256"), tokentest.NewKey(t, "k9", "ES256")
		b.issuer.Publish(tokentest.Set(t, key))
		text := unknown.Sign(t, "secevent+jwt", claims(nil))
		for range 600 { // a minute
			_, err := b.verifier.Verify(b.Context(), text, "secevent+jwt")
			if !errors.Is(err, token.ErrKey) && !errors.Is(err, token.ErrUnavailable) {
				t.Fatal(err)
			}
			<-time.After(100 * time.Millisecond)
		}
		b.expect(key, nil, 2)
	})
}

func TestNothingIsVerifiedWithoutKeys(t *testing.T) {
	for name, fail := range map[string]func(*tokentest.Issuer){
		"the issuer is away":       func(i *tokentest.Issuer) { i.Fail(0, errors.New("connection refused")) },
		"an error":                 func(i *tokentest.Issuer) { i.Fail(http.StatusInternalServerError, nil) },
		"a page that has moved":    func(i *tokentest.Issuer) { i.Fail(http.StatusFound, nil) },
		"a set without keys":       func(i *tokentest.Issuer) { i.Publish([]byte(`{"keys":[]}`)) },
		"something else":           func(i *tokentest.Issuer) { i.Publish([]byte(`<html>`)) },
		"more than is taken":       func(i *tokentest.Issuer) { i.Publish([]byte(strings.Repeat(" ", 256<<10) + `{"keys":[]}`)) },
		"an answer without a body": func(i *tokentest.Issuer) { i.Fail(http.StatusNoContent, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			trial(t, func(t *testing.T, b *bench) {
				key := tokentest.NewKey(t, "k1", "ES256")
				fail(b.issuer)
				b.expect(key, token.ErrUnavailable, 1)
				<-time.After(10 * time.Second)
				b.expect(key, token.ErrUnavailable, 1)
				if pause := fault.Pause(b.verify(key)); pause != 20*time.Second {
					t.Errorf("told to wait %v", pause)
				}
				b.issuer.Publish(tokentest.Set(t, key))
				<-time.After(20 * time.Second)
				b.expect(key, nil, 2)
			})
		})
	}
}

func TestKeysOutliveAnAbsenceOfTheIssuerButNotForEver(t *testing.T) {
	trial(t, func(t *testing.T, b *bench) {
		key := tokentest.NewKey(t, "k1", "ES256")
		b.issuer.Publish(tokentest.Set(t, key))
		b.expect(key, nil, 1)
		b.issuer.Fail(http.StatusBadGateway, nil)
		<-time.After(10 * time.Minute)
		b.expect(key, nil, 2)
		b.expect(key, nil, 2) // not asked again at once
		<-time.After(49 * time.Minute)
		b.expect(key, nil, 3)
		<-time.After(time.Minute)
		b.expect(key, token.ErrUnavailable, 4)
		b.issuer.Publish(tokentest.Set(t, key))
		<-time.After(30 * time.Second)
		b.expect(key, nil, 5)
	})
}

// slow answers when it is told to.
type slow struct {
	*tokentest.Issuer
	release chan struct{}
}

func (s slow) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-s.release:
		return s.Issuer.RoundTrip(req)
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

func TestAllWhoWaitShareOneFetch(t *testing.T) {
	trial(t, func(t *testing.T, b *bench) {
		key := tokentest.NewKey(t, "k1", "ES256")
		b.issuer.Publish(tokentest.Set(t, key))
		held := slow{b.issuer, make(chan struct{})}
		b.verifier.Keys = token.NewKeys(token.Place{URL: url}, held, nil)
		text := key.Sign(t, "secevent+jwt", claims(nil))
		first, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		check := func(ctx context.Context) {
			if _, err := b.verifier.Verify(ctx, text, "secevent+jwt"); err != nil {
				t.Error(err)
			}
		}
		wg.Go(func() { check(first) })
		synctest.Wait()
		for range 20 {
			wg.Go(func() { check(t.Context()) })
		}
		synctest.Wait()
		leave() // the one who asked first goes away; the others still get their answer
		close(held.release)
		wg.Wait()
		b.expect(key, nil, 1)
	})
}

func TestIssuerThatNeverAnswersIsLeftAfterFiveSeconds(t *testing.T) {
	trial(t, func(t *testing.T, b *bench) {
		key := tokentest.NewKey(t, "k1", "ES256")
		b.verifier.Keys = token.NewKeys(token.Place{URL: url}, slow{b.issuer, make(chan struct{})}, nil)
		begun := time.Now()
		b.expect(key, token.ErrUnavailable, 0)
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("waited %v", took)
		}
	})
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	trial(t, func(t *testing.T, b *bench) {
		key := tokentest.NewKey(t, "k1", "ES256")
		b.verifier.Keys = token.NewKeys(token.Place{URL: url}, slow{b.issuer, make(chan struct{})}, nil)
		text := key.Sign(t, "secevent+jwt", claims(nil))
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.verify(key) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.verifier.Verify(ctx, text, "secevent+jwt"); !errors.Is(err, token.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		wg.Wait()
	})
}

func TestFileOfKeysIsReadAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jwks.json")
	before, after := tokentest.NewKey(t, "k1", "ES256"), tokentest.NewKey(t, "k2", "ES256")
	write := func(set []byte) {
		if err := os.WriteFile(path, set, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trial(t, func(t *testing.T, b *bench) {
		b.verifier.Keys = token.NewKeys(token.Place{File: path}, nil, nil)
		b.expect(before, token.ErrUnavailable, 0)
		write(tokentest.Set(t, before))
		<-time.After(time.Second)
		b.expect(before, nil, 0)
		write(tokentest.Set(t, after))
		<-time.After(time.Second)
		b.expect(after, nil, 0)
		<-time.After(time.Second)
		b.expect(before, token.ErrKey, 0)
		write(make([]byte, 300<<10))
		<-time.After(30 * time.Second)
		b.expect(after, nil, 0)
		<-time.After(time.Hour)
		b.expect(after, token.ErrUnavailable, 0)
	})
}

func TestRingHoldsWhatIsInUse(t *testing.T) {
	var allowed []bool
	issuer := &tokentest.Issuer{}
	ring := token.NewRing(func(allowPrivate bool) http.RoundTripper {
		allowed = append(allowed, allowPrivate)
		return issuer
	}, nil)
	a, b := token.Place{URL: url}, token.Place{URL: url, AllowPrivate: true}
	first := ring.Hold([]token.Place{a, b, a})
	if len(first) != 2 || first[a] == first[b] || len(allowed) != 2 {
		t.Errorf("held %v for two places", first)
	}
	if again := ring.Hold([]token.Place{a}); again[a] != first[a] || again[b] != nil {
		t.Error("keys in use were not kept, or others were")
	}
	if back := ring.Hold([]token.Place{b}); back[b] == first[b] {
		t.Error("keys that were no longer in use were kept")
	}
}

func TestEveryReadingIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends []bool
		key, issuer := tokentest.NewKey(t, "k1", "ES256"), &tokentest.Issuer{}
		ring := token.NewRing(func(bool) http.RoundTripper { return issuer }, func(_ context.Context, p token.Place, err error) {
			if p.URL != url {
				t.Errorf("told of %v", p)
			}
			ends = append(ends, err == nil)
		})
		b := &bench{t, issuer, trusting(issuer)}
		b.verifier.Keys = ring.Hold([]token.Place{{URL: url}})[token.Place{URL: url}]
		issuer.Publish(tokentest.Set(t, key))
		b.expect(key, nil, 1)
		issuer.Fail(http.StatusBadGateway, nil)
		<-time.After(10 * time.Minute)
		b.expect(key, nil, 2) // what was read before still holds, but somebody must know
		b.expect(key, nil, 2)
		if len(ends) != 2 || !ends[0] || ends[1] {
			t.Errorf("told %v", ends)
		}
	})
}
