package dispatcher_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/simulator"
)

func TestATargetWithoutPostSearchIsRememberedByEveryReplica(t *testing.T) {
	b := simulator.Behaviour{}
	b.NoSearch = true
	knowing(t, simulator.Options{Behaviour: b}, profile.Knobs{SearchBy: "post"}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		w.stop()
		w.run("worker-2")
		w.wish("bo", nil)
		w.wait(time.Second)
		posts := 0
		for _, r := range w.acme.Requests() {
			if r.Method == http.MethodPost && r.Path == "/Users/.search" {
				posts++
			}
		}
		if posts != 1 {
			w.Errorf("searched by POST %d times", posts)
		}
		s, _, err := w.states.Get(w.Context(), "acme")
		must(w, err)
		if q := s.Quirks["search.by"]; q.Value != "get" || q.Evidence != "POST /Users/.search: 501" {
			w.Errorf("%+v", s.Quirks)
		}
	})
}
