package dispatcher

import (
	"context"
	"fmt"

	"github.com/joinery/joinery/pkg/scim"
)

// keeping is what is desired, with what was sent and is now left alone as the
// account has it: so it is neither taken back nor brought back.
func (p *pursuit) keeping(desired scim.Resource) scim.Resource {
	if len(p.cmd.GetLeft()) == 0 {
		return desired
	}
	desired = desired.Clone()
	for _, path := range p.cmd.GetLeft() {
		v, ours := scim.Resource(p.account.Sent).Get(path)
		if ours && p.observed != nil {
			v, ours = p.observed.Get(path)
		}
		if ours {
			_ = desired.Set(path, v) // the mapping has written the path once already
		}
	}
	return desired
}

// baseline is what counts as sent before when the difference is made: also what
// the mapping clears, if the target shows it, so that it is taken back.
func (p *pursuit) baseline() scim.Resource {
	if len(p.cmd.GetCleared()) == 0 {
		return p.account.Sent
	}
	base := scim.Resource{}
	if p.account.Sent != nil {
		base = scim.Resource(p.account.Sent).Clone()
	}
	for _, path := range p.cmd.GetCleared() {
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
