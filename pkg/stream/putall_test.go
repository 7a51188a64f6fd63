package stream_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/stream"
)

func names(t *testing.T, b *stream.Bucket[person], prefix string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, b.Each(t.Context(), prefix, func(key string, value person, rev uint64) error {
		if rev == 0 {
			t.Error("no revision")
		}
		out[key] = value.Name
		return nil
	}))
	return out
}

func TestSeveralKeysAreWrittenAtOneInstantOrNot(t *testing.T) {
	b := people(t, designed(t))
	ctx := t.Context()
	last, err := b.PutAll(ctx, []stream.Write[person]{{Key: "p.ann", Value: &person{Name: "Ann"}}, {Key: "p.bob", Value: &person{Name: "Bob"}}})
	must(t, err)
	_, ann, err := b.Get(ctx, "p.ann")
	must(t, err)
	_, bob, err := b.Get(ctx, "p.bob")
	must(t, err)
	if last != bob {
		t.Errorf("the last was stored at %d, told %d", bob, last)
	}
	for name, writes := range map[string][]stream.Write[person]{
		"one is there already":     {{Key: "p.cid", Value: &person{}}, {Key: "p.ann", Value: &person{}}},
		"one has an old revision":  {{Key: "p.ann", Value: &person{Name: "x"}, Rev: ann}, {Key: "p.bob", Value: &person{Name: "x"}, Rev: ann}},
		"one is deleted too early": {{Key: "p.ann", Value: &person{Name: "x"}, Rev: ann}, {Key: "p.bob", Rev: bob + 9}},
	} {
		if _, err := b.PutAll(ctx, writes); !errors.Is(err, stream.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(map[string]string{"p.ann": "Ann", "p.bob": "Bob"}, names(t, b, "p")); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	_, err = b.PutAll(ctx, []stream.Write[person]{{Key: "p.ann", Value: &person{Name: "Ann 2"}, Rev: ann}, {Key: "p.bob", Rev: bob}})
	must(t, err)
	if diff := cmp.Diff(map[string]string{"p.ann": "Ann 2"}, names(t, b, "p")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, _, err := b.Get(ctx, "p.bob"); !errors.Is(err, stream.ErrNotFound) {
		t.Error(err)
	}
}

func TestWhatCannotBeWrittenAtOnceIsRefusedWhole(t *testing.T) {
	b := people(t, designed(t))
	for name, writes := range map[string][]stream.Write[person]{
		"nothing":         nil,
		"too many":        make([]stream.Write[person], stream.MaxBatch+1),
		"no key":          {{Key: "ann", Value: &person{}}, {Key: "", Value: &person{}}},
		"a wild key":      {{Key: "ann", Value: &person{}}, {Key: "b.*", Value: &person{}}},
		"far too large":   {{Key: "ann", Value: &person{}}, {Key: "bob", Value: &person{Name: strings.Repeat("x", 1<<20)}}},
		"alone, so large": {{Key: "bob", Value: &person{Name: strings.Repeat("x", 1<<20)}}},
	} {
		if _, err := b.PutAll(t.Context(), writes); !errors.Is(err, stream.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := names(t, b, ""); len(got) != 0 {
		t.Errorf("stored %v", got)
	}
}

func TestOfManyWhoWriteTheSameKeysOneWinsEachTime(t *testing.T) {
	b := people(t, designed(t))
	const writers = 8
	var mu sync.Mutex
	won := 0
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			who := person{Name: fmt.Sprint(i)}
			_, err := b.PutAll(t.Context(), []stream.Write[person]{{Key: "a", Value: &who}, {Key: "b", Value: &who}})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, stream.ErrConflict) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	got := names(t, b, "")
	if won != 1 || got["a"] != got["b"] || got["a"] == "" {
		t.Errorf("%d won, stored %v", won, got)
	}
}

func TestAPrefixWithADotLeavesOutWhatIsCalledSo(t *testing.T) {
	b := people(t, designed(t))
	for _, key := range []string{"a", "a.b", "a.b.c", "ab.c", "b"} {
		_, err := b.Put(t.Context(), key, person{Name: key}, 0)
		must(t, err)
	}
	for prefix, want := range map[string][]string{"a": {"a", "a.b", "a.b.c"}, "a.": {"a.b", "a.b.c"}, "a.b.": {"a.b.c"}, "c.": nil} {
		keys, err := b.Keys(t.Context(), prefix)
		must(t, err)
		if diff := cmp.Diff(want, keys); diff != "" {
			t.Errorf("%q (-want +got)\n%s", prefix, diff)
		}
		if got := names(t, b, prefix); len(got) != len(want) {
			t.Errorf("%q: %v", prefix, got)
		}
	}
}

func TestReadingAllEndsWhereItIsTold(t *testing.T) {
	b := people(t, designed(t))
	for i := range 5 {
		_, err := b.Put(t.Context(), fmt.Sprintf("k%d", i), person{}, 0)
		must(t, err)
	}
	enough, seen := errors.New("enough"), 0
	err := b.Each(t.Context(), "", func(string, person, uint64) error {
		if seen++; seen == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || seen != 2 {
		t.Error(seen, err)
	}
}
