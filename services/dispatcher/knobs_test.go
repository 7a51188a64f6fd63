package dispatcher_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/structpb"
)

// bent is a target that differs in one knob: what the simulator cannot be, a
// refusal in front of it is.
type bent struct {
	behaviour simulator.Behaviour
	// refuses tells a request that the target refuses with 400, or nil.
	refuses func(method string, body scim.Resource) bool
	// rewrites changes what the target understands of a request, or nil.
	rewrites func(method string, body scim.Resource)
	// leaks tells a URL that the target refuses with 403, or nil.
	leaks func(query string) bool
}

func (b bent) front(w *world) {
	w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
		data, _ := io.ReadAll(r.Body)
		body, _ := scim.Parse(data)
		if b.leaks != nil && b.leaks(r.URL.RawQuery) {
			refuse(out, 403, "sensitive")
			return
		}
		if b.refuses != nil && b.refuses(r.Method, body) {
			refuse(out, 400, "invalidValue")
			return
		}
		if b.rewrites != nil && body != nil {
			b.rewrites(r.Method, body)
			data, _ = json.Marshal(body)
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
		next.ServeHTTP(out, r)
	})
}

// operations are those of a PATCH.
func operations(method string, body scim.Resource) []map[string]any {
	var out []map[string]any
	if method != http.MethodPatch {
		return nil
	}
	all, _ := body["Operations"].([]any)
	for _, op := range all {
		out = append(out, op.(map[string]any))
	}
	return out
}

// anyOp is a refusal of a PATCH that holds such an operation.
func anyOp(wrong func(op map[string]any) bool) func(string, scim.Resource) bool {
	return func(method string, body scim.Resource) bool {
		for _, op := range operations(method, body) {
			if wrong(op) {
				return true
			}
		}
		return false
	}
}

func booleans(v any) bool {
	switch v := v.(type) {
	case bool:
		return true
	case map[string]any:
		for _, e := range v {
			if booleans(e) {
				return true
			}
		}
	}
	return false
}

// life is what every target must get through: hired, changed in three
// attributes one of which is an e-mail, gone, and back.
func life(w *world) {
	hired := func(title, given, mail string) func(*joineryv1.ProvisioningCommand) {
		return func(c *joineryv1.ProvisioningCommand) {
			s, err := structpb.NewStruct(map[string]any{
				"userName": "ann@example.com", "externalId": "ann", "title": title,
				"name":   map[string]any{"givenName": given, "familyName": "Lee"},
				"emails": []any{map[string]any{"type": "work", "value": mail}},
			})
			must(w, err)
			if title == "Rep" {
				s.Fields["nickName"] = structpb.NewStringValue("A") // taken away later
			}
			c.Resource = s
		}
	}
	w.wish("ann", hired("Rep", "Ann", "a@x"))
	w.wait(30 * time.Second)
	w.wish("ann", hired("Lead", "Anna", "b@x"))
	w.wait(30 * time.Second)
	w.wish("ann", leaves)
	w.wait(30 * time.Second)
	w.wish("ann", hired("Lead", "Anna", "b@x"))
	w.wait(30 * time.Second)
}

// desired tells what is wrong at the end of the life.
func desired(w *world) string {
	all := w.acme.Resources(scim.Users)
	if len(all) != 1 {
		return fmt.Sprintf("%d accounts", len(all))
	}
	for path, want := range map[string]any{"active": true, "title": "Lead", "nickName": nil, "name.givenName": "Anna", `emails[type eq "work"].value`: "b@x"} {
		if got, _ := all[0].Get(path); got != want {
			return fmt.Sprintf("%s is %v", path, got)
		}
	}
	applied := 0
	for _, o := range w.outcomes() {
		if strings.Contains(o, " applied ") || strings.Contains(o, " no_change ") {
			applied++
		}
	}
	if applied != 4 {
		return fmt.Sprint(w.outcomes())
	}
	return ""
}

func TestEveryKnobBothWays(t *testing.T) {
	for name, row := range map[string]struct {
		bent
		knobs profile.Knobs
		// most calls with the knob; without it there are more, or the end is not
		// reached.
		most int
	}{
		"patch.form pathless": {bent{refuses: anyOp(func(op map[string]any) bool { return op["path"] != nil })}, profile.Knobs{PatchForm: "pathless"}, 12},
		"patch.max_ops":       {bent{behaviour: simulator.Behaviour{PatchMaxOps: 1}}, profile.Knobs{PatchMaxOps: 1}, 13},
		"patch.op_case":       {bent{refuses: anyOp(func(op map[string]any) bool { return fmt.Sprint(op["op"])[0] >= 'a' })}, profile.Knobs{OpCase: "title"}, 12},
		"patch.ops":           {bent{refuses: anyOp(func(op map[string]any) bool { return op["op"] != "replace" })}, profile.Knobs{PatchOps: []string{"replace"}}, 12},
		"patch.value_paths": {
			bent{refuses: anyOp(func(op map[string]any) bool { return strings.Contains(fmt.Sprint(op["path"]), "[") })},
			profile.Knobs{ValuePaths: "unsupported"},
			12,
		},
		"patch.bool_strings": {
			bent{
				refuses: anyOp(func(op map[string]any) bool { return booleans(op["value"]) }),
				rewrites: func(method string, body scim.Resource) {
					for _, op := range operations(method, body) {
						if op["value"] == "True" || op["value"] == "False" {
							op["value"] = op["value"] == "True"
						}
					}
				},
			},
			profile.Knobs{BoolStrings: true},
			12,
		},
		"patch.alone": {
			bent{refuses: func(method string, body scim.Resource) bool {
				ops := operations(method, body)
				return len(ops) > 1 && strings.Contains(fmt.Sprint(ops), "title")
			}},
			profile.Knobs{Alone: []string{"title"}},
			12,
		},
		"patch.ignored": {bent{rewrites: func(method string, body scim.Resource) {
			if ops := operations(method, body); ops != nil {
				for _, op := range ops {
					if op["path"] == "title" {
						op["path"] = "nickName"
					}
				}
			}
		}}, profile.Knobs{IgnoredPaths: []string{"title"}}, 14},
		"update.style put": {bent{refuses: func(method string, _ scim.Resource) bool { return method == http.MethodPatch }}, profile.Knobs{Update: "put"}, 16},
		"user.unsupported": {bent{refuses: func(_ string, body scim.Resource) bool {
			_, has := body["externalId"]
			return has
		}}, profile.Knobs{Unsupported: []string{"externalId"}}, 12},
		"user.create_forbids": {bent{refuses: func(method string, body scim.Resource) bool {
			_, has := body["emails"]
			return method == http.MethodPost && has
		}}, profile.Knobs{CreateForbids: []string{"emails"}}, 13},
		"filter.user_attrs": {
			bent{behaviour: simulator.Behaviour{FilterAttributes: []string{"userName"}}}, profile.Knobs{UserFilters: []string{"userName"}}, 7,
		},
		"search.by": {
			bent{leaks: func(query string) bool { return strings.Contains(query, "filter=") }}, profile.Knobs{SearchBy: "post"}, 8,
		},
		"filter.refused": {
			bent{behaviour: simulator.Behaviour{FilterAttributes: []string{"userName"}}}, profile.Knobs{FilterRefused: []string{"externalId"}}, 7,
		},
	} {
		t.Run(name, func(t *testing.T) {
			end := func(k profile.Knobs) (wrong string, calls int) {
				knowing(t, simulator.Options{Behaviour: row.behaviour}, k, func(w *world) {
					row.front(w)
					life(w)
					wrong, calls = desired(w), w.asked
				})
				return wrong, calls
			}
			if wrong, calls := end(row.knobs); wrong != "" || calls > row.most {
				t.Errorf("with the knob: %s, %d calls", wrong, calls)
			}
			wrong, calls := end(profile.Knobs{})
			if wrong == "" && calls <= row.most {
				t.Errorf("the knob makes no difference: %d calls", calls)
			}
		})
	}
}

func TestWhatCannotBeChangedIsReportedAndNotSent(t *testing.T) {
	for name, k := range map[string]profile.Knobs{"immutable": {Immutable: []string{"title"}}, "active only": {Update: "active-only"}} {
		knowing(t, simulator.Options{}, k, func(w *world) {
			w.wish("ann", nil)
			w.wait(time.Second)
			w.wish("ann", titled("Lead"))
			w.wait(time.Second)
			w.same([]string{"0s GET /Users 200", "0s GET /Users 200", "0s POST /Users 201"}, w.calls())
			if reason := w.account("ann").Outcome.Reason; !strings.Contains(reason, "title") {
				w.Errorf("%s: %q", name, reason)
			}
		})
	}
}

func TestLeavingAndComingBackAsTheTargetHasIt(t *testing.T) {
	for name, row := range map[string]struct {
		knobs profile.Knobs
		b     simulator.Behaviour
		calls []string
	}{
		"by DELETE": {profile.Knobs{DisableBy: "delete"}, simulator.Behaviour{}, []string{
			"1s GET /Users/000001 200", "1s DELETE /Users/000001 204", "1s GET /Users/000001 404", "2s GET /Users 200", "2s GET /Users 200", "2s POST /Users 201",
		}},
		"DELETE leaves it inactive": {profile.Knobs{DisableBy: "delete", DeleteMeans: "deactivate"}, simulator.Behaviour{DeleteMeans: "deactivate"}, []string{
			"1s GET /Users/000001 200", "1s DELETE /Users/000001 204", "1s GET /Users/000001 200", "2s PATCH /Users/000001 200",
		}},
		"back by a create": {
			profile.Knobs{DisableMeans: "gone", Reactivate: "create"},
			simulator.Behaviour{DeactivateMeans: "gone"},
			[]string{"1s GET /Users/000001 200", "1s PATCH /Users/000001 200", "1s GET /Users/000001 404", "2s GET /Users 200", "2s GET /Users 200", "2s POST /Users 201"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			knowing(t, simulator.Options{Behaviour: row.b}, row.knobs, func(w *world) {
				w.wish("ann", nil)
				w.wait(time.Second)
				w.wish("ann", leaves)
				w.wait(time.Second)
				w.wish("ann", nil)
				w.wait(time.Second)
				w.same(row.calls, w.calls()[3:])
				if a := w.account("ann"); a.State != identity.Present {
					w.Errorf("%+v", a)
				}
			})
		})
	}
}

func TestATargetWithoutDeleteIsLearnedAndItsAccountsDisabled(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.rude(func(r *http.Request, next http.Handler, out http.ResponseWriter) {
			if r.Method == http.MethodDelete {
				refuse(out, 501, "")
				return
			}
			next.ServeHTTP(out, r)
		})
		w.wish("ann", nil)
		w.wait(time.Second)
		w.wish("ann", func(c *joineryv1.ProvisioningCommand) { c.Wish, c.Resource = joineryv1.Wish_WISH_ABSENT, nil })
		w.wait(time.Second)
		if active, said := w.acme.Resources(scim.Users)[0].Active(); active || !said {
			w.Error("still active")
		}
		s, _, err := w.states.Get(w.Context(), "acme")
		must(w, err)
		if q := s.Quirks["delete.unsupported"]; q.Value != "true" || q.Evidence != "DELETE: 501" {
			w.Errorf("%+v", s.Quirks)
		}
	})
}

func TestAFoldedNameIsNoDifference(t *testing.T) {
	for _, k := range []profile.Knobs{{}, {FoldUserName: true}} {
		knowing(t, simulator.Options{Behaviour: simulator.Behaviour{FoldUserName: true}}, k, func(w *world) {
			shouting := func(c *joineryv1.ProvisioningCommand) {
				c.Resource.Fields["userName"] = structpb.NewStringValue("ANN@example.com")
				c.Verify = true
			}
			w.wish("ann", shouting)
			w.wait(time.Second)
			w.wish("ann", shouting)
			w.wait(time.Second)
			changes := strings.Count(strings.Join(w.calls(), " "), "PATCH")
			if k.FoldUserName != (changes == 0) {
				w.Errorf("%v: %v", k.FoldUserName, w.calls())
			}
		})
	}
}

func TestAnEmptyYesIsReadBack(t *testing.T) {
	for _, answer := range []string{"empty", "204"} {
		inBubble(t, simulator.Options{Behaviour: simulator.Behaviour{PatchSuccess: answer}}, func(w *world) {
			w.wish("ann", nil)
			w.wait(time.Second)
			w.wish("ann", titled("Lead"))
			w.wait(time.Second)
			w.same([]string{"1s PATCH /Users/000001 " + map[string]string{"empty": "200", "204": "204"}[answer], "1s GET /Users/000001 200"}, w.calls()[3:])
		})
	}
}
