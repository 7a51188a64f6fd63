package feed_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/services/ingest/feed"
)

// read reads a whole snapshot: its rows, and how it ended.
func read(t testing.TB, format feed.Format, text string, s feed.Settings) (rows []map[string]any, unreadable int, err error) {
	t.Helper()
	r, err := feed.NewReader(format, iotest.HalfReader(strings.NewReader(text)), int64(len(text)), s)
	if err != nil {
		return nil, 0, err
	}
	for {
		row, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return rows, unreadable, nil
		case errors.Is(err, feed.ErrUnreadable):
			unreadable++
		case err != nil:
			return rows, unreadable, err
		default:
			again, err := r.Parse(format, []byte(text[row.Offset:row.Offset+int64(row.Length)]))
			if err != nil {
				t.Fatalf("row %d cannot be read again: %v", row.Line, err)
			}
			if diff := cmp.Diff(row.Data, again); diff != "" {
				t.Fatalf("row %d reads differently the second time: %s", row.Line, diff)
			}
			rows = append(rows, maps.Clone(row.Data))
		}
	}
}

func TestRowsAreReadTheSameAgainFromTheirPlace(t *testing.T) {
	want := []map[string]any{{"id": "1", "note": "a,\n\"b\""}, {"id": "2"}}
	for format, text := range map[feed.Format]string{
		feed.CSV:   "\ufeffid,note\r\n\r\n1,\"a,\n\"\"b\"\"\"\r\n\n2,\n",
		feed.JSON:  "\n[ {\"id\":\"1\",\"note\":\"a,\\n\\\"b\\\"\"} ,\n{\"id\":\"2\"}\n]\n",
		feed.Lines: "{\"id\":\"1\",\"note\":\"a,\\n\\\"b\\\"\"}\r\n \n{\"id\":\"2\"}",
	} {
		rows, unreadable, err := read(t, format, text, feed.Settings{})
		if diff := cmp.Diff(want, rows); diff != "" || unreadable != 0 || err != nil {
			t.Errorf("%s: %d unreadable, %v: %s", format, unreadable, err, diff)
		}
	}
}

func TestColumnsAreSeparatedAsTheSourceSays(t *testing.T) {
	rows, _, err := read(t, feed.CSV, "id;name\n1;\"Doe; Jane\"\n", feed.Settings{Comma: ';'})
	if diff := cmp.Diff([]map[string]any{{"id": "1", "name": "Doe; Jane"}}, rows); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestARequiredColumnMustHaveAValueInEveryRow(t *testing.T) {
	s := feed.Settings{Required: []string{"email"}}
	rows, unreadable, err := read(t, feed.CSV, "id,email\n1,a@example.com\n2,\n", s)
	if len(rows) != 1 || unreadable != 1 || err != nil {
		t.Errorf("CSV: %v, %d unreadable, %v", rows, unreadable, err)
	}
	rows, unreadable, err = read(t, feed.JSON, `[{"id":"1","email":"a@example.com"},{"id":"2"},{"id":"3","email":null}]`, s)
	if len(rows) != 1 || unreadable != 2 || err != nil {
		t.Errorf("JSON: %v, %d unreadable, %v", rows, unreadable, err)
	}
}

// endless is a text of so many bytes.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	for i := range p {
		p[i] = 'x'
	}
	e.left -= len(p)
	return len(p), nil
}

func TestARowWithoutAnEndIsNotHeldInMemory(t *testing.T) {
	for format, start := range map[feed.Format]string{feed.CSV: "id,name\n1,\"", feed.JSON: `[{"id":"`, feed.Lines: `{"id":"`} {
		const size = 1 << 30
		source := &endless{left: size}
		r, err := feed.NewReader(format, io.MultiReader(strings.NewReader(start), source), size, feed.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Next()
		var refusal *feed.Refusal
		if !errors.As(err, &refusal) || refusal.Reason != feed.Malformed {
			t.Errorf("%s: got %v", format, err)
		}
		if got := size - source.left; got > 2<<20 {
			t.Errorf("%s: %d bytes were read", format, got)
		}
	}
}

func TestADiskThatFailsIsNoFaultOfTheSnapshot(t *testing.T) {
	for format, start := range map[feed.Format]string{feed.CSV: "id\n1\n", feed.JSON: `[{"id":"1"}`, feed.Lines: "{\"id\":\"1\"}\n"} {
		broken := errors.New("the disk is broken")
		r, err := feed.NewReader(format, io.MultiReader(strings.NewReader(start), iotest.ErrReader(broken)), 1<<20, feed.Settings{})
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, broken) {
			t.Errorf("%s: got %v", format, err)
		}
	}
}

// FuzzRows: whatever is sent, reading ends, never gives a row that reads
// differently from its place, and what the standard library reads as CSV without
// complaint is read with the same fields.
func FuzzRows(f *testing.F) {
	for _, text := range []string{
		"id,name\n1,Ann\n", "\ufeffid\r\n\"1\"\r\n", "id,name\n1,\"A\nB\"\n2\n", "id\n\"1", `[{"id":"1"},{"id":2}]`, `[{"id":`, "[]", "{\"id\":\"1\"}\n\n{}", "", ",\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, format := range []feed.Format{feed.JSON, feed.Lines, feed.CSV} {
			rows, unreadable, err := read(t, format, text, feed.Settings{})
			var refusal *feed.Refusal
			if err != nil && !errors.As(err, &refusal) {
				t.Fatalf("%s: %v", format, err)
			}
			if format == feed.CSV && err == nil && unreadable == 0 {
				compareCSV(t, text, rows)
			}
		}
	})
}

func compareCSV(t *testing.T, text string, rows []map[string]any) {
	t.Helper()
	all, err := csv.NewReader(bytes.NewReader([]byte(strings.TrimPrefix(text, "\ufeff")))).ReadAll()
	if err != nil || len(all) != len(rows)+1 {
		t.Fatalf("the library reads %d rows (%v), we %d", len(all), err, len(rows))
	}
	for i, fields := range all[1:] {
		values := slices.DeleteFunc(fields, func(v string) bool { return v == "" })
		if len(values) != len(rows[i]) {
			t.Fatalf("row %d: %q, we %v", i, values, rows[i])
		}
	}
}
