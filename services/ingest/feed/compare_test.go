package feed_test

import (
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/services/ingest/feed"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"
)

func snapshot(t testing.TB, rows ...string) *feed.Index {
	t.Helper()
	x := &feed.Index{}
	for i := 0; i < len(rows); i += 2 {
		if err := x.Add(rows[i], feed.HashOf(rows[i+1]), feed.Row{Offset: int64(i), Length: 1}); err != nil {
			t.Fatal(err)
		}
	}
	x.Sort()
	return x
}

func kept(entries []feed.Entry) iter.Seq2[feed.Entry, error] {
	var data []byte
	for _, e := range entries {
		data = e.Append(data)
	}
	return feed.Entries(data)
}

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func settings() feed.Settings {
	return feed.Settings{Leavers: true, Confirm: 2, ConfirmAfter: time.Hour, MinPercent: 90, MaxLeavers: 500, MaxLeaversPercent: 5}
}

func compare(t testing.TB, x *feed.Index, past feed.Past, s feed.Settings, at time.Time) (feed.Outcome, []feed.Entry) {
	t.Helper()
	var entries []feed.Entry
	out, err := feed.Compare(x, past, s, at, func(e feed.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, entries
}

func TestARunThatNeverEndedIsDoubted(t *testing.T) {
	_, base := compare(t, snapshot(t, "a", "1", "b", "1", "c", "1"), feed.Past{}, settings(), noon)
	_, open := compare(t, snapshot(t, "a", "2", "b", "1", "d", "1"), feed.Past{Base: kept(base)}, settings(), noon.Add(time.Minute))
	out, entries := compare(t, snapshot(t, "a", "1", "b", "1", "c", "1"), feed.Past{Base: kept(base), Open: kept(open)}, settings(), noon.Add(time.Hour))
	want := []feed.Change{{Kind: feed.Changed, Row: 0}} // c was only absent once, and d waits to be absent twice
	if diff := cmp.Diff(want, out.Changes); diff != "" {
		t.Error(diff)
	}
	if d := entries[len(entries)-1]; string(d.Key) != "d" || d.Absent != 1 || d.Doubt != feed.MayEnd {
		t.Errorf("d is kept as %+v", d)
	}
}

func TestAnEndedPersonWhoseRunNeverEndedJoinsAgain(t *testing.T) {
	_, base := compare(t, snapshot(t, "a", "1", "b", "1"), feed.Past{}, settings(), noon)
	_, base = compare(t, snapshot(t, "a", "1"), feed.Past{Base: kept(base)}, settings(), noon.Add(time.Hour))
	out, open := compare(t, snapshot(t, "a", "1"), feed.Past{Base: kept(base)}, settings(), noon.Add(2*time.Hour))
	if diff := cmp.Diff([]feed.Change{{Kind: feed.Left, Row: -1, Key: "b"}}, out.Changes); diff != "" {
		t.Error(diff)
	}
	out, _ = compare(t, snapshot(t, "a", "1", "b", "1"), feed.Past{Base: kept(base), Open: kept(open)}, settings(), noon.Add(3*time.Hour))
	if diff := cmp.Diff([]feed.Change{{Kind: feed.Joined, Row: 1}}, out.Changes); diff != "" {
		t.Error(diff)
	}
}

// Of three first runs that never ended the last ended somebody's access, and kept
// nothing of them.
func TestNobodyIsOnlyListedAfterAFirstRunThatNeverEnded(t *testing.T) {
	_, open := compare(t, snapshot(t, "a", "1", "g", "1"), feed.Past{}, settings(), noon)
	_, open = compare(t, snapshot(t, "a", "1"), feed.Past{Open: kept(open)}, settings(), noon.Add(2*time.Hour))
	out, open := compare(t, snapshot(t, "a", "1"), feed.Past{Open: kept(open)}, settings(), noon.Add(4*time.Hour))
	if diff := cmp.Diff([]feed.Change{{Kind: feed.Joined, Row: 0}, {Kind: feed.Left, Row: -1, Key: "g"}}, out.Changes); diff != "" {
		t.Error(diff)
	}
	back, want := snapshot(t, "g", "1", "h", "1"), []feed.Change{{Kind: feed.Joined, Row: 0}, {Kind: feed.Joined, Row: 1}}
	out, open = compare(t, back, feed.Past{Open: kept(open)}, settings(), noon.Add(6*time.Hour))
	if diff := cmp.Diff(want, out.Changes); diff != "" {
		t.Error(diff)
	}
	out, _ = compare(t, back, feed.Past{Open: kept(open), Same: true}, settings(), noon.Add(6*time.Hour))
	if diff := cmp.Diff(want, out.Changes); diff != "" {
		t.Errorf("when it goes on\n%s", diff)
	}
}

func TestTheSameSnapshotGoesOnWithTheSamePlan(t *testing.T) {
	_, base := compare(t, snapshot(t, "a", "1", "b", "1"), feed.Past{}, settings(), noon)
	next := snapshot(t, "a", "2", "c", "1")
	first, open := compare(t, next, feed.Past{Base: kept(base)}, settings(), noon.Add(time.Hour))
	again, entries := compare(t, next, feed.Past{Base: kept(base), Open: kept(open), Same: true}, settings(), noon.Add(time.Hour))
	if diff := cmp.Diff(first, again); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(open, entries); diff != "" {
		t.Error(diff)
	}
}

func TestTheGuardNamesTheFirstReason(t *testing.T) {
	few := settings()
	few.MaxLeavers = 3
	for name, c := range map[string]struct {
		settings feed.Settings
		counts   feed.Counts
		want     feed.Reason
	}{
		"all is well":                         {settings(), feed.Counts{Rows: 100, Last: 100}, ""},
		"the first one":                       {settings(), feed.Counts{Rows: 1, Joined: 1}, ""},
		"nobody":                              {settings(), feed.Counts{Last: 100, Gone: 100}, feed.Empty},
		"just enough of the last one":         {settings(), feed.Counts{Rows: 90, Last: 100, Gone: 10}, ""},
		"one less":                            {settings(), feed.Counts{Rows: 89, Last: 100, Gone: 11}, feed.Short},
		"as many, but others":                 {settings(), feed.Counts{Rows: 100, Joined: 50, Last: 100, Gone: 50}, feed.Short},
		"five percent":                        {settings(), feed.Counts{Rows: 1900, Last: 1900, Left: 100}, ""},
		"more than five percent":              {settings(), feed.Counts{Rows: 1900, Last: 1900, Left: 101}, feed.Leavers},
		"five of a small company":             {settings(), feed.Counts{Rows: 10, Last: 10, Left: 5}, ""},
		"six of it":                           {settings(), feed.Counts{Rows: 10, Last: 10, Left: 6}, feed.Leavers},
		"more than the count":                 {few, feed.Counts{Rows: 10_000, Last: 10_000, Left: 4}, feed.Leavers},
		"more than the count of a large one":  {settings(), feed.Counts{Rows: 1e6, Last: 1e6, Left: 501}, feed.Leavers},
		"a doubled key":                       {settings(), feed.Counts{Rows: 100, Last: 100, Doubled: 1}, feed.DoubledKey},
		"an unreadable row":                   {settings(), feed.Counts{Rows: 100, Last: 100, Unreadable: 1}, feed.Unreadable},
		"nobody, because nothing is readable": {settings(), feed.Counts{Unreadable: 3}, feed.Unreadable},
	} {
		var got feed.Reason
		if r := c.settings.Judge(c.counts); r != nil {
			got = r.Reason
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestDoubledKeysAreCounted(t *testing.T) {
	x := snapshot(t, "a", "1", "b", "1", "a", "2", "a", "1")
	if x.Doubled != 2 {
		t.Errorf("got %d", x.Doubled)
	}
}

func TestTheContentDoesNotDependOnTheOrder(t *testing.T) {
	one, two, other := snapshot(t, "a", "1", "b", "2"), snapshot(t, "b", "2", "a", "1"), snapshot(t, "a", "2", "b", "1")
	if one.Sort() != two.Sort() || one.Sort() == other.Sort() {
		t.Error("the hash depends on the order, or not on the rows")
	}
}

// TestWhatIsKeptIsReadAgain: entries survive their encoding, and damage is seen.
func TestWhatIsKeptIsReadAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := feed.Entry{
			Key: []byte(rapid.StringN(1, 300, 300).Draw(t, "key")), Says: feed.HashOf(rapid.String().Draw(t, "says")),
			Absent: rapid.Uint8().Draw(t, "absent"), Doubt: feed.Doubt(rapid.IntRange(0, 2).Draw(t, "doubt")),
		}
		if e.Absent > 0 {
			e.Since = time.Unix(int64(rapid.Uint32().Draw(t, "since")), 0).UTC()
		}
		data := e.Append(e.Append(nil))
		n := 0
		for got, err := range feed.Entries(data) {
			if diff := cmp.Diff(e, got); diff != "" || err != nil {
				t.Fatal(err, diff)
			}
			n++
		}
		if n != 2 {
			t.Fatalf("%d entries", n)
		}
		cut := rapid.IntRange(len(data)/2+1, len(data)-1).Draw(t, "cut")
		var err error
		for _, err = range feed.Entries(data[:cut]) {
		}
		if err == nil {
			t.Fatal("damage is not seen")
		}
	})
}

func TestDamageEndsAComparison(t *testing.T) {
	broken := func(yield func(feed.Entry, error) bool) { yield(feed.Entry{}, errors.New("no answer")) }
	_, err := feed.Compare(snapshot(t, "a", "1"), feed.Past{Base: broken}, settings(), noon, func(feed.Entry) error { return nil })
	if err == nil {
		t.Error("what cannot be read was taken for nobody")
	}
}

func TestDifferentAttributesHaveDifferentHashes(t *testing.T) {
	seen := map[feed.Hash]string{}
	for _, data := range []map[string]any{
		{},
		{"a": "1"},
		{"a": 1.0},
		{"a": true},
		{"a": false},
		{"a": ""},
		{"b": "1"},
		{"a": "1", "b": "1"},
		{"a": []any{"1"}},
		{"a": []any{}},
		{"a": map[string]any{"1": "1"}},
		{"a": map[string]any{}},
		{"a": []any{"1", "2"}},
		{"a": []any{[]any{"1"}, "2"}},
		{"a": []any{nil}},
	} {
		s, err := structpb.NewStruct(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, cleared := range [][]string{nil, {"a"}} {
			h, name := feed.Says(s, cleared), fmt.Sprint(data, cleared)
			if other, taken := seen[h]; taken {
				t.Errorf("%s and %s are the same", name, other)
			}
			seen[h] = name
		}
	}
}
