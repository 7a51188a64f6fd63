package feed

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"
)

// ref is what is remembered of a row: 40 bytes, and its key.
type ref struct {
	hash   Hash
	offset int64
	key    uint32 // where it begins in Index.keys
	length uint32
	keyLen uint16
}

// Index is what is remembered of a snapshot's rows: 40 bytes a row and the keys.
type Index struct {
	keys []byte
	rows []ref
	// Doubled counts the rows that have the key of another row.
	Doubled int
	// Unreadable counts the rows that are not in the index.
	Unreadable int
}

// Add takes a row. It fails with a *Refusal where the index is full.
func (x *Index) Add(key string, says Hash, row Row) error {
	if len(x.rows) == MaxRows || len(x.keys)+len(key) > MaxKeys {
		r := refuse(TooLarge, "The snapshot has more than %d rows, or keys longer than %d bytes on average. Split the source.", MaxRows, MaxKeys/MaxRows)
		r.Limit = MaxRows
		return r
	}
	x.rows = append(x.rows, ref{
		hash: says, offset: row.Offset, length: uint32(row.Length), //nolint:gosec // at most MaxRow
		key: uint32(len(x.keys)), keyLen: uint16(min(len(key), math.MaxUint16)), //nolint:gosec // at most MaxKeys
	})
	x.keys = append(x.keys, key...)
	return nil
}

// Len is the number of rows.
func (x *Index) Len() int { return len(x.rows) }

// Key is the key of the i-th row.
func (x *Index) Key(i int) []byte {
	r := x.rows[i]
	return x.keys[r.key : r.key+uint32(r.keyLen)]
}

// Hash is what the i-th row says.
func (x *Index) Hash(i int) Hash { return x.rows[i].hash }

// Place is where the i-th row stands in the snapshot, in bytes.
func (x *Index) Place(i int) (offset int64, length int) {
	return x.rows[i].offset, int(x.rows[i].length)
}

// Sort brings the rows into the order of their keys, counts the doubled ones,
// and gives the hash of what the snapshot says: the same for the same rows in
// any order and writing.
func (x *Index) Sort() Hash {
	slices.SortFunc(x.rows, func(a, b ref) int {
		return bytes.Compare(x.keys[a.key:a.key+uint32(a.keyLen)], x.keys[b.key:b.key+uint32(b.keyLen)])
	})
	h := sha256.New()
	for i := range x.rows {
		if i > 0 && bytes.Equal(x.Key(i-1), x.Key(i)) {
			x.Doubled++
		}
		part(h, x.Key(i))
		part(h, x.rows[i].hash[:])
	}
	return sum(h)
}

// part adds a text to a hash so that no two lists of texts give the same bytes.
func part(h hash.Hash, text []byte) {
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(text))) //nolint:gosec // rows are bounded
	h.Write(length[:])
	h.Write(text)
}

func sum(h hash.Hash) (out Hash) {
	copy(out[:], h.Sum(nil))
	return out
}

// HashOf is one hash of several texts.
func HashOf(texts ...string) Hash {
	h := sha256.New()
	for _, text := range texts {
		part(h, []byte(text))
	}
	return sum(h)
}

// Says is the hash of what is said of a person. It is the same in every version
// of this program: it is kept.
func Says(attributes *structpb.Struct, cleared []string) Hash {
	h := sha256.New()
	fields(h, attributes)
	for _, name := range cleared {
		part(h, []byte(name))
	}
	return sum(h)
}

func fields(h hash.Hash, s *structpb.Struct) {
	part(h, binary.AppendUvarint([]byte{'{'}, uint64(len(s.GetFields()))))
	for _, name := range slices.Sorted(maps.Keys(s.GetFields())) {
		part(h, []byte(name))
		value(h, s.GetFields()[name])
	}
}

func value(h hash.Hash, v *structpb.Value) {
	switch v := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		part(h, []byte{'s'})
		part(h, []byte(v.StringValue))
	case *structpb.Value_NumberValue:
		part(h, binary.BigEndian.AppendUint64([]byte{'n'}, math.Float64bits(v.NumberValue)))
	case *structpb.Value_BoolValue:
		if v.BoolValue {
			part(h, []byte{'t'})
		} else {
			part(h, []byte{'f'})
		}
	case *structpb.Value_StructValue:
		fields(h, v.StructValue)
	case *structpb.Value_ListValue:
		part(h, binary.AppendUvarint([]byte{'['}, uint64(len(v.ListValue.GetValues()))))
		for _, item := range v.ListValue.GetValues() {
			value(h, item)
		}
	default:
		part(h, []byte{'0'})
	}
}
