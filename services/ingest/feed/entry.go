package feed

import (
	"encoding/binary"
	"errors"
	"iter"
	"time"
)

// Entry is what is kept of a person between snapshots.
type Entry struct {
	Key  []byte
	Says Hash
	// Absent is how many complete snapshots in a row lacked the person, and Since
	// when the last of them that counted was taken.
	Absent uint8
	Since  time.Time
	// Doubt is set where an earlier run, which never ended, may have said
	// something else of the person.
	Doubt Doubt
}

// Doubt is what an unfinished run may have said.
type Doubt uint8

const (
	// Sure: nothing.
	Sure Doubt = iota
	// MaySay: other attributes.
	MaySay
	// MayEnd: that the person left or joined.
	MayEnd
)

// An entry is kept as
//
//	1      doubt, and 4 where the person is absent
//	1..3   length of the key (uvarint)
//	n      the key
//	16     what the row says
//	1 + 4  where absent: how often, and the Unix time
const absentBit = 4

// Append adds the entry to data.
func (e Entry) Append(data []byte) []byte {
	head := byte(e.Doubt)
	if e.Absent > 0 {
		head |= absentBit
	}
	data = binary.AppendUvarint(append(data, head), uint64(len(e.Key)))
	data = append(append(data, e.Key...), e.Says[:]...)
	if e.Absent > 0 {
		data = binary.BigEndian.AppendUint32(append(data, e.Absent), uint32(e.Since.Unix())) //nolint:gosec // until the year 2106
	}
	return data
}

var errEntry = errors.New("read what is kept of a feed: it is damaged")

// Entries reads what Append wrote. The keys are valid as long as data.
func Entries(data []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for len(data) > 0 {
			e, rest, err := entry(data)
			if !yield(e, err) || err != nil {
				return
			}
			data = rest
		}
	}
}

func entry(data []byte) (e Entry, rest []byte, err error) {
	head := data[0]
	length, n := binary.Uvarint(data[1:])
	if n <= 0 || head > absentBit+byte(MayEnd) || length > MaxRow {
		return e, nil, errEntry
	}
	data = data[1+n:]
	if uint64(len(data)) < length+uint64(len(e.Says)) {
		return e, nil, errEntry
	}
	e.Key, data = data[:length:length], data[length:]
	data = data[copy(e.Says[:], data):]
	e.Doubt = Doubt(head &^ absentBit)
	if head&absentBit != 0 {
		if len(data) < 5 || data[0] == 0 {
			return e, nil, errEntry
		}
		e.Absent, e.Since = data[0], time.Unix(int64(binary.BigEndian.Uint32(data[1:])), 0).UTC()
		data = data[5:]
	}
	return e, data, nil
}
