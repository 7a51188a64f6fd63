package mapper_test

import (
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/services/mapper"
)

func (d *desk) recompute(targets mapper.Targets) {
	d.Helper()
	if _, err := d.Recompute(d.Context(), targets, "config-1"); err != nil {
		d.Fatal(err)
	}
}

var broken = map[string]any{"department": "Engineering", "title": "broken"}

func TestARestartPutsNoMappingBeforeAPersonAgain(t *testing.T) {
	targets := mapper.Targets{"git": live(engineers)}
	d := newDesk(t, targets)
	d.handle(event("e1", "joined", 0, broken))
	d.recompute(targets)
	d.recompute(targets)
	d.same([]string{"git users[0]: failed"}, d.post.letters)

	// Another mapping that fails is news, once.
	changed := live(engineers)
	changed.Version = "2"
	d.recompute(mapper.Targets{"git": changed})
	d.recompute(mapper.Targets{"git": changed})
	d.same([]string{"git users[0]: failed", "git users[0]: failed"}, d.post.letters)

	// So is an event: it has no other end than the case.
	d.handle(event("e2", "changed", time.Hour, map[string]any{"phone": "1"}))
	if n := len(d.post.letters); n != 3 {
		t.Errorf("%d letters", n)
	}
}

func TestACrashBeforeTheCaseIsFiledFilesItLater(t *testing.T) {
	targets := mapper.Targets{"git": live(engineers)}
	d := newDesk(t, targets)
	d.handle(event("e1", "joined", 0, broken))
	// As the process would have left it.
	id := identity.IDOf("1001")
	rec := d.persons.records[id]
	failing := rec.Failing["git"]
	failing.Filed = false
	rec.Failing = map[string]identity.Failing{"git": failing}
	d.persons.records[id] = rec
	d.recompute(targets)
	d.recompute(targets)
	if n := len(d.post.letters); n != 2 {
		t.Errorf("%d letters", n)
	}
}

func TestWhatComesRightIsTold(t *testing.T) {
	targets := mapper.Targets{"acme": live(everybody), "git": live(engineers)}
	for name, step := range map[string]func(d *desk){
		"by an event":               func(d *desk) { d.handle(event("e2", "changed", time.Hour, map[string]any{"title": "Rep"})) },
		"because nobody is there":   func(d *desk) { d.handle(event("e2", "left", time.Hour, map[string]any{"title": "Rep"})) },
		"by a change of the config": func(d *desk) { d.recompute(mapper.Targets{"acme": live(everybody), "git": live(everybody)}) },
		"with the target":           func(d *desk) { d.recompute(mapper.Targets{"acme": live(everybody)}) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, targets)
			d.handle(event("e1", "joined", 0, broken))
			if rec := d.persons.records[identity.IDOf("1001")]; len(rec.Failing) != 1 {
				t.Fatalf("failing: %v", rec.Failing)
			}
			step(d)
			d.same([]string{"git"}, d.post.mended)
			if rec := d.persons.records[identity.IDOf("1001")]; rec.Failing != nil {
				t.Errorf("failing: %v", rec.Failing)
			}
		})
	}
}
