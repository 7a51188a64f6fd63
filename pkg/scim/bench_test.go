package scim_test

import (
	"fmt"
	"testing"

	"github.com/joinery/joinery/pkg/scim"
)

// members are so many, from the n-th on.
func members(n, count int) []any {
	out := make([]any, count)
	for i := range out {
		out[i] = map[string]any{"value": fmt.Sprintf("01a209f7-f7b9-7900-9b35-%012d", n+i)}
	}
	return out
}

// BenchmarkMembers is a PATCH of a hundred members of a group of ten thousand.
func BenchmarkMembers(b *testing.B) {
	g := scim.Resource{"displayName": "all", "members": members(0, 10_000)}
	for name, op := range map[string]scim.Operation{
		"add":    {Op: "add", Path: "members", Value: members(9_950, 100)},
		"remove": {Op: "remove", Path: "members", Value: members(100, 100)},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := g.Apply([]scim.Operation{op}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
