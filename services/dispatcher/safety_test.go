package dispatcher_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
	"github.com/joinery/joinery/pkg/target"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/dispatcher"
	"google.golang.org/protobuf/types/known/structpb"
)

func TestAQuarantineIsProbedAfterARestart(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.acme.Inject(simulator.Fault{Name: "401", Until: time.Now().Add(10 * time.Minute)})
		w.wish("ann", nil)
		w.wait(time.Minute)
		w.wait(time.Second)
		w.stop()
		w.run("worker-1")
		w.wait(2 * time.Hour)
		s, _, err := w.states.Get(w.Context(), "acme")
		must(w, err)
		if s.Quarantined != nil || len(w.outcomes()) != 1 {
			w.Errorf("1h50 after the credential was good: quarantined %+v outcomes %v", s.Quarantined, w.outcomes())
		}
	})
}

func TestAMissingLeaverNeedsAControlRequest(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		gone := false
		w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
			if r.Method == "PATCH" {
				gone = true
			}
			if gone { // the whole address moved: everything is 404
				refuse(out, 404, "")
				return
			}
			next.ServeHTTP(out, r)
		})
		w.wish("ann", leaves)
		w.wait(time.Second)
		u := w.acme.Resources(scim.Users)[0]
		active, _ := u.Active()
		a := w.account("ann")
		if active && (a.RemoteID == "" || !a.Confirmed.IsZero()) {
			w.Errorf("still active at the target, yet remote %q confirmed %v; outcomes %v", a.RemoteID, a.Confirmed, w.outcomes())
		}
	})
}

func TestADeletedAccountIsReadBack(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
			if r.Method == "DELETE" {
				out.WriteHeader(204)
				return
			}
			next.ServeHTTP(out, r)
		})
		w.wish("ann", func(c *joineryv1.ProvisioningCommand) { leaves(c); c.Wish = joineryv1.Wish_WISH_ABSENT })
		w.wait(time.Hour)
		a := w.account("ann")
		u := w.acme.Resources(scim.Users)
		if len(u) == 1 && a.RemoteID == "" {
			active, _ := u[0].Active()
			w.Errorf("account is there (active %v), ledger: remote %q state %s confirmed %v outcomes %v", active, a.RemoteID, a.State, a.Confirmed, w.outcomes())
		}
	})
}

func TestAPauseHoldsWhatIsInHand(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wait(time.Second)
		w.stop()
		tick := make(chan struct{})
		ctx, cancel := context.WithCancel(w.Context())
		defer cancel()
		go func() {
			for {
				timer := time.NewTimer(10 * time.Second)
				select {
				case <-timer.C:
				case <-ctx.Done():
					return
				}
				select {
				case tick <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}()
		w.turn = func(ctx context.Context) error {
			select {
			case <-tick:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		w.run("worker-1")
		for i := range 40 {
			w.wish(fmt.Sprint("p", i), nil)
		}
		w.wait(30 * time.Second)
		_, err := w.states.Put(w.Context(), "acme", target.State{Target: "acme", Paused: &target.Decision{By: "ops"}}, 0)
		must(w, err)
		w.wait(5 * time.Second)
		before := len(w.calls())
		w.wait(30 * time.Minute)
		if after := len(w.calls()); after != before {
			w.Errorf("%d requests later than 5 s after the pause; last: %v", after-before, w.calls()[after-3:])
		}
	})
}

func TestAttemptsBeginAgainAfterACase(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		broken := true
		w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
			if r.Method == "PATCH" && broken && strings.HasSuffix(r.URL.Path, "000001") {
				refuse(out, 500, "")
				return
			}
			next.ServeHTTP(out, r)
		})
		w.wish("ann", titled("Lead"))
		for i := range 3000 {
			for j := range 6 {
				w.wish("bob", titled(fmt.Sprint(i, j)))
				w.wait(10 * time.Second)
			}
			if w.account("ann").Case != "" {
				break
			}
		}
		for i := range 30 {
			w.wish("carl", titled(fmt.Sprint(i)))
			w.wait(time.Second)
		}
		w.wish("ann", leaves) // a leaver now, with the target in a short trouble
		w.wait(2 * time.Second)
		broken = false
		w.wait(time.Hour)
		if a := w.account("ann"); a.State != identity.Disabled {
			w.Errorf("the leaver was given up after one attempt: %+v", a)
		}
	})
}

func TestAProtectedAccountIsNotRenamedByAdoption(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wait(time.Second)
		w.stop()
		w.more = func(x *dispatcher.Target) {
			x.Settings.Protected = []string{"break-glass@example.com"}
			x.Settings.Match = []string{"externalId", "userName", "displayName"}
		}
		w.run("worker-1")
		must(w, w.acme.Seed(scim.Users, scim.Resource{"schemas": []any{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": "break-glass@example.com", "active": true, "displayName": "Ann"}))
		w.wish("ann", func(c *joineryv1.ProvisioningCommand) {
			c.Resource.Fields["displayName"] = structpb.NewStringValue("Ann")
		})
		w.wait(time.Minute)
		for _, u := range w.acme.Resources(scim.Users) {
			if u.UserName() != "break-glass@example.com" {
				w.Errorf("renamed to %v; %v", u.UserName(), w.outcomes())
			}
		}
	})
}

func TestSilenceAboutActiveIsNoConfirmation(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		w.wish("ann", leaves)
		w.wait(time.Second)
		w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
			if r.Method == "GET" && strings.HasPrefix(r.URL.Path, "/Users/") {
				out.Header().Set("Content-Type", "application/scim+json")
				_, _ = fmt.Fprint(out, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"000001","userName":"ann@example.com"}`)
				return
			}
			next.ServeHTTP(out, r)
		})
		w.wait(20 * time.Minute)
		if a := w.account("ann"); a.Checks != 0 {
			w.Errorf("%d checks passed on an answer that says nothing of active", a.Checks)
		}
	})
}

func TestAWishToBeInactiveIsGuarded(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wait(time.Second)
		w.stop()
		w.more = func(x *dispatcher.Target) { x.Settings.Protected = []string{"ann"} }
		w.run("worker-1")
		w.wish("ann", nil)
		w.wait(time.Second)
		w.wish("ann", func(c *joineryv1.ProvisioningCommand) { c.Resource.Fields["active"] = structpb.NewBoolValue(false) })
		w.wait(time.Minute)
		if active, _ := w.acme.Resources(scim.Users)[0].Active(); !active {
			w.Errorf("a protected account was disabled: %v", w.outcomes())
		}
	})
}

func TestConcurrencyIsKeptOverAllLanes(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wait(time.Second)
		w.stop()
		w.more = func(x *dispatcher.Target) { x.Concurrency = 1 }
		var mu sync.Mutex
		under, most := 0, 0
		w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
			mu.Lock()
			under++
			most = max(most, under)
			mu.Unlock()
			pause(time.Second)
			next.ServeHTTP(out, r)
			mu.Lock()
			under--
			mu.Unlock()
		})
		w.run("worker-1")
		for i := range 10 {
			for _, lane := range []joineryv1.Lane{1, 2, 3} {
				w.wish(fmt.Sprint("p", i, lane), func(c *joineryv1.ProvisioningCommand) { c.Lane = lane })
			}
		}
		w.wait(20 * time.Second)
		if most > 1 {
			w.Errorf("%d requests at a time with concurrency 1", most)
		}
		w.wait(10 * time.Minute)
	})
}

func TestARetentionDeletesNobodyWhoWasRehired(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		w.wish("ann", leaves)
		w.wait(time.Second)
		_, err := w.states.Put(w.Context(), "acme", target.State{Target: "acme", Paused: &target.Decision{By: "ops"}}, 0)
		must(w, err)
		w.wait(10 * time.Second)
		w.wish("ann", func(c *joineryv1.ProvisioningCommand) { // what retire() sends
			leaves(c)
			c.Wish, c.Lane, c.Cause, c.Revision, c.EventId = joineryv1.Wish_WISH_ABSENT, joineryv1.Lane_LANE_BULK, joineryv1.Cause_CAUSE_SCHEDULE, 2, "retention-2"
			c.Id = identity.CommandID("acme", c.GetIdentity(), 2) + ":retention-2"
		})
		w.wish("ann", titled("Back")) // rehired
		_, rev, err := w.states.Get(w.Context(), "acme")
		must(w, err)
		_, err = w.states.Put(w.Context(), "acme", target.State{Target: "acme"}, rev)
		must(w, err)
		w.wait(10 * time.Minute)
		for _, c := range w.calls() {
			if strings.Contains(c, "DELETE") {
				w.Errorf("somebody rehired was deleted first: %v", w.calls())
			}
		}
	})
}

func TestALeavingTakenBackDeletesNobody(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", nil)
		w.wait(time.Second)
		_, err := w.states.Put(w.Context(), "acme", target.State{Target: "acme", Paused: &target.Decision{By: "ops"}}, 0)
		must(w, err)
		w.wait(10 * time.Second)
		w.wish("ann", func(c *joineryv1.ProvisioningCommand) { leaves(c); c.Wish = joineryv1.Wish_WISH_ABSENT })
		w.wait(time.Minute)
		w.wish("ann", titled("Back"))
		w.wait(time.Hour)
		_, rev, err := w.states.Get(w.Context(), "acme")
		must(w, err)
		_, err = w.states.Put(w.Context(), "acme", target.State{Target: "acme"}, rev)
		must(w, err)
		w.wait(10 * time.Minute)
		for _, c := range w.calls() {
			if strings.Contains(c, "DELETE") {
				w.Errorf("the leaving was taken back an hour before: %v %v", w.calls(), w.outcomes())
			}
		}
	})
}

func pause(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}
