package reconciler_test

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// memory is a bucket in memory, with the broker's rules for revisions.
type memory[T any] struct {
	mu      sync.Mutex
	seq     uint64
	values  map[string]held[T]
	changed chan struct{}
	// lost stores the next write, and loses the answer.
	lost bool
	// watches is how many watches break before one holds.
	watches int
}

type held[T any] struct {
	value   T
	deleted bool
	rev     uint64
}

func newMemory[T any]() *memory[T] {
	return &memory[T]{values: map[string]held[T]{}, changed: make(chan struct{})}
}

func (m *memory[T]) lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost = true
}

func (m *memory[T]) Get(_ context.Context, key string) (T, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.values[key]
	if !ok || h.deleted {
		return *new(T), 0, stream.ErrNotFound
	}
	return h.value, h.rev, nil
}

func (m *memory[T]) Put(_ context.Context, key string, value T, rev uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.values[key]
	if (rev == 0 && h.rev != 0 && !h.deleted) || (rev != 0 && h.rev != rev) {
		return 0, stream.ErrConflict
	}
	m.set(key, held[T]{value: value})
	if m.lost {
		m.lost = false
		return 0, stream.ErrUnavailable
	}
	return m.seq, nil
}

func (m *memory[T]) set(key string, h held[T]) {
	m.seq++
	h.rev = m.seq
	m.values[key] = h
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory[T]) Delete(_ context.Context, key string, rev uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values[key].rev != rev {
		return stream.ErrConflict
	}
	m.set(key, held[T]{deleted: true})
	return nil
}

func (m *memory[T]) Keys(_ context.Context, prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for key, h := range m.values {
		if !h.deleted && (prefix == "" || strings.HasPrefix(key, prefix+".")) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

func (m *memory[T]) Watch(ctx context.Context, _ string, fn func(key string, value *T, rev uint64)) error {
	var seen uint64
	for {
		m.mu.Lock()
		if m.watches > 0 {
			m.watches--
			m.mu.Unlock()
			return stream.ErrUnavailable
		}
		values, changed := maps.Clone(m.values), m.changed
		m.mu.Unlock()
		last := seen
		for key, h := range values {
			if h.rev <= last {
				continue
			}
			seen = max(seen, h.rev)
			if h.deleted {
				fn(key, nil, h.rev)
			} else {
				fn(key, &h.value, h.rev)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// listing is a target that shows what it is told to show.
type listing func(ctx context.Context, yield func(scim.Resource, error) bool)

func (l listing) List(ctx context.Context, _ scim.Kind) iter.Seq2[scim.Resource, error] {
	return func(yield func(scim.Resource, error) bool) { l(ctx, yield) }
}

// shows is a listing of these resources that then ends, in err if there is one.
func shows(err error, resources ...scim.Resource) listing {
	return func(_ context.Context, yield func(scim.Resource, error) bool) {
		for _, r := range resources {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// outbox keeps what is published.
type outbox struct {
	mu       sync.Mutex
	commands []*joineryv1.ProvisioningCommand
	broken   error
}

func (o *outbox) Command(_ context.Context, c *joineryv1.ProvisioningCommand) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken != nil {
		return o.broken
	}
	o.commands = append(o.commands, c)
	return nil
}
