package scim_test

import (
	"testing"

	"github.com/joinery/joinery/pkg/scim"
)

// What is looked up for every path of every operation, filter and difference.
func BenchmarkLookup(b *testing.B) {
	for name, p := range map[string]scim.Path{
		"first pool": {Attr: "externalId"}, "sub-attribute": {Attr: "name", Sub: "givenName"}, "last pool": {Attr: "members", Sub: "value"},
		"other case": {Attr: "USERNAME"}, "unknown": {Attr: "shoeSize"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				scim.Lookup(p)
			}
		})
	}
}

func BenchmarkDiff(b *testing.B) {
	before, after := parse(b, ann), parse(b, ann)
	after["title"] = "Lead"
	b.ReportAllocs()
	for b.Loop() {
		scim.Diff(before, before, after)
	}
}

func TestLookupCostsNoMemory(t *testing.T) {
	for _, p := range []scim.Path{{Attr: "externalId"}, {Attr: "name", Sub: "givenName"}, {Attr: "NAME", Sub: "GIVENNAME"}, {Attr: "shoeSize"}} {
		if n := testing.AllocsPerRun(100, func() { scim.Lookup(p) }); n > 0 {
			t.Errorf("%v: %v allocations", p, n)
		}
	}
}

func TestLookupKnowsWhatTheSchemasKnow(t *testing.T) {
	for _, s := range []scim.Schema{scim.UserAttributes(), scim.EnterpriseAttributes(), scim.GroupAttributes()} {
		for _, a := range s.Attributes {
			if got, ok := scim.Lookup(scim.Path{Attr: a.Name}); !ok || got.Type != a.Type || got.Multi != a.Multi {
				t.Errorf("%s: %+v", a.Name, got)
			}
			for _, sub := range a.Sub {
				if got, ok := scim.Lookup(scim.Path{Attr: a.Name, Sub: sub.Name}); !ok || got.Type != sub.Type || got.Mutability != sub.Mutability {
					t.Errorf("%s.%s: %+v", a.Name, sub.Name, got)
				}
			}
		}
	}
	if _, ok := scim.Lookup(scim.Path{Attr: "name", Sub: "shoeSize"}); ok {
		t.Error("a sub-attribute that there is not was found")
	}
}
