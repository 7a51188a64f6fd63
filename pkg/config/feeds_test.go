package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// withSource is a folder with one source that has these lines besides.
func withSource(t *testing.T, lines string) (Source, error) {
	t.Helper()
	dir := t.TempDir()
	text := "source: hr\nauth: { bearer: { env: HR_SECRET } }\nidentity_key: event.data.id\n" + lines
	for name, data := range map[string]string{"joinery.yaml": "{}\n", "sources/hr.yaml": text} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Load(dir, environment)
	if err != nil {
		return Source{}, err
	}
	return f.Sources["hr"], nil
}

func withFeeds(t *testing.T, lines string) (Feeds, error) {
	t.Helper()
	s, err := withSource(t, lines)
	if err != nil {
		return Feeds{}, err
	}
	return s.Feeds, nil
}

func TestAFeedEndsNobodyUnlessToldTo(t *testing.T) {
	got, err := withFeeds(t, "")
	if err != nil {
		t.Fatal(err)
	}
	want := Feeds{
		Absence: "ignore", Confirm: 2, ConfirmAfter: time.Hour, MinPercent: 90, MaxLeavers: 500, MaxLeaversPercent: 5, Delimiter: "comma",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFeedSettingsAreRead(t *testing.T) {
	got, err := withFeeds(t, "feeds: { absence: leaver, confirm: 3, confirm_after: 12h, min_percent: 95, max_leavers: 20, "+
		"max_leavers_percent: 1, max_unreadable: 4, required: [id, email], delimiter: semicolon }\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Feeds{
		Absence: "leaver", Confirm: 3, ConfirmAfter: 12 * time.Hour, MinPercent: 95, MaxLeavers: 20, MaxLeaversPercent: 1,
		MaxUnreadable: 4, Required: []string{"id", "email"}, Delimiter: "semicolon",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Comma() != ';' {
		t.Errorf("comma %q", got.Comma())
	}
}

func TestOneSnapshotAloneCannotEndPeople(t *testing.T) {
	if _, err := withFeeds(t, "feeds: { absence: leaver, confirm: 1 }\n"); err == nil || !strings.Contains(err.Error(), "2") {
		t.Errorf("got %v", err)
	}
}
