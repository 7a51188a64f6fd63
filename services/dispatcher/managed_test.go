package dispatcher_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/structpb"
)

// mail gives the account a work address, and whatever else.
func mail(address string, more ...func(*joineryv1.ProvisioningCommand)) func(*joineryv1.ProvisioningCommand) {
	return func(c *joineryv1.ProvisioningCommand) {
		if address != "" {
			v, _ := structpb.NewValue([]any{map[string]any{"type": "work", "value": address}})
			c.Resource.Fields["emails"] = v
		}
		for _, f := range more {
			f(c)
		}
	}
}

const workMail = `emails[type eq "work"].value`

func left(c *joineryv1.ProvisioningCommand)    { c.Left = []string{workMail, "nickName"} }
func cleared(c *joineryv1.ProvisioningCommand) { c.Cleared = []string{workMail, "nickName"} }

// shows is the mail and the title of the one account.
func (w *world) shows() [2]any {
	w.Helper()
	all := w.acme.Resources(scim.Users)
	if len(all) != 1 {
		w.Fatalf("%d accounts", len(all))
	}
	address, _ := all[0].Get(workMail)
	title, _ := all[0].Get("nickName")
	return [2]any{address, title}
}

func TestWhatIsLeftAloneIsNeitherTakenBackNorBroughtBack(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		step := func(claim string, change func(*joineryv1.ProvisioningCommand), want [2]any) {
			w.wish("ann", change)
			w.wait(time.Second)
			if diff := cmp.Diff(want, w.shows()); diff != "" {
				w.Errorf("%s: %s", claim, diff)
			}
		}
		step("set", mail("a@b.c"), [2]any{"a@b.c", nil})
		step("left as it was sent", mail("", left), [2]any{"a@b.c", nil})
		must(t, w.acme.Edit(scim.Users, w.acme.Resources(scim.Users)[0].ID(), scim.Operation{Op: "replace", Path: "nickName", Value: "Theirs"}))
		step("left as they made it, even when it is read", mail("", left, func(c *joineryv1.ProvisioningCommand) { c.Verify = true }), [2]any{"a@b.c", "Theirs"})
		step("set again", mail("d@e.f"), [2]any{"d@e.f", "Theirs"})
		step("taken back, for it was ours; the title was not", mail(""), [2]any{nil, "Theirs"})
	})
}

func TestWhatIsClearedGoesWhoeverWroteIt(t *testing.T) {
	inBubble(t, simulator.Options{}, func(w *world) {
		w.wish("ann", mail("a@b.c"))
		w.wait(time.Second)
		must(t, w.acme.Edit(scim.Users, w.acme.Resources(scim.Users)[0].ID(), scim.Operation{Op: "replace", Path: "nickName", Value: "Theirs"}))
		w.wish("ann", mail("", cleared))
		w.wait(time.Second)
		if diff := cmp.Diff([2]any{nil, nil}, w.shows()); diff != "" {
			t.Error(diff)
		}
		before := w.asked
		w.wish("ann", mail("", cleared))
		w.wait(time.Second)
		if got := w.asked - before; got != 1 {
			t.Errorf("%d calls where one read is enough", got)
		}
	})
}
