package feed

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/joinery/joinery/pkg/event"
)

// Format is how a snapshot is written.
type Format string

// The formats, by their media types.
const (
	CSV   Format = "text/csv"
	JSON  Format = "application/json"
	Lines Format = "application/x-ndjson"
)

// Row is one row as it was read. Data is valid until the next one is read.
type Row struct {
	// Offset and Length are where the row stands in the snapshot, in bytes.
	Offset int64
	Length int
	// Line counts rows, from 1; the header is not one.
	Line int
	Data map[string]any
}

// ErrUnreadable is why one row cannot be read; the rows after it can.
var ErrUnreadable = errors.New("the row cannot be read")

// Reader reads the rows of one snapshot, one at a time.
type Reader struct {
	next func() (Row, error)
	// Columns are the columns of CSV.
	Columns  []string
	settings Settings
	line     int
}

// NewReader reads a snapshot of so many bytes. It fails with a *Refusal where
// the snapshot as a whole cannot be read.
func NewReader(format Format, in io.Reader, size int64, settings Settings) (*Reader, error) {
	r := &Reader{settings: settings}
	limited := &window{in: in}
	switch format {
	case CSV:
		return r, r.csv(limited, size)
	case JSON:
		return r, r.json(limited)
	case Lines:
		r.lines(limited, size)
		return r, nil
	default:
		return nil, fmt.Errorf("read a snapshot: no such format")
	}
}

// Next gives the next row, or io.EOF at the end. An error that is ErrUnreadable
// concerns that row alone; a *Refusal the whole snapshot.
func (r *Reader) Next() (Row, error) {
	r.line++
	row, err := r.next()
	row.Line = r.line
	if err == nil && !r.complete(row.Data) {
		err = ErrUnreadable
	}
	return row, err
}

func (r *Reader) complete(data map[string]any) bool {
	return !slices.ContainsFunc(r.settings.Required, func(name string) bool {
		return data[name] == nil || data[name] == ""
	})
}

// Parse reads one row again, given exactly its bytes.
func (r *Reader) Parse(format Format, data []byte) (map[string]any, error) {
	if format != CSV {
		return event.ParseRow(data)
	}
	fields, err := r.fields(bytes.NewReader(data)).Read()
	if err != nil {
		return nil, fmt.Errorf("read a row again: %w", err)
	}
	return r.record(fields)
}

func (r *Reader) fields(in io.Reader) *csv.Reader {
	c := csv.NewReader(in)
	c.ReuseRecord = true
	if r.settings.Comma != 0 {
		c.Comma = r.settings.Comma
	}
	c.FieldsPerRecord = len(r.Columns) // 0 before the header is read: as many as it has
	return c
}

func (r *Reader) csv(in *window, size int64) error {
	start, err := in.skipMark()
	if err != nil {
		return aborted(err)
	}
	c := r.fields(in)
	header, err := c.Read()
	if errors.Is(err, io.EOF) {
		return refuse(Empty, "The snapshot is empty: not even a header row is there.")
	}
	if err != nil {
		return r.csvError(err, start+c.InputOffset() >= size)
	}
	if err := r.header(header); err != nil {
		return err
	}
	r.next = func() (Row, error) {
		in.forget()
		row := Row{Offset: start + c.InputOffset()}
		fields, err := c.Read()
		row.Length = int(start + c.InputOffset() - row.Offset)
		if errors.Is(err, io.EOF) {
			return row, io.EOF
		}
		if err != nil {
			return row, r.csvError(err, start+c.InputOffset() >= size)
		}
		row.Data, err = r.record(fields)
		return row, err
	}
	return nil
}

// csvError tells a wrong row from a snapshot that ends in the middle of one.
func (r *Reader) csvError(err error, last bool) error {
	var syntax *csv.ParseError
	switch {
	case errors.Is(err, errTooLong):
		return refuse(Malformed, "Row %d is longer than %d bytes; a quote that is not closed makes it so.", r.line, MaxRow)
	case !errors.As(err, &syntax):
		return aborted(err)
	case last:
		return &Refusal{Reason: CutShort, Line: r.line, Detail: "The snapshot ends in the middle of a row. Send it whole."}
	case r.Columns == nil:
		return refuse(NoHeader, "The first row is no header of column names.")
	default:
		return ErrUnreadable
	}
}

// header takes the names of the columns.
func (r *Reader) header(names []string) error {
	seen := map[string]bool{}
	for _, name := range names {
		name = strings.TrimSpace(name)
		folded := strings.ToLower(name)
		if name == "" || len(name) > event.MaxName || !utf8.ValidString(name) || seen[folded] {
			return refuse(NoHeader, "The first row is no header: a column has no name, or the name of another column.")
		}
		seen[folded] = true
		r.Columns = append(r.Columns, name)
	}
	for _, name := range r.settings.Required {
		if !slices.Contains(r.Columns, name) {
			return refuse(NoHeader, "The header does not name the column %q.", name)
		}
	}
	return nil
}

// record is a row of CSV as an object. An empty field is one that is not there.
func (r *Reader) record(fields []string) (map[string]any, error) {
	out := make(map[string]any, len(fields))
	for i, value := range fields {
		if !utf8.ValidString(value) {
			return nil, ErrUnreadable
		}
		if value != "" {
			out[r.Columns[i]] = value
		}
	}
	return out, nil
}

func (r *Reader) lines(in *window, size int64) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	var at int64
	var line []byte
	r.next = func() (Row, error) {
		for {
			in.forget()
			row := Row{Offset: at}
			var err error
			line, err = readLine(buffered, line[:0])
			at += int64(len(line))
			row.Length = len(line)
			switch text := bytes.TrimSpace(line); {
			case errors.Is(err, errTooLong):
				return row, refuse(Malformed, "Row %d is longer than %d bytes.", r.line, MaxRow)
			case err != nil && !errors.Is(err, io.EOF):
				return row, aborted(err)
			case len(text) == 0 && err != nil:
				return row, io.EOF
			case len(text) == 0:
				continue
			default:
				row.Data, err = event.ParseRow(text)
				if err != nil && at >= size && line[len(line)-1] != '\n' {
					return row, &Refusal{Reason: CutShort, Line: r.line, Detail: "The snapshot ends in the middle of a row. Send it whole."}
				}
				return row, unreadable(err)
			}
		}
	}
}

// readLine reads a line with its end into buf. Its end may be the end of all.
func readLine(in *bufio.Reader, buf []byte) ([]byte, error) {
	for {
		part, err := in.ReadSlice('\n')
		buf = append(buf, part...)
		if len(buf) > MaxRow {
			return buf, errTooLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return buf, err
		}
	}
}

func (r *Reader) json(in *window) error {
	dec := json.NewDecoder(in)
	first, err := dec.Token()
	switch {
	case errors.Is(err, io.EOF):
		return refuse(Empty, "The snapshot is empty: not even brackets are there.")
	case err != nil:
		return r.jsonError(err)
	case first != json.Delim('['):
		return refuse(Malformed, "The snapshot is no JSON array of objects.")
	}
	r.next = func() (Row, error) {
		in.forget()
		if !dec.More() {
			return Row{}, r.closed(dec)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return Row{}, r.jsonError(err)
		}
		row := Row{Offset: dec.InputOffset() - int64(len(raw)), Length: len(raw)}
		var err error
		row.Data, err = event.ParseRow(raw)
		return row, unreadable(err)
	}
	return nil
}

// closed reads the end of the array, and makes sure that nothing follows it.
func (r *Reader) closed(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return r.jsonError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return refuse(Malformed, "Something follows the end of the JSON array.")
	}
	return io.EOF
}

func (r *Reader) jsonError(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, errTooLong):
		return refuse(Malformed, "Row %d is longer than %d bytes.", r.line, MaxRow)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Refusal{Reason: CutShort, Line: r.line, Detail: "The snapshot ends before the JSON array does. Send it whole."}
	case errors.As(err, &syntax):
		return &Refusal{Reason: Malformed, Line: r.line, Detail: fmt.Sprintf("Row %d is not valid JSON.", r.line)}
	default:
		return aborted(err)
	}
}

func unreadable(err error) error {
	if err != nil {
		return ErrUnreadable
	}
	return nil
}

func aborted(err error) error { return fmt.Errorf("read a snapshot: %w", err) }

// errTooLong: a row is longer than MaxRow.
var errTooLong = errors.New("the row is too long")

// window bounds what is read since the last forget: what a parser holds of a row
// that does not end.
type window struct {
	in   io.Reader
	read int
	// pending is what was read to look for a byte order mark.
	pending []byte
}

// readAhead is what parsers read beyond the row that they are in.
const readAhead = MaxRow + 64<<10

// Read implements io.Reader.
func (w *window) Read(p []byte) (int, error) {
	if w.read > MaxRow+readAhead {
		return 0, errTooLong
	}
	if len(w.pending) > 0 {
		n := copy(p, w.pending)
		w.pending = w.pending[n:]
		return n, nil
	}
	n, err := w.in.Read(p)
	w.read += n
	return n, err
}

func (w *window) forget() { w.read = 0 }

// skipMark skips a byte order mark, and gives its length.
func (w *window) skipMark() (int64, error) {
	const mark = "\ufeff"
	head := make([]byte, len(mark))
	n, err := io.ReadFull(w.in, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	if string(head[:n]) == mark {
		return int64(n), nil
	}
	w.pending = head[:n]
	return 0, nil
}
