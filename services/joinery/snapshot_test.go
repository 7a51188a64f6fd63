package joinery

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// feedDoor answers snapshots with one document, and remembers what came.
type feedDoor struct {
	*httptest.Server
	status  int
	answer  string
	query   string
	kind    string
	bearer  string
	body    string
	retries int
}

func newFeedDoor(t *testing.T, status int, answer string) *feedDoor {
	t.Helper()
	d := &feedDoor{status: status, answer: answer}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Path == "/v1/feeds/hr" {
			body, _ := io.ReadAll(r.Body)
			d.query, d.kind, d.bearer, d.body = r.URL.RawQuery, r.Header.Get("Content-Type"), r.Header.Get("Authorization"), string(body)
		}
		if d.retries--; d.retries >= 0 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(d.status)
		_, _ = io.WriteString(w, d.answer)
	}))
	t.Cleanup(d.Close)
	return d
}

// send runs joinery send against the door.
func (d *feedDoor) send(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	args = append([]string{"send", "--ingest", d.URL, "--source", "hr", "--secret", "s3"}, args...)
	code = Main(args, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

func people(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("employee_id\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestASnapshotIsSentAndItsCountsAreShown(t *testing.T) {
	d := newFeedDoor(t, 200, `{"rows":3,"joined":1,"changed":2,"left":0,"pending_absence":4,"unchanged":0,"duplicates":1}`)
	code, out, errs := d.send("--snapshot", people(t, "people.csv"), "--taken", "2026-03-01T06:00:00Z", "--allow", "abc")
	if code != ExitOK || !strings.Contains(out, "absent, not yet left          4") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if d.kind != "text/csv" || d.bearer != "Bearer s3" || d.body != "employee_id\n1\n" || d.query != "allow=abc&taken=2026-03-01T06%3A00%3A00Z" {
		t.Errorf("sent %+v", d)
	}
}

func TestADryRunSaysWhatWouldBeRefused(t *testing.T) {
	d := newFeedDoor(t, 200, `{"dry_run":true,"rows":1,"would_be_refused":"feed-short","allow":"abc"}`)
	code, out, _ := d.send("--snapshot", people(t, "people.ndjson"), "--dry-run")
	if code != ExitPartly || !strings.Contains(out, "--allow abc") || d.query != "dry_run=true" || d.kind != "application/x-ndjson" {
		t.Errorf("exit %d, sent %+v: %s", code, d, out)
	}
}

func TestARefusedSnapshotShowsItsNumbers(t *testing.T) {
	d := newFeedDoor(t, 422, `{"title":"Snapshot refused","detail":"Too few.","status":422,"counts":{"rows":1,"last_rows":9},"limit":8,"allow":"abc"}`)
	code, out, errs := d.send("--snapshot", people(t, "people.json"))
	if code != ExitPartly || !strings.Contains(out, "Too few.") || !strings.Contains(out, "--allow abc") || errs != "" {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, out, _ := d.send("--json", "--snapshot", people(t, "people.json")); code != ExitPartly || !strings.Contains(out, `"last_rows": 9`) {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestASnapshotWaitsWhileIngestAsksTo(t *testing.T) {
	d := newFeedDoor(t, 200, `{"rows":1}`)
	d.retries = 1
	if code, _, errs := d.send("--snapshot", people(t, "people.csv")); code != ExitOK || d.body != "employee_id\n1\n" {
		t.Errorf("exit %d, sent %q the second time: %s", code, d.body, errs)
	}
}

func TestWhatCannotBeSentAsASnapshotIsAUsageError(t *testing.T) {
	d := newFeedDoor(t, 200, `{}`)
	for name, args := range map[string][]string{
		"an unknown ending":        {"--snapshot", people(t, "people.xlsx")},
		"a file that is not there": {"--snapshot", filepath.Join(t.TempDir(), "people.csv")},
		"events beside it":         {"--snapshot", people(t, "people.csv"), "events.ndjson"},
	} {
		if code, _, _ := d.send(args...); code != ExitUsage {
			t.Errorf("%s: exit %d", name, code)
		}
	}
	if d.body != "" {
		t.Error("something was sent")
	}
}
