package ingest_test

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
	"pgregory.net/rapid"
)

// crash makes the n-th write from now on fail, and all that follow until mend:
// what a killed process leaves behind. lost tells whether the last write before
// that was stored all the same.
type crash struct {
	left int
	lost bool
}

func (c *crash) hit() error {
	if c.left--; c.left < 0 {
		return errors.New("killed")
	}
	return nil
}

func (f *feeder) crashAfter(writes int, lost bool) {
	c := &crash{left: writes, lost: lost}
	f.journal.fail = func(call string) error {
		if call == "Find" {
			return nil
		}
		if !lost {
			return c.hit()
		}
		return nil
	}
	f.journal.lose = func() error {
		if lost {
			return c.hit()
		}
		return nil
	}
	f.manifests.fail = func(string) error { return c.hit() }
	f.chunks.fail = func(string) error { return c.hit() }
}

func (f *feeder) mend() {
	f.journal.fail, f.journal.lose, f.manifests.fail, f.chunks.fail = nil, nil, nil, nil
}

// people folds everything that was ever stored, in the order of its storing.
func (f *feeder) people() (map[string]*identity.Record, error) {
	out := map[string]*identity.Record{}
	for _, id := range f.journal.order {
		e := f.journal.events[id].Event
		r := out[e.GetIdentityKey()]
		if r == nil {
			r = &identity.Record{}
			out[e.GetIdentityKey()] = r
		}
		if _, err := r.Fold(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// truth is what sending events by hand would have made of the same snapshots.
type truth struct {
	rows   map[string]map[string]any
	absent map[string]int
	left   map[string]bool
	// hazy are people of whom only a run spoke that never ended.
	hazy map[string]bool
}

func (m *truth) take(rows map[string]map[string]any) {
	for key := range m.rows {
		if _, there := rows[key]; !there && m.absent[key] == 0 {
			m.absent[key] = 0
		}
	}
	for key := range m.absent {
		if _, there := rows[key]; !there {
			if m.absent[key]++; m.absent[key] >= 2 {
				m.left[key] = true
			}
		}
	}
	for key := range rows {
		m.absent[key] = 0
		delete(m.left, key)
		delete(m.hazy, key)
	}
	m.rows = rows
}

func writeCSV(rows map[string]map[string]any) string {
	var b strings.Builder
	b.WriteString("employee_id,name,team\n")
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(&b, "%s,%s,%s\n", key, text(rows[key]["name"]), text(rows[key]["team"]))
	}
	return b.String()
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// randomRows is a snapshot of some of twelve people.
func randomRows(t *rapid.T) map[string]map[string]any {
	rows := map[string]map[string]any{}
	for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom(strings.Split("abcdefghijkl", "")), 1, 12, rapid.ID).Draw(t, "people") {
		rows[key] = map[string]any{"employee_id": key}
		for _, column := range []string{"name", "team"} {
			if v := rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, column); v != "" {
				rows[key][column] = v
			}
		}
	}
	return rows
}

// step is one snapshot, and how it is killed.
type step struct {
	rows                map[string]map[string]any
	killed, lost, again bool
	writes              int
}

func randomStep(t *rapid.T) step {
	return step{
		rows: randomRows(t), killed: rapid.Bool().Draw(t, "killed"), lost: rapid.Bool().Draw(t, "lost"),
		again: rapid.Bool().Draw(t, "again"), writes: rapid.IntRange(0, 4).Draw(t, "writes"),
	}
}

// TestSnapshotsMakeTheSamePeopleAsEventsSentByHand sends random snapshots, some
// of which are killed at a random write and then sent again or never. What is
// left at the end of a good one must be what it says.
func TestSnapshotsMakeTheSamePeopleAsEventsSentByHand(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(randomStep), 1, 8).Draw(rt, "steps")
		var err error
		synctest.Test(t, func(t *testing.T) { // what fails in the bubble is told outside, where rapid listens
			settings := strict()
			settings.MinPercent = 0
			err = feeding(t, dir, settings).live(steps)
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}

// live takes the steps, and says where the people are not as they should be.
func (f *feeder) live(steps []step) error {
	want := &truth{absent: map[string]int{}, left: map[string]bool{}, hazy: map[string]bool{}}
	for i, s := range steps {
		time.Sleep(2 * time.Hour)
		good := false
		if s.killed {
			f.crashAfter(s.writes, s.lost)
			good = f.csv(writeCSV(s.rows)).Code == http.StatusOK
			f.mend()
			time.Sleep(time.Minute)
		}
		if !good && s.killed && !s.again {
			want.doubt(s.rows)
			continue
		}
		if !good {
			if w := f.csv(writeCSV(s.rows)); w.Code != http.StatusOK {
				return fmt.Errorf("step %d: got %d: %s", i, w.Code, w.Body)
			}
		}
		want.take(s.rows)
		if err := f.check(want); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// doubt is a run that never ended: it may have spoken of anybody.
func (m *truth) doubt(rows map[string]map[string]any) {
	for _, keys := range []iter.Seq[string]{maps.Keys(rows), maps.Keys(m.absent)} {
		for key := range keys {
			m.hazy[key] = true
		}
	}
}

func (f *feeder) check(want *truth) error {
	people, err := f.people()
	if err != nil {
		return err
	}
	for key, row := range want.rows {
		got := people[key]
		if got == nil {
			return fmt.Errorf("%s is not there", key)
		}
		if diff := cmp.Diff(row, got.Current()); diff != "" || got.EffectiveState() != identity.Active {
			return fmt.Errorf("%s is %s: %s", key, got.EffectiveState(), diff)
		}
	}
	for key := range want.absent {
		if _, listed := want.rows[key]; listed || want.hazy[key] {
			continue
		}
		if ended := people[key].EffectiveState() == identity.Terminated; ended != want.left[key] {
			return fmt.Errorf("%s left: %v, want %v", key, ended, want.left[key])
		}
	}
	return nil
}

// TestAKilledRunGoesOnAndMakesNothingTwice kills the run at every write in turn.
func TestAKilledRunGoesOnAndMakesNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var body strings.Builder
		body.WriteString("employee_id,name\n")
		for i := range 950 {
			fmt.Fprintf(&body, "%d,Person %d\n", i, i)
		}
		for _, lost := range []bool{false, true} {
			ended := false
			for writes := 0; !ended; writes++ {
				f := feeding(t, t.TempDir(), strict())
				f.crashAfter(writes, lost)
				ended = f.csv(body.String()).Code == http.StatusOK
				f.mend()
				time.Sleep(time.Minute)
				counts(t, f.csv(body.String()))
				if len(f.journal.order) != 950 {
					t.Fatalf("killed after %d writes (%v): %d events", writes, lost, len(f.journal.order))
				}
				if m := f.manifests.values["manifest.hr"]; m.Base == nil || m.Open != nil || m.Base.Counts.Rows != 950 {
					t.Fatalf("killed after %d writes (%v): %+v", writes, lost, m)
				}
			}
		}
	})
}
