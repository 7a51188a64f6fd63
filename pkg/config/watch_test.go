package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// told is what a watcher was told, and when since the start.
type told struct {
	After  time.Duration
	Digest string
	Err    string
}

// followed runs follow on fake time. script changes what load gives, and says
// that something changed.
func followed(t *testing.T, script func(set func(digest string, err error), change func())) []told {
	t.Helper()
	var got []told
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		changes := make(chan struct{}, 1)
		var state atomic.Pointer[func() (*Folder, error)]
		set := func(digest string, err error) {
			load := func() (*Folder, error) {
				if err != nil {
					return nil, err
				}
				return &Folder{Digest: digest}, nil
			}
			state.Store(&load)
		}
		set("first", nil)
		begun := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			load := func() (*Folder, error) { return (*state.Load())() }
			follow(ctx, changes, "first", load, func(f *Folder, err error) {
				line := told{After: time.Since(begun)}
				if f != nil {
					line.Digest = f.Digest
				}
				if err != nil {
					line.Err = err.Error()
				}
				got = append(got, line)
			})
		}()
		script(set, func() {
			select {
			case changes <- struct{}{}:
			default:
			}
			synctest.Wait()
		})
		cancel()
		<-done
	})
	return got
}

// pass lets fake time go by.
func pass(d time.Duration) { <-time.After(d) }

func TestChangeIsToldOnceItHasSettled(t *testing.T) {
	got := followed(t, func(set func(string, error), change func()) {
		pass(time.Second)
		set("second", nil)
		for range 3 {
			change()
			pass(quiet / 2)
		}
		pass(time.Second)
	})
	want := []told{{After: time.Second + 2*quiet, Digest: "second"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestChangeThatNeverSettlesIsToldAllTheSame(t *testing.T) {
	got := followed(t, func(set func(string, error), change func()) {
		set("second", nil)
		for range 25 {
			change()
			pass(quiet / 2)
		}
	})
	want := []told{{After: patience, Digest: "second"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestTouchWithoutAChangeIsNotTold(t *testing.T) {
	got := followed(t, func(_ func(string, error), change func()) {
		change()
		pass(time.Minute)
	})
	if len(got) > 0 {
		t.Fatal(got)
	}
}

func TestUnnoticedChangeIsFoundByLooking(t *testing.T) {
	got := followed(t, func(set func(string, error), _ func()) {
		pass(time.Second)
		set("second", nil)
		pass(2 * look)
	})
	want := []told{{After: look, Digest: "second"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestRefusalIsToldOnceAndItsEndToo(t *testing.T) {
	got := followed(t, func(set func(string, error), change func()) {
		set("second", errors.New("wrong"))
		change()
		pass(5 * look)
		set("second", errors.New("wrong in another way"))
		change()
		pass(time.Second)
		set("first", nil)
		change()
		pass(5 * look)
	})
	want := []told{
		{After: quiet, Err: "wrong"},
		{After: 5*look + quiet, Err: "wrong in another way"},
		{After: 5*look + time.Second + quiet, Digest: "first"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestWatchedFolderIsTakenWholeOrRefusedWhole(t *testing.T) {
	const target = "target: x\nendpoint: https://x.example\nauth: { bearer: { env: HR_SECRET } }\nassign: true\n" + userName
	dir := files(t, map[string]string{"joinery.yaml": "ingest: { listen: ':1' }\n"})
	ctx, cancel := context.WithCancel(t.Context())
	type change struct {
		folder *Folder
		err    error
	}
	changes := make(chan change, 8)
	done := make(chan struct{})
	from := loaded(t, dir)
	go func() {
		defer close(done)
		Watch(ctx, from, func(f *Folder, err error) { changes <- change{f, err} })
	}()
	next := func() change {
		select {
		case c := <-changes:
			return c
		case <-time.After(time.Minute):
			t.Fatal("no change is noticed")
			return change{}
		}
	}
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The folder of targets comes later, and is watched from then on.
	if err := os.Mkdir(filepath.Join(dir, "targets"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("targets/x.yaml", target)
	if c := next(); c.err != nil || c.folder.Targets["x"].Endpoint != "https://x.example" {
		t.Fatalf("%+v", c)
	}
	write("targets/x.yaml", target+"concurency: 5\n")
	want := `targets/x.yaml:6:1: unknown key "concurency" (did you mean concurrency?)`
	if c := next(); c.folder != nil || c.err == nil || c.err.Error() != want {
		t.Fatalf("%+v", c)
	}
	write("targets/x.yaml", target+"concurrency: 5\n")
	if c := next(); c.err != nil || c.folder.Targets["x"].Concurrency != 5 || c.folder.Joinery.Ingest.Listen != ":1" {
		t.Fatalf("%+v", c)
	}
	if err := os.Remove(filepath.Join(dir, "targets/x.yaml")); err != nil {
		t.Fatal(err)
	}
	if c := next(); c.err != nil || len(c.folder.Targets) != 0 {
		t.Fatalf("%+v", c)
	}
	cancel()
	<-done
}
