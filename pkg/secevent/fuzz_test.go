package secevent_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/secevent"
)

func FuzzRead(f *testing.F) {
	for _, payload := range []string{
		`{}`, `{"data":{"userName":"ann","active":false,"urn:x:y":{"a":1}}}`,
		`{"data":{"Operations":[{"op":"replace","path":"name.givenName","value":"x"},{"op":"add","value":{"active":"True"}}]}}`,
	} {
		for _, kind := range []string{scim + "prov:create:full", scim + "prov:patch:full", caep + "session-revoked", risc + "account-disabled"} {
			f.Add(token(f, kind, payload, nil))
		}
	}
	f.Add(token(f, risc+"account-purged", `{"subject":{"subject_type":"email","email":"a@example.com"}}`, map[string]any{"sub_id": nil}))
	source := event.Source{Name: "idp", Rules: rules(f, mapping.SourceSpec{IdentityKey: `event.?subject.orValue("x")`})}
	f.Fuzz(func(t *testing.T, claims []byte) {
		set, err := secevent.Read(claims, now)
		if err != nil {
			if len(event.ProblemsOf(err)) == 0 {
				t.Fatalf("refused without a problem: %v", err)
			}
			return
		}
		again, err := secevent.Read(claims, now)
		if diff := cmp.Diff(set, again); diff != "" || err != nil {
			t.Fatalf("read twice, it says two things: %s", diff)
		}
		if set.ID == "" || len(set.Facts) > set.Events || set.Events > secevent.MaxEvents {
			t.Fatalf("%d facts of %d events", len(set.Facts), set.Events)
		}
		for _, fact := range set.Facts {
			e, err := source.Interpret(fact.Event, now)
			if err != nil && len(event.ProblemsOf(err)) == 0 {
				t.Fatalf("refused without a problem: %v", err)
			}
			if err == nil && (len(e.GetSourceEventId()) > 512 || e.GetKind() == 0) {
				t.Fatalf("stored without a kind, or under an endless id: %v", e)
			}
		}
	})
}
