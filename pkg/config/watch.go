package config

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// How changes are noticed.
const (
	// quiet is how long nothing must change before the folder is read: an editor
	// or a checkout writes several files one after the other.
	quiet = 200 * time.Millisecond
	// patience is how long that may take; then it is read all the same.
	patience = 2 * time.Second
	// look is how often the folder is read without a notice of change: network
	// file systems give none, and secrets outside the folder can appear.
	look = 30 * time.Second
)

// Watch calls fn for each change of a loaded folder until ctx is done, one call
// at a time. A change is taken whole: fn gets the new folder, or the error of
// Load, after which the folder before is still in force. What is refused is told
// once, not each time it is looked at.
func Watch(ctx context.Context, from *Folder, fn func(*Folder, error)) {
	n := notice(from.Dir)
	// What changed after the folder was loaded and before now has no notice.
	n.changes <- struct{}{}
	go n.forward()
	defer n.stop()
	follow(ctx, n.changes, from.Digest, func() (*Folder, error) {
		n.watch(from.Dir)
		return Load(from.Dir, from.env)
	}, fn)
}

// follow reads after changes, and now and then.
func follow(ctx context.Context, changes <-chan struct{}, digest string, load func() (*Folder, error), fn func(*Folder, error)) {
	refused := ""
	for settle(ctx, changes) {
		f, err := load()
		switch {
		case err != nil && err.Error() != refused:
			refused = err.Error()
			fn(nil, err)
		case err == nil && (f.Digest != digest || refused != ""):
			digest, refused = f.Digest, ""
			fn(f, nil)
		}
	}
}

// settle waits until it is time to read; it is false when ctx is done.
func settle(ctx context.Context, changes <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(look):
		return true
	case <-changes:
	}
	latest := time.After(patience)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-latest:
			return true
		case <-time.After(quiet):
			return true
		case <-changes:
		}
	}
}

// notices tells of changes, as far as the system does. Where it cannot, looking
// now and then has to do.
type notices struct {
	changes chan struct{}
	watcher *fsnotify.Watcher
	done    chan struct{}
}

func notice(dir string) *notices {
	n := &notices{changes: make(chan struct{}, 1), done: make(chan struct{})}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return n
	}
	n.watcher = watcher
	n.watch(dir)
	return n
}

// watch asks for the notices of the folder and its parts. Parts that were
// replaced must be asked for again: a mounted configuration is replaced whole.
func (n *notices) watch(dir string) {
	if n.watcher == nil {
		return
	}
	for _, part := range []string{"", sourcesDir, targetsDir} {
		// A part that is not there is noticed in the folder when it comes.
		_ = n.watcher.Add(filepath.Join(dir, part))
	}
}

func (n *notices) forward() {
	defer close(n.done)
	if n.watcher == nil {
		return
	}
	for {
		select {
		case _, ok := <-n.watcher.Events:
			if !ok {
				return
			}
		case _, ok := <-n.watcher.Errors:
			if !ok {
				return
			}
		}
		select {
		case n.changes <- struct{}{}:
		default:
		}
	}
}

func (n *notices) stop() {
	if n.watcher != nil {
		_ = n.watcher.Close()
	}
	<-n.done
}
