package dispatcher_test

import (
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/structpb"
)

// What the usual changes cost at a provider as the RFCs have it.
func TestTheUsualChangesCostFewCalls(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		must(t, w.acme.Seed(scim.Users, scim.Resource{"schemas": []any{scim.UserSchema}, "userName": "bo@example.com", "title": "Rep", "active": true}))
		cost := func(what string, want int, act func()) {
			before := w.asked
			act()
			w.wait(time.Second)
			if got := w.asked - before; got != want {
				w.Errorf("%s: %d calls, not %d", what, got, want)
			}
		}
		three := func(c *joineryv1.ProvisioningCommand) {
			for _, name := range []string{"title", "nickName", "locale"} {
				c.Resource.Fields[name] = structpb.NewStringValue("x")
			}
		}
		cost("create", 3, func() { w.wish("ann", nil) })
		cost("create of an existing account", 3, func() { w.wish("bo", nil) }) // two searches, and its externalId
		cost("update of three attributes", 1, func() { w.wish("ann", three) })
		cost("no-op", 0, func() { w.wish("ann", three) })
		cost("disable", 3, func() { w.wish("ann", leaves) })
	})
}
