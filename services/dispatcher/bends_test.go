package dispatcher_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/structpb"
)

// bend is a provider as a knob says, and what must come out there.
type bend struct {
	knobs profile.Knobs
	// bent is the provider, where it is not just as the knob says.
	bent *profile.Knobs
	// otherwise are the knobs of the client that does not know.
	otherwise profile.Knobs
	// front stands before the provider, or nil; play is what happens, by default a
	// life; wrong is what is wrong at the end, by default with a life.
	front func(r *http.Request, next http.Handler, out http.ResponseWriter)
	play  func(w *world)
	wrong func(w *world) string
	// most calls with the knob, where it is calls that it saves; 0 is not counted.
	most int
}

// field puts a value into a command's resource.
func field(name string, value any) func(*joineryv1.ProvisioningCommand) {
	return func(c *joineryv1.ProvisioningCommand) {
		v, err := structpb.NewValue(value)
		if err != nil {
			panic(err)
		}
		c.Resource.Fields[name] = v
	}
}

// ends tells whether the commands ended so, in order.
func ends(w *world, want ...string) string {
	if got := w.outcomes(); fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Sprint(got)
	}
	return ""
}

func accounts(w *world, n int) string {
	if got := len(w.acme.Resources(scim.Users)); got != n {
		return fmt.Sprintf("%d accounts", got)
	}
	return ""
}

// nobodyIs404 answers a search that finds nobody with 404, as some do.
func nobodyIs404(r *http.Request, next http.Handler, out http.ResponseWriter) {
	if r.Method == http.MethodGet && strings.Contains(r.URL.RawQuery, "filter=") {
		refuse(out, 404, "")
		return
	}
	next.ServeHTTP(out, r)
}

func bends() map[string]bend {
	hire := func(change func(*joineryv1.ProvisioningCommand)) func(w *world) {
		return func(w *world) {
			w.wish("ann", change)
			w.wait(time.Minute)
		}
	}
	hired := func(w *world) string { return accounts(w, 1) + ends(w, "event1 applied create") }
	return map[string]bend{
		"request.content_type": {knobs: profile.Knobs{ContentType: "application/json"}},
		"discovery":            {knobs: profile.Knobs{Discovery: "none"}, front: nobodyIs404, play: hire(nil), wrong: hired},
		"discovery.path":       {knobs: profile.Knobs{ConfigPath: "ServiceProviderConfigs"}, front: nobodyIs404, play: hire(nil), wrong: hired},
		"list.resources_key":   {knobs: profile.Knobs{ResourcesKey: "users"}, play: adopted, wrong: adoptedOnce},
		"filter.user_name_as": {
			bent: &profile.Knobs{UserNameAs: "email", FilterRefused: []string{"userName"}}, knobs: profile.Knobs{UserNameAs: "email"},
			play: adopted, wrong: adoptedOnce, most: 3,
		},
		"page.over_max": {
			knobs: profile.Knobs{PageMax: 10, PageOver: "refuse", UserFilters: []string{"id"}}, otherwise: profile.Knobs{UserFilters: []string{"id"}},
			play: adopted, wrong: adoptedOnce,
		},
		"filter.visible_after": {
			knobs: profile.Knobs{Visibility: time.Minute},
			play: func(w *world) {
				w.acme.Inject(simulator.Fault{Name: "lost", Method: "POST", Count: 1})
				w.wish("ann", nil)
				w.wait(10 * time.Minute)
			},
			wrong: hired, most: 8,
		},
		"user.single_valued": {
			knobs: profile.Knobs{SingleValued: []string{"emails"}},
			play: hire(field("emails", []any{
				map[string]any{"type": "work", "value": "a@x", "primary": true}, map[string]any{"type": "home", "value": "b@x"},
			})),
			wrong: hired,
		},
		"create.inactive": {
			knobs: profile.Knobs{CreateInactive: "refuse"}, play: hire(field("active", false)),
			wrong: func(w *world) string {
				if wrong := accounts(w, 1); wrong != "" {
					return wrong
				}
				if active, said := w.acme.Resources(scim.Users)[0].Active(); active || !said {
					return "it is active"
				}
				return ""
			},
		},
		"user.immutable": {
			knobs: profile.Knobs{Immutable: []string{"title"}},
			play: func(w *world) {
				w.wish("ann", nil)
				w.wait(time.Second)
				w.wish("ann", func(c *joineryv1.ProvisioningCommand) { titled("Lead")(c); field("nickName", "A")(c) })
				w.wait(time.Minute)
			},
			wrong: func(w *world) string {
				if nick, _ := w.acme.Resources(scim.Users)[0].Get("nickName"); nick != "A" {
					return "what can be changed was not"
				}
				return ""
			},
		},
		"update.style active-only": {
			knobs: profile.Knobs{Update: "active-only"},
			play: func(w *world) {
				w.wish("ann", nil)
				w.wait(time.Second)
				w.wish("ann", titled("Lead"))
				w.wait(time.Minute)
			},
			wrong: func(w *world) string {
				if open := w.account("ann").Outcome.Reason; !strings.Contains(open, "title") {
					return "the reason is " + open
				}
				return ""
			},
			most: 3,
		},
		"disable.by": {knobs: profile.Knobs{DisableBy: "delete"}},
		"put.active_as": {
			knobs: profile.Knobs{Update: "put", PutActiveAs: []string{"enabled"}}, otherwise: profile.Knobs{Update: "put"},
		},
	}
}

// adopted is a person whose account was there before.
func adopted(w *world) {
	for i := range 12 {
		must(w, w.acme.Seed(scim.Users, scim.Resource{"schemas": []any{scim.UserSchema}, "userName": fmt.Sprintf("u%d", i)}))
	}
	must(w, w.acme.Seed(scim.Users, scim.Resource{"schemas": []any{scim.UserSchema}, "userName": "ann@example.com", "active": true}))
	w.wish("ann", nil)
	w.wait(time.Minute)
}

func adoptedOnce(w *world) string { return accounts(w, 13) + ends(w, "event1 applied adopt") }

// Each knob at a provider that bends so: the client that knows it gets through,
// the one that does not fails, or needs more calls.
func TestEachUserKnobAtAProviderThatBendsSo(t *testing.T) {
	for name, row := range bends() {
		if row.play == nil {
			row.play = life
		}
		if row.wrong == nil {
			row.wrong = desired
		}
		t.Run(name, func(t *testing.T) {
			provider := row.knobs
			if row.bent != nil {
				provider = *row.bent
			}
			end := func(k profile.Knobs) (wrong string, calls int) {
				knowing(t, simulator.Options{PageMax: 10, Behaviour: simulator.FromKnobs(provider)}, k, func(w *world) {
					if row.front != nil {
						w.rude(row.front)
					}
					row.play(w)
					wrong, calls = row.wrong(w), w.asked
				})
				return wrong, calls
			}
			if wrong, calls := end(row.knobs); wrong != "" || row.most > 0 && calls > row.most {
				t.Errorf("with the knob: %s, %d calls", wrong, calls)
			}
			if wrong, calls := end(row.otherwise); wrong == "" && (row.most == 0 || calls <= row.most) {
				t.Errorf("the knob makes no difference: %d calls", calls)
			}
		})
	}
}
