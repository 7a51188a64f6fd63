package scim_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"pgregory.net/rapid"
)

func TestConformPutsRightWhatIdentityProvidersWriteBesideTheSchema(t *testing.T) {
	const core, enterprise = `"schemas":["` + scim.UserSchema + `"]`, `"schemas":["` + scim.UserSchema + `","` + scim.EnterpriseSchema + `"]`
	for name, row := range map[string]struct{ written, meant string }{
		"a boolean in quotes":            {`{` + core + `,"active":"False"}`, `{` + core + `,"active":false}`},
		"a boolean in a list of one":     {`{` + core + `,"active":[{"value":"True"}]}`, `{` + core + `,"active":true}`},
		"a primary in quotes":            {`{` + core + `,"emails":[{"value":"a@x","primary":"true"}]}`, `{` + core + `,"emails":[{"value":"a@x","primary":true}]}`},
		"one e-mail without its list":    {`{` + core + `,"emails":{"value":"a@x"}}`, `{` + core + `,"emails":[{"value":"a@x"}]}`},
		"an e-mail that is only a text":  {`{` + core + `,"emails":["a@x"]}`, `{` + core + `,"emails":[{"value":"a@x"}]}`},
		"a text that is an object":       {`{` + core + `,"title":{"value":"Rep"}}`, `{` + core + `,"title":"Rep"}`},
		"null, and an empty list":        {`{` + core + `,"title":null,"roles":[],"emails":null}`, `{` + core + `}`},
		"no schemas":                     {`{"title":"Rep"}`, `{` + core + `,"title":"Rep"}`},
		"an extension that is not named": {`{` + core + `,"` + scim.EnterpriseSchema + `":{"department":"R"}}`, `{` + enterprise + `,"` + scim.EnterpriseSchema + `":{"department":"R"}}`},
		"a manager that is only an id":   {`{` + enterprise + `,"` + scim.EnterpriseSchema + `":{"manager":"7"}}`, `{` + enterprise + `,"` + scim.EnterpriseSchema + `":{"manager":{"value":"7"}}}`},
		"a manager in a list":            {`{` + enterprise + `,"` + scim.EnterpriseSchema + `":{"manager":[{"value":"7","$ref":"../Users/7"}]}}`, `{` + enterprise + `,"` + scim.EnterpriseSchema + `":{"manager":{"value":"7","$ref":"../Users/7"}}}`},
		"no manager any more":            {`{` + core + `,"` + scim.EnterpriseSchema + `":{"manager":""}}`, `{` + core + `}`},
		"a department in the core":       {`{` + core + `,"department":"R"}`, `{` + enterprise + `,"` + scim.EnterpriseSchema + `":{"department":"R"}}`},
		"what nobody knows stays":        {`{` + core + `,"shoeSize":{"value":"43"},"urn:x:y":{"a":"False"}}`, `{"schemas":["` + scim.UserSchema + `","urn:x:y"],"shoeSize":{"value":"43"},"urn:x:y":{"a":"False"}}`},
		"what cannot be put right stays": {`{` + core + `,"active":"perhaps","title":["a","b"]}`, `{` + core + `,"active":"perhaps","title":["a","b"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			written, before := must(scim.Parse([]byte(row.written))), must(scim.Parse([]byte(row.written)))
			got := scim.Conform(scim.Users, written)
			if diff := cmp.Diff(must(scim.Parse([]byte(row.meant))), got); diff != "" {
				t.Errorf("(-meant +got)\n%s", diff)
			}
			if diff := cmp.Diff(before, written); diff != "" {
				t.Errorf("the resource itself was changed\n%s", diff)
			}
			if diff := cmp.Diff(got, scim.Conform(scim.Users, got)); diff != "" {
				t.Errorf("a second time changes it again\n%s", diff)
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestEqualitiesAreWhatEverythingFoundMustSatisfy(t *testing.T) {
	for text, want := range map[string][]scim.Equality{
		`userName eq "a"`:                        {{Attr: "userName", Value: "a"}},
		`id eq "1" and members.value eq "2"`:     {{Attr: "id", Value: "1"}, {Attr: "members.value", Value: "2"}},
		`(externalId eq "x") and active eq true`: {{Attr: "externalId", Value: "x"}},
		`userName eq "a" or userName eq "b"`:     nil,
		`not (userName eq "a")`:                  nil,
		`userName sw "a"`:                        nil,
	} {
		if diff := cmp.Diff(want, scim.Equalities(must(scim.ParseFilter(text)))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", text, diff)
		}
	}
}

func TestAFilterMayLookAtAPartOfOneOfManyValues(t *testing.T) {
	r := must(scim.Parse([]byte(`{"emails":[{"type":"home","value":"h@x"},{"type":"work","value":"w@x"}]}`)))
	for text, want := range map[string]bool{
		`emails[type eq "work"].value eq "W@x"`:                      true,
		`emails[type eq "home"].value eq "w@x"`:                      false,
		`emails[type eq "work"].value eq "w@x" and emails pr`:        true,
		`not (emails[type eq "work"].value sw "w")`:                  false,
		`emails[type eq "work" and value eq "w@x"].value eq "w@x"`:   true,
		`emails[type eq "work"].value eq "w@x" or userName eq "ann"`: true,
	} {
		f := must(scim.ParseFilter(text))
		if f.Match(r) != want {
			t.Errorf("%s matches: %v", text, !want)
		}
		if again := must(scim.ParseFilter(f.String())); again.String() != f.String() {
			t.Errorf("%s reads back as %s", f, again)
		}
	}
	if _, err := scim.ParseFilter(`emails[type eq "work"]. eq "x"`); err == nil {
		t.Error("a nameless sub-attribute was taken")
	}
}

func TestAFilterReadsABooleanInQuotes(t *testing.T) {
	r := must(scim.Parse([]byte(`{"active":true,"title":"true","roles":[{"primary":false}]}`)))
	for text, want := range map[string]bool{
		`active eq "True"`: true, `active eq "false"`: false, `active eq "yes"`: false, `active co "true"`: false,
		`title eq "true"`: true, `roles[primary eq "False"]`: true, `roles[primary eq "True"]`: false, `active ne "true"`: false,
	} {
		if must(scim.ParseFilter(text)).Match(r) != want {
			t.Errorf("%s matches: %v", text, !want)
		}
	}
}

func TestASelectionOfNothingGivesAllAndKeepsIdAndSchemas(t *testing.T) {
	whole := `{"schemas":["s"],"id":"1","userName":"ann","name":{"givenName":"A","familyName":"B"},"emails":[{"value":"a@x","type":"work"}]}`
	for _, row := range []struct {
		only, without []string
		want          string
	}{
		{nil, nil, whole},
		{[]string{"userName"}, nil, `{"schemas":["s"],"id":"1","userName":"ann"}`},
		{[]string{"USERNAME, name.givenName"}, nil, `{"schemas":["s"],"id":"1","userName":"ann","name":{"givenName":"A"}}`},
		{[]string{"emails.value"}, nil, `{"schemas":["s"],"id":"1","emails":[{"value":"a@x"}]}`},
		{nil, []string{"id", "name,emails.type"}, `{"schemas":["s"],"id":"1","userName":"ann","emails":[{"value":"a@x"}]}`},
	} {
		sel := must(scim.SelectionOf(row.only, row.without))
		if diff := cmp.Diff(must(scim.Parse([]byte(row.want))), sel.Of(must(scim.Parse([]byte(whole))))); diff != "" {
			t.Errorf("%v without %v (-want +got)\n%s", row.only, row.without, diff)
		}
	}
	if _, err := scim.SelectionOf([]string{"a"}, []string{"b"}); err == nil {
		t.Error("both at once were taken")
	}
}

// Whatever the page, the pages of a list together are the list.
func TestPagesTogetherAreTheList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total, count := rapid.IntRange(0, 50).Draw(t, "total"), rapid.IntRange(1, 60).Draw(t, "count")
		seen := 0
		for start := 1; start <= total; start += count {
			from, to := scim.Query{Start: start, Count: count}.Cut(total)
			if from != seen || to <= from {
				t.Fatalf("page at %d of %d: %d to %d", start, total, from, to)
			}
			seen = to
		}
		if seen != total {
			t.Fatalf("%d of %d seen", seen, total)
		}
	})
}

func TestABulkRequestWaitsForWhatItRefersTo(t *testing.T) {
	b := must(scim.ParseBulk([]byte(`{"schemas":["`+scim.BulkSchema+`"],"failOnErrors":2,"Operations":[
		{"method":"POST","path":"/Groups","bulkId":"g","data":{"members":[{"value":"bulkId:u"}]}},
		{"method":"post","path":"/Users","bulkId":"u","data":{"userName":"ann"}},
		{"method":"PATCH","path":"/Users/bulkId:u","version":"W/\"1\"","data":{}},
		{"method":"DELETE","path":"/Users/bulkId:nobody"}]}`), 10))
	var seen []string
	answer := b.Run(func(op scim.BulkOperation) scim.BulkResult {
		seen = append(seen, op.Method+" "+op.Path+" "+string(op.Data)+op.Version)
		if op.Method == "POST" {
			return scim.BulkResult{Status: 201, Made: op.ID + "1", Location: "/" + op.ID + "1", Version: `W/"1"`}
		}
		return scim.BulkResult{Status: 412, Refusal: "no"}
	})
	want := []string{`POST /Users {"userName":"ann"}`, `PATCH /Users/u1 {}W/"1"`, `POST /Groups {"members":[{"value":"u1"}]}`}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("done (-want +got)\n%s", diff)
	}
	var statuses []any
	for _, op := range answer["Operations"].([]any) {
		statuses = append(statuses, op.(map[string]any)["status"])
	}
	if diff := cmp.Diff([]any{"201", "201", "412", "409"}, statuses); diff != "" {
		t.Errorf("statuses (-want +got)\n%s", diff)
	}
	if _, err := scim.ParseBulk([]byte(`{"schemas":["`+scim.BulkSchema+`"],"Operations":[{"method":"DELETE","path":"/Users/1"},{"method":"DELETE","path":"/Users/2"}]}`), 1); scim.As(err).Status != 413 {
		t.Error(err)
	}
}

// TestMembersAreASet adds and removes members, some written with more than their
// value, and some twice: in the end there is who was added last, once.
func TestMembersAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "c", "d"}))
		written := func(named []string) []any {
			var out []any
			for _, id := range named {
				m := map[string]any{"value": id}
				if rapid.Bool().Draw(t, "display") {
					m["display"] = "somebody"
				}
				out = append(out, m)
			}
			return out
		}
		had, extra, gone := ids.Draw(t, "had"), ids.Draw(t, "extra"), ids.Draw(t, "gone")
		r := scim.Resource{"displayName": "g"}
		for _, op := range []scim.Operation{
			{Op: "add", Path: "members", Value: written(had)},
			{Op: "add", Path: "members", Value: written(extra)},
			{Op: "remove", Path: "members", Value: written(gone)},
		} {
			if list, _ := op.Value.([]any); len(list) == 0 {
				continue
			}
			var err error
			if r, err = r.Apply([]scim.Operation{op}); err != nil {
				t.Fatal(err)
			}
		}
		want, got := map[string]bool{}, map[string]bool{}
		for _, id := range append(had, extra...) {
			want[id] = true
		}
		for _, id := range gone {
			delete(want, id)
		}
		for _, m := range scim.Writable(scim.Groups, r).Members() {
			if id, _ := m["value"].(string); got[id] {
				t.Fatalf("%s is there twice", id)
			} else {
				got[id] = true
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("had %v, added %v, removed %v (-want +got)\n%s", had, extra, gone, diff)
		}
	})
}
