package feed

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"
)

// Past is what is known of the source before a snapshot. Sequences are in the
// order of their keys; nil is none.
type Past struct {
	// Base is the last good snapshot. Without it everybody is new.
	Base iter.Seq2[Entry, error]
	// Open is a run that began and never ended: nobody knows which of its events
	// are stored.
	Open iter.Seq2[Entry, error]
	// Same tells that the open run was of the same snapshot: it goes on.
	Same bool
}

// Outcome is what a comparison gives.
type Outcome struct {
	Counts  Counts
	Changes []Change
	// Moved tells that something has to be kept that was not.
	Moved bool
}

// Compare works out what a sorted snapshot, taken at that time, says against the
// past, and hands to keep what must be known of everybody at the next one, in
// order.
//
//	in snapshot  in base   in an open run  says              keeps
//	yes          no        any             joined; listed    the row
//	                                       in a first run
//	yes          as it is  no, or the same nothing           the row
//	yes          as it is  differs         changed (*)       the row
//	yes          differs   any             changed (*)       the row
//	no           yes       any             left once         absent, one more; or nothing
//	                                       confirmed
//	no           no        yes             nothing           absent, for the first time
//
// (*) joined, where the open run may have said that the person left.
func Compare(x *Index, past Past, s Settings, taken time.Time, keep func(Entry) error) (Outcome, error) {
	c := &comparison{index: x, settings: s, taken: taken, keep: keep, first: past.Base == nil, open: past.Open != nil, same: past.Same}
	c.out.Counts = Counts{Rows: x.Len(), Doubled: x.Doubled, Unreadable: x.Unreadable}
	base, open := newCursor(past.Base), newCursor(past.Open)
	defer base.stop()
	defer open.stop()
	for i := 0; ; {
		var row []byte
		if i < x.Len() {
			row = x.Key(i)
		}
		key := least(i < x.Len(), row, base, open)
		if base.err != nil || open.err != nil {
			return c.out, fmt.Errorf("compare with the last snapshot: %w", errors.Join(base.err, open.err))
		}
		if key == nil {
			return c.out, nil
		}
		b, inBase := base.take(key)
		o, inOpen := open.take(key)
		at := int32(-1)
		if i < x.Len() && bytes.Equal(row, key) {
			at = int32(i) //nolint:gosec // at most MaxRows
		}
		for i < x.Len() && bytes.Equal(x.Key(i), key) { // a doubled key is judged later
			i++
		}
		if err := c.person(at, key, b, inBase, o, inOpen); err != nil {
			return c.out, err
		}
	}
}

type comparison struct {
	index    *Index
	settings Settings
	taken    time.Time
	keep     func(Entry) error
	first    bool
	open     bool
	same     bool
	out      Outcome
}

// person compares what is known of one person. row is -1 where they are not in
// the snapshot.
func (c *comparison) person(row int32, key []byte, b Entry, inBase bool, o Entry, inOpen bool) error {
	doubt := c.doubt(b, inBase, o, inOpen)
	if inBase && b.Absent == 0 {
		c.out.Counts.Last++
	}
	if row < 0 {
		return c.absent(key, b, inBase, o, doubt)
	}
	says := c.index.Hash(int(row))
	switch {
	case !inBase && c.first && doubt != MayEnd:
		c.say(Change{Kind: Listed, Row: row})
	case !inBase || doubt == MayEnd:
		c.say(Change{Kind: Joined, Row: row})
	case b.Says != says || doubt == MaySay:
		c.say(Change{Kind: Changed, Row: row})
	default:
		c.out.Counts.Unchanged++
	}
	if !inBase || b.Absent > 0 || b.Says != says || doubt != Sure {
		c.out.Moved = true
	}
	return c.keep(Entry{Key: key, Says: says, Doubt: doubt})
}

// doubt is what a run that never ended may have said of a person that the base
// does not know. A run that goes on says the same again, so that only the doubts
// that it had itself remain. A doubt about somebody absent stays until they are
// spoken of again.
func (c *comparison) doubt(b Entry, inBase bool, o Entry, inOpen bool) Doubt {
	old := Sure
	if inBase && b.Absent > 0 {
		old = b.Doubt
	}
	switch {
	case c.same:
		return o.Doubt
	case !c.open:
		return old
	case inBase != inOpen, c.first: // of whom a first run ended nothing is kept
		return MayEnd
	case o.Says != b.Says:
		return max(old, o.Doubt, MaySay)
	default:
		return max(old, o.Doubt)
	}
}

// absent decides about somebody who is not in the snapshot.
func (c *comparison) absent(key []byte, b Entry, inBase bool, o Entry, doubt Doubt) error {
	e := b
	if !inBase {
		e = Entry{Key: key, Says: o.Says, Absent: o.Absent, Since: o.Since}
	}
	before := e
	e.Doubt = doubt
	counts := &c.out.Counts
	if inBase && b.Absent == 0 {
		counts.Gone++
	}
	if c.index.Unreadable == 0 {
		c.count(&e)
	}
	switch {
	case c.settings.Leavers && int(e.Absent) >= c.settings.Confirm:
		counts.Left++
		c.out.Moved = true
		c.say(Change{Kind: Left, Row: -1, Key: string(key)})
		return nil
	case !c.settings.Leavers && e.Absent >= forgetAfter:
		c.out.Moved = true
		return nil
	}
	counts.Absent++
	if e.Absent != before.Absent || e.Since != before.Since || e.Doubt != before.Doubt {
		c.out.Moved = true
	}
	return c.keep(e)
}

// count counts one more snapshot without the person, where it is far enough from
// the last that was counted.
func (c *comparison) count(e *Entry) {
	switch {
	case e.Absent == 0:
		e.Absent, e.Since = 1, c.taken
	case e.Absent < math.MaxUint8 && c.taken.Sub(e.Since) >= c.settings.ConfirmAfter:
		e.Absent, e.Since = e.Absent+1, c.taken
	}
}

func (c *comparison) say(change Change) {
	switch change.Kind {
	case Listed, Joined:
		c.out.Counts.Joined++
	case Changed:
		c.out.Counts.Changed++
	}
	c.out.Changes = append(c.out.Changes, change)
}

// cursor is a place in a sequence of entries.
type cursor struct {
	next func() (Entry, error, bool)
	stop func()
	at   Entry
	ok   bool
	err  error
}

func newCursor(entries iter.Seq2[Entry, error]) *cursor {
	if entries == nil {
		return &cursor{stop: func() {}}
	}
	c := &cursor{}
	c.next, c.stop = iter.Pull2(entries)
	c.advance()
	return c
}

func (c *cursor) advance() { c.at, c.err, c.ok = c.next() }

// take gives the entry of a key, if it stands here, and goes on.
func (c *cursor) take(key []byte) (Entry, bool) {
	if !c.ok || !bytes.Equal(c.at.Key, key) {
		return Entry{}, false
	}
	e := c.at
	c.advance()
	return e, true
}

// least is the smallest key that any of the three stands at; nil is the end.
func least(more bool, row []byte, cursors ...*cursor) []byte {
	for _, c := range cursors {
		if c.ok && (!more || bytes.Compare(c.at.Key, row) < 0) {
			row, more = c.at.Key, true
		}
	}
	if !more {
		return nil
	}
	return row
}
