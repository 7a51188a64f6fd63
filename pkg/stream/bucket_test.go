package stream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/joinery/joinery/pkg/stream"
	"pgregory.net/rapid"
)

// person is a value with the kinds of field that real ones have.
type person struct {
	Name   string            `json:"name"`
	Active bool              `json:"active"`
	Since  time.Time         `json:"since"`
	Groups []string          `json:"groups"`
	Facts  map[string]uint64 `json:"facts"`
}

func people(t *testing.T, w *world) *stream.Bucket[person] {
	t.Helper()
	b, err := stream.OpenBucket[person](t.Context(), w.conn, stream.Identities)
	must(t, err)
	return b
}

func TestValueComesBackAsItWasPut(t *testing.T) {
	b := people(t, designed(t))
	want := person{
		Name: "Ann", Active: true, Since: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		Groups: []string{"a", "b"}, Facts: map[string]uint64{"big": 1<<64 - 1},
	}
	rev, err := b.Put(t.Context(), "ann", want, 0)
	must(t, err)
	got, gotRev, err := b.Get(t.Context(), "ann")
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" || rev != gotRev {
		t.Errorf("revision %d, put under %d; difference:\n%s", gotRev, rev, diff)
	}
}

func TestOnlyTheRevisionThatWasReadCanBeReplaced(t *testing.T) {
	b := people(t, designed(t))
	ctx := t.Context()
	first, err := b.Put(ctx, "ann", person{Name: "1"}, 0)
	must(t, err)
	second, err := b.Put(ctx, "ann", person{Name: "2"}, first)
	must(t, err)
	for name, write := range map[string]func() error{
		"create what exists":       func() error { _, err := b.Put(ctx, "ann", person{}, 0); return err },
		"replace an old revision":  func() error { _, err := b.Put(ctx, "ann", person{}, first); return err },
		"replace a future one":     func() error { _, err := b.Put(ctx, "ann", person{}, second+7); return err },
		"replace what never was":   func() error { _, err := b.Put(ctx, "bob", person{}, second); return err },
		"delete an old revision":   func() error { return b.Delete(ctx, "ann", first) },
		"delete without having it": func() error { return b.Delete(ctx, "ann", 0) },
	} {
		if err := write(); !errors.Is(err, stream.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, rev, err := b.Get(ctx, "ann")
	if err != nil || got.Name != "2" || rev != second {
		t.Errorf("holds %v at %d, %v", got, rev, err)
	}
}

func TestDeletedKeyIsNotFoundAndCanBeMadeAgain(t *testing.T) {
	b := people(t, designed(t))
	rev, err := b.Put(t.Context(), "ann", person{Name: "1"}, 0)
	must(t, err)
	must(t, b.Delete(t.Context(), "ann", rev))
	if _, _, err := b.Get(t.Context(), "ann"); !errors.Is(err, stream.ErrNotFound) {
		t.Errorf("after the delete: %v", err)
	}
	keys, err := b.Keys(t.Context(), "")
	if err != nil || len(keys) != 0 {
		t.Errorf("keys %v, %v", keys, err)
	}
	if _, err := b.Put(t.Context(), "ann", person{Name: "2"}, 0); err != nil {
		t.Errorf("made again: %v", err)
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	b := people(t, designed(t))
	for _, key := range []string{"nobody", "", "not a key", "trailing."} {
		if _, _, err := b.Get(t.Context(), key); !errors.Is(err, stream.ErrNotFound) {
			t.Errorf("%q: %v", key, err)
		}
	}
	if _, err := b.Put(t.Context(), "not a key", person{}, 0); !errors.Is(err, stream.ErrRefused) {
		t.Errorf("put under an impossible key: %v", err)
	}
	if _, err := stream.OpenBucket[person](t.Context(), open(t).conn, "NONE"); err == nil {
		t.Error("a bucket that does not exist was opened")
	}
}

// Every writer adds one under compare-and-swap; none of the additions is lost.
func TestConcurrentWritersLoseNothing(t *testing.T) {
	b := people(t, designed(t))
	const writers, additions = 8, 20
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range additions {
				if err := add(t.Context(), b, "counter"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, _, err := b.Get(t.Context(), "counter")
	if err != nil || got.Facts["n"] != writers*additions {
		t.Errorf("counted %d, %v", got.Facts["n"], err)
	}
}

func add(ctx context.Context, b *stream.Bucket[person], key string) error {
	for {
		value, rev, err := b.Get(ctx, key)
		if err != nil && !errors.Is(err, stream.ErrNotFound) {
			return err
		}
		value.Facts = map[string]uint64{"n": value.Facts["n"] + 1}
		if _, err = b.Put(ctx, key, value, rev); !errors.Is(err, stream.ErrConflict) {
			return err
		}
	}
}

func TestPrefixIsWholeTokens(t *testing.T) {
	b := people(t, designed(t))
	for _, key := range []string{"acme", "acme.a", "acme.b", "acme.b.c", "acmeplus.a", "other.acme"} {
		_, err := b.Put(t.Context(), key, person{Name: key}, 0)
		must(t, err)
	}
	for prefix, want := range map[string][]string{
		"acme":   {"acme", "acme.a", "acme.b", "acme.b.c"},
		"acme.b": {"acme.b", "acme.b.c"},
		"none":   nil,
		"":       {"acme", "acme.a", "acme.b", "acme.b.c", "acmeplus.a", "other.acme"},
	} {
		keys, err := b.Keys(t.Context(), prefix)
		must(t, err)
		all, err := b.All(t.Context(), prefix)
		must(t, err)
		if diff := cmp.Diff(want, keys, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("keys under %q: %s", prefix, diff)
		}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(all)), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("entries under %q: %s", prefix, diff)
		}
		for key, value := range all {
			if key != value.Name {
				t.Errorf("%s holds %s", key, value.Name)
			}
		}
	}
}

// More entries than a watch buffers, and a reader that leaves in the middle:
// nothing stays behind that would keep the bubble from ending.
func TestListingEndsWhenItsReaderLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		b := people(t, w)
		for i := range 600 {
			_, err := b.Put(t.Context(), fmt.Sprintf("p.%03d", i), person{}, 0)
			must(t, err)
		}
		keys, err := b.Keys(t.Context(), "p")
		if err != nil || len(keys) != 600 {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		seen := 0
		must(t, b.Watch(ctx, "", func(string, *person, uint64) {
			if seen++; seen == 10 {
				cancel()
			}
		}))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if keys, err := b.Keys(ended, ""); err == nil {
			t.Errorf("a listing that was cut short gave %d keys and no error", len(keys))
		}
	})
}

func TestListingFailsWithTheConnection(t *testing.T) {
	w := designed(t)
	b := people(t, w)
	w.conn.Close()
	if _, err := b.Keys(t.Context(), ""); !errors.Is(err, stream.ErrUnavailable) {
		t.Errorf("keys: %v", err)
	}
	if _, _, err := b.Get(t.Context(), "ann"); !errors.Is(err, stream.ErrUnavailable) {
		t.Errorf("get: %v", err)
	}
	if _, err := b.Put(t.Context(), "ann", person{}, 0); !errors.Is(err, stream.ErrUnavailable) {
		t.Errorf("put: %v", err)
	}
}

func TestWatchTellsWhatIsThereAndThenWhatChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		b := people(t, w)
		ctx, cancel := context.WithCancel(t.Context())
		rev, err := b.Put(ctx, "acme.ann", person{Name: "1"}, 0)
		must(t, err)
		_, err = b.Put(ctx, "other.ann", person{Name: "x"}, 0)
		must(t, err)
		var told []string
		done := make(chan error, 1)
		go func() {
			done <- b.Watch(ctx, "acme", func(key string, value *person, rev uint64) {
				if value == nil {
					value = &person{Name: "gone"}
				}
				told = append(told, fmt.Sprintf("%s %s %d", key, value.Name, rev))
			})
		}()
		w.settle()
		rev, err = b.Put(ctx, "acme.ann", person{Name: "2"}, rev)
		must(t, err)
		w.settle() // a bucket keeps one value: who is not told at once is told the newest
		must(t, b.Delete(ctx, "acme.ann", rev))
		w.settle()
		cancel()
		must(t, <-done)
		want := []string{"acme.ann 1 1", " gone 0", "acme.ann 2 3", "acme.ann gone 4"}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWatchGoesOnAfterTheBrokerWasAway(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		b := people(t, w)
		ctx, cancel := context.WithCancel(t.Context())
		told := map[string]bool{}
		done := make(chan error, 1)
		go func() {
			done <- b.Watch(ctx, "", func(key string, _ *person, _ uint64) { told[key] = true })
		}()
		_, err := b.Put(ctx, "before", person{}, 0)
		must(t, err)
		w.settle()
		w.restart(t)
		_, err = b.Put(ctx, "after", person{}, 0)
		must(t, err)
		time.Sleep(time.Minute)
		synctest.Wait()
		cancel()
		must(t, <-done)
		if diff := cmp.Diff(map[string]bool{"": true, "before": true, "after": true}, told); diff != "" {
			t.Error(diff)
		}
	})
}

func TestValueThatIsNotJSONIsAnErrorWithItsKeyAndWithoutItsContent(t *testing.T) {
	w := designed(t)
	b := people(t, w)
	kv, err := w.js.KeyValue(t.Context(), stream.Identities)
	must(t, err)
	_, err = kv.Put(t.Context(), "broken", []byte(`{"name": "Secret`))
	must(t, err)
	_, _, getErr := b.Get(t.Context(), "broken")
	_, allErr := b.All(t.Context(), "")
	watchErr := b.Watch(t.Context(), "", func(string, *person, uint64) {})
	for name, err := range map[string]error{"get": getErr, "all": allErr, "watch": watchErr} {
		if err == nil || errors.Is(err, stream.ErrNotFound) || strings.Contains(err.Error(), "Secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !strings.Contains(allErr.Error(), "broken") {
		t.Errorf("does not say which: %v", allErr)
	}
}

// Whatever is put and deleted in whatever order, the bucket holds what a map
// would, and refuses exactly the writes on revisions that are not stored.
func TestBucketIsAMapUnderCompareAndSwap(t *testing.T) {
	w := designed(t)
	b := people(t, w)
	ctx := context.WithoutCancel(t.Context())
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		prefix := fmt.Sprintf("run%d", run)
		values, revisions := map[string]person{}, map[string]uint64{}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			key := prefix + "." + rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key")
			value := person{Name: rapid.String().Draw(t, "name")}
			rev, stale := revisions[key], rapid.Bool().Draw(t, "stale")
			if stale {
				rev += 1 << 40
			}
			var err error
			if rev != 0 && rapid.Bool().Draw(t, "delete") {
				if err = b.Delete(ctx, key, rev); err == nil {
					delete(values, key)
					delete(revisions, key)
				}
			} else if rev, err = b.Put(ctx, key, value, rev); err == nil {
				values[key], revisions[key] = value, rev
			}
			if stale != errors.Is(err, stream.ErrConflict) || !stale && err != nil {
				t.Fatalf("stale %v: %v", stale, err)
			}
		}
		got, err := b.All(ctx, prefix)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(values, got); diff != "" {
			t.Fatal(diff)
		}
	})
}
