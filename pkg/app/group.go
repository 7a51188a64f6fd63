package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Group runs the parts of something side by side. They stop together: when one
// fails, or the context that the group was made with ends, the context of all
// ends. A part that returns nil is merely done.
type Group struct {
	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu   sync.Mutex
	errs []error
}

// NewGroup is a group without parts. End it with Wait.
func NewGroup(ctx context.Context) *Group {
	ctx, cancel := context.WithCancel(ctx)
	return &Group{ctx: ctx, cancel: cancel}
}

// Go starts a part. Its name stands in front of its error. It must return soon
// after its context ends, because Wait waits for it.
func (g *Group) Go(name string, run func(ctx context.Context) error) {
	g.wait.Go(func() {
		if err := run(g.ctx); err != nil {
			g.failed(fmt.Errorf("%s: %w", name, err))
		}
	})
}

func (g *Group) failed(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// After the stop, parts report the end of their context. That is no failure.
	if ended := g.ctx.Err(); ended == nil || !errors.Is(err, ended) {
		g.errs = append(g.errs, err)
	}
	g.cancel()
}

// Stop ends the context of all parts.
func (g *Group) Stop() { g.cancel() }

// Wait returns when every part has returned. Its error holds what failed, in that
// order; a group that was only stopped gives nil.
func (g *Group) Wait() error {
	g.wait.Wait()
	g.cancel()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.errs) == 1 {
		return g.errs[0]
	}
	return errors.Join(g.errs...)
}
