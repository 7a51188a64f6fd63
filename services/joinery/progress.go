package joinery

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// newHTTPClient is a client that keeps its connections.
func newHTTPClient() *http.Client {
	return &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * senders}}
}

// progress gives the function that shows how far the demo is: a live line on a
// terminal, a plain line every two seconds elsewhere.
func (t *terminal) progress(s *stage) func(ctx context.Context) {
	live := interactive(t.errs)
	every := 2 * time.Second
	if live {
		every = 200 * time.Millisecond
	}
	return func(ctx context.Context) {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				if live {
					fmt.Fprintln(t.errs, "\r\x1b[K"+s.line(context.WithoutCancel(ctx)))
				} else {
					fmt.Fprintln(t.errs, s.line(context.WithoutCancel(ctx)))
				}
				return
			case <-ticker.C:
				if live {
					fmt.Fprint(t.errs, "\r\x1b[K"+s.line(ctx))
				} else {
					fmt.Fprintln(t.errs, s.line(ctx))
				}
			}
		}
	}
}

// line says where the demo is: what was sent, what each target holds, and what
// waits for it.
func (s *stage) line(ctx context.Context) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-9s %3d/%d events", s.phase.Load(), s.accepted.Load(), len(s.company.Events))
	if n := s.repeated.Load(); n > 0 {
		fmt.Fprintf(&b, " (%d known)", n)
	}
	for _, t := range s.targets {
		waiting, err := s.commands(ctx, t.name)
		if err != nil {
			continue
		}
		fmt.Fprintf(&b, "  %s %d", t.name, t.sim.Stats().Users)
		if waiting > 0 {
			fmt.Fprintf(&b, " (%d wait)", waiting)
		}
	}
	return b.String()
}
