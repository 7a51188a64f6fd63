package dispatcher

import (
	"context"
	"fmt"

	"github.com/joinery/joinery/pkg/scim"
)

// baseline is what counts as sent before when the difference is made. What the
// mapping leaves alone does not count, so that it is not taken back; what it
// clears counts, if the target shows it, so that it is.
func (p *pursuit) baseline() scim.Resource {
	left, cleared := p.cmd.GetLeft(), p.cmd.GetCleared()
	if len(left)+len(cleared) == 0 {
		return p.account.Sent
	}
	base := scim.Resource{}
	if p.account.Sent != nil {
		base = scim.Resource(p.account.Sent).Without(left)
	}
	for _, path := range cleared {
		if v, shown := p.observed.Get(path); shown {
			_ = base.Set(path, v) // the mapping has written the path once already
		}
	}
	return base
}

// lookForCleared reads the account where attributes must be gone that others may
// have written: nothing that was sent tells of those.
func (p *pursuit) lookForCleared(ctx context.Context) error {
	if len(p.cmd.GetCleared()) == 0 || p.observed != nil {
		return nil
	}
	observed, err := p.scim.Get(ctx, scim.Users, p.account.RemoteID)
	if err != nil {
		return fmt.Errorf("read an account: %w", err)
	}
	p.observe(observed)
	return nil
}
