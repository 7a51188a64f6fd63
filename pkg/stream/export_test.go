package stream

import (
	"github.com/nats-io/nats.go/jetstream"
)

// Merge shows what Apply makes of a stream of one topology under another: three
// copies need three servers otherwise.
func Merge(actual, designed Topology, name string) (jetstream.StreamConfig, bool, error) {
	find := func(t Topology) (found jetstream.StreamConfig) {
		for _, c := range t.configs() {
			if c.Name == name {
				found = c
			}
		}
		return found
	}
	return merge(find(actual), find(designed))
}

// NewEnough tells whether a version of nats-server keeps its word.
func NewEnough(version string) bool { return newEnough(version) }
