package stream_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/stream"
)

// Hundreds of writers at once gather in batches; each must be told of its own
// write, whatever became of the others in its batch.
func TestWritesThatGatherAreEachToldTheirOwn(t *testing.T) {
	w := designed(t)
	b := people(t, w)
	taken, err := b.Put(t.Context(), "taken", person{Name: "first"}, 0)
	must(t, err)
	var all sync.WaitGroup
	var mu sync.Mutex
	revisions, conflicts := map[string]uint64{}, 0
	for i := range 400 {
		all.Go(func() {
			key := fmt.Sprintf("key%d", i)
			if i%20 == 0 {
				key = "taken" // by somebody before: refused, and nobody else with it
			}
			rev, err := b.Put(t.Context(), key, person{Name: key}, 0)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, stream.ErrConflict) && key == "taken":
				conflicts++
			case err != nil:
				t.Error(key, err)
			default:
				revisions[key] = rev
			}
		})
	}
	all.Wait()
	if conflicts != 20 || len(revisions) != 380 {
		t.Errorf("%d conflicts, %d stored", conflicts, len(revisions))
	}
	for key, rev := range revisions {
		got, stored, err := b.Get(t.Context(), key)
		if err != nil || stored != rev || got.Name != key {
			t.Errorf("%s: told %d, stored %d %v %v", key, rev, stored, got, err)
		}
	}
	if got, rev, err := b.Get(t.Context(), "taken"); err != nil || rev != taken || got.Name != "first" {
		t.Error(got, rev, err)
	}
}

func TestOfManyWhoWriteOneKeyOneWins(t *testing.T) {
	w := designed(t)
	b := people(t, w)
	rev, err := b.Put(t.Context(), "ann", person{Name: "0"}, 0)
	must(t, err)
	for round := range 5 {
		var all sync.WaitGroup
		var mu sync.Mutex
		var won []uint64
		for i := range 64 {
			all.Go(func() {
				next, err := b.Put(t.Context(), "ann", person{Name: fmt.Sprint(round, i)}, rev)
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					won = append(won, next)
				} else if !errors.Is(err, stream.ErrConflict) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(won) != 1 {
			t.Fatalf("%d won", len(won))
		}
		rev = won[0]
	}
}

func TestMessagesThatGatherAreStoredOnce(t *testing.T) {
	w := designed(t, "acme")
	p := w.conn.Publisher()
	var all sync.WaitGroup
	var mu sync.Mutex
	stored, repeated := 0, 0
	for i := range 600 {
		all.Go(func() {
			id := fmt.Sprint("e", i%300) // everybody twice
			msg := message.NewMessage(id, []byte(id))
			msg.SetContext(t.Context())
			again, err := p.PublishNew("joinery.outcome.acme.ann."+id, msg)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case again:
				repeated++
			default:
				stored++
			}
		})
	}
	all.Wait()
	if stored != 300 || repeated != 300 {
		t.Errorf("%d stored, %d repeated", stored, repeated)
	}
	n := 0
	for m, err := range w.conn.Scan(t.Context(), stream.Outcomes, "joinery.outcome.>") {
		must(t, err)
		if !strings.HasSuffix(m.Subject, "."+string(m.Message.Payload)) {
			t.Error(m.Subject, string(m.Message.Payload))
		}
		n++
	}
	if n != 300 {
		t.Errorf("%d messages", n)
	}
}
