package scim_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"pgregory.net/rapid"
)

func TestMergeIsWhatEitherSays(t *testing.T) {
	parse := func(text string) scim.Resource {
		r, err := scim.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	got := scim.Merge(
		parse(`{"userName":"a","title":"x","name":{"givenName":"A"},"emails":[{"type":"work","value":"1","primary":true},{"type":"home","value":"2"}],"langs":["a"],"urn:x:2.0:User":{"dept":"1","manager":{"value":"7"}}}`),
		parse(`{"USERNAME":"b","name":{"familyName":"B"},"emails":[{"type":"work","value":"3"},{"type":"other","value":"4"}],"langs":["b"],"urn:x:2.0:User":{"dept":"2"},"title":null}`),
	)
	want := parse(`{"USERNAME":"b","title":"x","name":{"givenName":"A","familyName":"B"},
		"emails":[{"type":"work","value":"3","primary":true},{"type":"other","value":"4"},{"type":"home","value":"2"}],"langs":["b"],"urn:x:2.0:User":{"dept":"2","manager":{"value":"7"}}}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(scim.Resource{"a": "1"}, scim.Merge(nil, scim.Resource{"a": "1"})); diff != "" {
		t.Error(diff)
	}
}

// Whichever of two states the target shows, the difference from both brings it to
// exactly what is desired.
func TestWhicheverOfTwoStatesIsShownIsTakenBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := rapid.Custom(func(t *rapid.T) scim.Resource {
			r := scim.Resource{"userName": rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")}
			for _, name := range []string{"title", "nickName"} {
				if rapid.Bool().Draw(t, name) {
					r[name] = rapid.SampledFrom([]string{"x", "y"}).Draw(t, "value")
				}
			}
			var emails []any
			for _, kind := range []string{"work", "home"} {
				if rapid.Bool().Draw(t, kind) {
					emails = append(emails, map[string]any{"type": kind, "value": rapid.SampledFrom([]string{"1", "2"}).Draw(t, "mail")})
				}
			}
			if emails != nil {
				r["emails"] = emails
			}
			if rapid.Bool().Draw(t, "managed") {
				r[scim.EnterpriseSchema] = map[string]any{"manager": map[string]any{"value": rapid.SampledFrom([]string{"m", "n"}).Draw(t, "manager")}}
			}
			return r
		})
		earlier, later, desired := state.Draw(t, "earlier"), state.Draw(t, "later"), state.Draw(t, "desired")
		observed := rapid.SampledFrom([]scim.Resource{earlier, later}).Draw(t, "observed")
		after, err := observed.Apply(scim.Diff(scim.Merge(earlier, later), observed, desired))
		if err != nil {
			t.Fatal(err)
		}
		left := scim.Diff(scim.Merge(earlier, later), after, desired)
		extra := slices.DeleteFunc([]string{"title", "nickName", "emails", scim.EnterpriseSchema + ":manager.value"}, func(path string) bool {
			got, shown := after.Get(path)
			_, wished := desired.Get(path)
			return !shown || wished || cmp.Equal(got, []any{})
		})
		if len(left) > 0 || len(extra) > 0 {
			t.Fatalf("left %v, extra %v in %v", left, extra, after)
		}
	})
}
