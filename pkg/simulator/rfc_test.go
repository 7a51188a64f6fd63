package simulator_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
)

// The examples of RFC 7644 section 3.5.2, on a group of ann and bo.
func TestTheRFCsPatchesOfAGroup(t *testing.T) {
	for name, row := range map[string]struct {
		ops  []string
		want []any
	}{
		"adding a member":                        {[]string{`{"op":"add","path":"members","value":[{"display":"Cy","$ref":"https://example.com/v2/Users/000003","value":"000003"}]}`}, []any{"000001", "000002", "000003"}},
		"adding who is in":                       {[]string{`{"op":"add","path":"members","value":[{"value":"000001"}]}`}, []any{"000001", "000002"}},
		"adding without a path":                  {[]string{`{"op":"add","value":{"members":[{"value":"000003"}]}}`}, []any{"000001", "000002", "000003"}},
		"removing one":                           {[]string{`{"op":"remove","path":"members[value eq \"000001\"]"}`}, []any{"000002"}},
		"removing all":                           {[]string{`{"op":"remove","path":"members"}`}, nil},
		"removing and adding":                    {[]string{`{"op":"remove","path":"members[value eq \"000001\"]"}`, `{"op":"add","path":"members","value":[{"value":"000003"}]}`}, []any{"000002", "000003"}},
		"replacing all":                          {[]string{`{"op":"replace","path":"members","value":[{"value":"000003"}]}`}, []any{"000003"}},
		"removing who is not in":                 {[]string{`{"op":"remove","path":"members[value eq \"000003\"]"}`}, []any{"000001", "000002"}},
		"replacing all by nobody":                {[]string{`{"op":"replace","path":"members","value":[]}`}, nil},
		"removing, in vain, what was just added": {[]string{`{"op":"add","path":"members","value":[{"value":"000003"}]}`, `{"op":"remove","path":"members[value eq \"000003\"]"}`}, []any{"000001", "000002"}},
	} {
		s := simulator.New(simulator.Options{})
		for _, who := range []string{"ann", "bo", "cy"} {
			made(t, s, "/Users", user(who))
		}
		id := made(t, s, "/Groups", group("eng", "000001", "000002"))
		if status, r, _ := call(t, s, "PATCH", "/Groups/"+id, patch(row.ops...)); status != 200 {
			t.Errorf("%s: %d %v", name, status, r)
		}
		var want any
		if row.want != nil {
			want = row.want
		}
		members, _ := got(t, s, "/Groups/"+id).Get("members.value")
		same(t, name, want, members)
	}
}

// A run is the same again: ids, times and faults follow from the options alone.
func TestARunOnFakeTimeIsRepeatable(t *testing.T) {
	run := func() (text string) {
		synctest.Test(t, func(t *testing.T) {
			s := simulator.New(simulator.Options{Seed: 7, Rate: 3, Window: time.Second, Prefix: "u"})
			inject(t, s, "500:chance=0.2", "late:chance=0.1:retry-after=700ms", "500-after:chance=0.1")
			for i := range 60 {
				time.Sleep(time.Duration(i%7) * 100 * time.Millisecond) // fake time
				call(t, s, "POST", "/Users", user(string(rune('a'+i%26))))
			}
			text = string(jsonOf(t, []any{s.Commits(), s.Requests(), s.Stats(), s.Resources(scim.Users)}))
		})
		return text
	}
	if diff := cmp.Diff(run(), run()); diff != "" {
		t.Error(diff)
	}
}
