package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/joinery/joinery/pkg/crash"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
)

// Accounts is the bucket of account ledgers. Put succeeds only where rev is
// still the stored revision (0: not there yet), else it fails with
// stream.ErrConflict.
type Accounts interface {
	Get(ctx context.Context, key string) (identity.Account, uint64, error)
	Put(ctx context.Context, key string, a identity.Account, rev uint64) (uint64, error)
}

// ledger reads and writes accounts, and lets one worker of this process at a
// time hold a pair.
type ledger struct {
	accounts Accounts
	worker   string
	lease    time.Duration
	pairs    pairs
}

// remoteID is the id of somebody's account in a target, or "" where there is
// none yet.
func (l *ledger) remoteID(ctx context.Context, target, id string) (string, error) {
	account, _, err := l.accounts.Get(ctx, identity.AccountKey(target, id))
	if errors.Is(err, stream.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the account referred to: %w", err)
	}
	return account.RemoteID, nil
}

// busy is the pause before an account that another worker holds is looked at
// again: most calls end in a moment, only a dead worker's last a lease.
const busy = time.Second

// load reads an account. It fails while another worker may be in the middle of
// changing it.
func (l *ledger) load(ctx context.Context, target, id string) (identity.Account, uint64, error) {
	account, rev, err := l.accounts.Get(ctx, identity.AccountKey(target, id))
	if errors.Is(err, stream.ErrNotFound) {
		return identity.Account{Target: target, Identity: id}, 0, nil
	}
	if err != nil {
		return account, 0, fmt.Errorf("read an account: %w", err)
	}
	if open := account.Intent; open != nil && open.Worker != "" && open.Worker != l.worker {
		if rest := l.lease - time.Since(open.At); rest > 0 {
			return account, 0, fault.Retry(min(rest, busy), errors.New("another worker holds the account"))
		}
	}
	return account, rev, nil
}

// begin records what is about to be done. Losing the swap means that another
// worker was here: nothing may be sent.
func (p *pursuit) begin(ctx context.Context, operation string) error {
	p.account.Begun = max(p.account.Begun, p.cmd.GetRevision())
	p.account.Uncertain = true // until it ends well
	p.account.Intent = &identity.Intent{
		ID: uuid.NewString(), Operation: operation, Revision: p.cmd.GetRevision(),
		Worker: p.ledger.worker, At: time.Now().UTC(),
	}
	err := p.save(ctx)
	crash.At(ctx, crash.DispatcherIntended)
	return err
}

// save stores the account by compare-and-swap.
func (p *pursuit) save(ctx context.Context) error {
	p.account.UpdatedAt = time.Now().UTC()
	rev, err := p.ledger.accounts.Put(ctx, identity.AccountKey(p.name, p.cmd.GetIdentity()), p.account, p.revision)
	if err != nil {
		return fmt.Errorf("store an account: %w", err)
	}
	p.revision = rev
	return nil
}

// pairs is a set of locks by identity, alive only while held.
type pairs struct {
	mu   sync.Mutex
	held map[string]*pair
}

type pair struct {
	users int
	token chan struct{}
}

// lock waits for the pair and gives the function that frees it.
func (ps *pairs) lock(ctx context.Context, key string) (func(), error) {
	ps.mu.Lock()
	if ps.held == nil {
		ps.held = map[string]*pair{}
	}
	p := ps.held[key]
	if p == nil {
		p = &pair{token: make(chan struct{}, 1)}
		ps.held[key] = p
	}
	p.users++
	ps.mu.Unlock()
	leave := func() {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		if p.users--; p.users == 0 {
			delete(ps.held, key)
		}
	}
	select {
	case p.token <- struct{}{}:
		return func() { <-p.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
