package scimhttp

import (
	"context"
	"sync"
)

// The knobs that a target can teach the client, under the names of pkg/profile.
const (
	searchBy = "search.by"
	bulkKnob = "bulk"
)

// Lessons keep what a target taught, by knob, longer than a client lives.
type Lessons interface {
	Knows(knob, value string) bool
	// Learn remembers; evidence is what the target said, without values.
	Learn(ctx context.Context, knob, value, evidence string)
}

// Remember keeps what the target teaches in l. Without it, it is kept as long as
// the client is. It must be called before the first request.
func (c *Client) Remember(l Lessons) { c.lessons = l }

// memory keeps lessons for the life of a process; there are as many as knobs.
type memory struct {
	mu    sync.Mutex
	known map[string]string
}

// Knows implements Lessons.
func (m *memory) Knows(knob, value string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[knob] == value
}

// Learn implements Lessons.
func (m *memory) Learn(_ context.Context, knob, value, _ string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[string]string{}
	}
	m.known[knob] = value
}
