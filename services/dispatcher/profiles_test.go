package dispatcher_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/structpb"
)

// TestEveryPersonalityEndsInTheDesiredState hires, changes, lets go and takes back
// somebody at a target that behaves as each profile says, with every fault that
// passes by itself on top.
func TestEveryPersonalityEndsInTheDesiredState(t *testing.T) {
	catalogue, err := profile.Load()
	must(t, err)
	for _, p := range catalogue.All() {
		t.Run(p.Name, func(t *testing.T) {
			behaviour := simulator.FromKnobs(p.Knobs)
			knowing(t, simulator.Options{Behaviour: behaviour, Seed: 7}, p.Knobs, func(w *world) {
				for _, fault := range []string{
					"429:chance=0.05:retry-after=2s", "429-date:chance=0.02:retry-after=2s", "429-bare:chance=0.02", "500:chance=0.05", "503:chance=0.02",
					"lost:chance=0.05", "500-after:chance=0.05", "dropped:chance=0.05", "late:chance=0.05:retry-after=5s",
				} {
					f, err := simulator.ParseFault(fault)
					must(w, err)
					w.acme.Inject(f)
				}
				for _, c := range []func(*joineryv1.ProvisioningCommand){wanting("Rep", p.Knobs), wanting("Lead", p.Knobs), leaves, wanting("Lead", p.Knobs)} {
					w.wish("ann", c)
					w.wait(20 * time.Minute)
				}
				if wrong := ending(w, p.Knobs); wrong != "" {
					w.Error(wrong, w.outcomes())
				}
			})
		})
	}
}

// wanting is a wish that has what the profile's vendor requires.
func wanting(title string, k profile.Knobs) func(*joineryv1.ProvisioningCommand) {
	return func(c *joineryv1.ProvisioningCommand) {
		r := scim.Resource{
			"userName": "ann@example.com", "externalId": "ann", "displayName": "Ann Lee", "title": title, "userType": "Employee",
			"name":   map[string]any{"givenName": "Ann", "familyName": "Lee", "formatted": "Ann Lee"},
			"emails": []any{map[string]any{"type": "work", "value": "ann@example.com", "primary": true}},
		}
		for _, path := range k.Required {
			if _, has := r.Get(path); has || path == "active" || path == "entitlements" {
				continue
			}
			if err := r.Set(path, "some"); err != nil {
				panic(err)
			}
		}
		if slices.Contains(k.Required, "entitlements") {
			r["entitlements"] = []any{map[string]any{"value": "profile"}}
		}
		s, err := structpb.NewStruct(r)
		if err != nil {
			panic(err)
		}
		c.Resource = s
	}
}

// ending tells what is wrong in the end: somebody who is not there once, or not
// active, or a title that could have been changed.
func ending(w *world, k profile.Knobs) string {
	all := w.acme.Resources(scim.Users)
	if len(all) != 1 {
		return fmt.Sprintf("%d accounts", len(all))
	}
	if active, said := all[0].Active(); said && !active {
		return "not active"
	}
	fixed := k.Update == "active-only"
	for _, name := range append(append(append([]string{}, k.Immutable...), k.Unsupported...), k.CreateForbids...) {
		fixed = fixed || strings.EqualFold(name, "title")
	}
	if title := all[0]["title"]; !fixed && title != "Lead" {
		return fmt.Sprint("title is ", title)
	}
	for _, o := range w.outcomes() {
		if !strings.Contains(o, " applied ") && !strings.Contains(o, " no_change ") {
			return o
		}
	}
	return ""
}
