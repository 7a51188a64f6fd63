package deadletter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/crash"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Batch is what a guard holds together: too much to be taken from people
// without a person's consent.
type Batch struct {
	ID     string    `json:"id"`
	Target string    `json:"target"`
	Since  time.Time `json:"since"`
	// Hash stands for exactly these items. A decision names it, so that nobody
	// agrees to what was added after they looked.
	Hash string `json:"hash"`
	// Wishes counts the items by what is wished for: disabled, absent, present.
	Wishes map[string]int `json:"wishes"`
	Items  []Item         `json:"items"`
}

// Item is one account of a batch.
type Item struct {
	Case     string    `json:"case"`
	Identity string    `json:"identity"`
	Key      string    `json:"key,omitempty"`
	Revision uint64    `json:"revision"`
	Wish     string    `json:"wish"`
	Event    string    `json:"event"`
	Source   string    `json:"source,omitempty"`
	Since    time.Time `json:"since"`
}

// ConsentFor is how long an approval counts: what is approved and not carried
// out by then is held again.
const ConsentFor = 24 * time.Hour

// Errors of decisions about a batch.
var (
	// ErrChanged: the batch is not what the person looked at.
	ErrChanged = errors.New("the batch has changed since it was shown: look again, and decide with its new hash")
	// ErrApprove: a guard's case is decided with its batch.
	ErrApprove = errors.New("a guard holds this case: approve it with its batch, or discard it")
	// ErrNotInBatch: a case was named that the batch does not hold.
	ErrNotInBatch = errors.New("the batch holds no such case")
)

// Batches lists what is held, oldest first, without the items.
func (d *Desk) Batches(ctx context.Context) ([]Batch, error) {
	held, err := d.held(ctx)
	if err != nil {
		return nil, err
	}
	out := []Batch{}
	for _, b := range held {
		b.Items = nil
		out = append(out, b)
	}
	slices.SortFunc(out, func(x, y Batch) int { return cmp.Or(x.Since.Compare(y.Since), strings.Compare(x.ID, y.ID)) })
	return out, nil
}

// Batch gives one batch with its plan, or stream.ErrNotFound.
func (d *Desk) Batch(ctx context.Context, id string) (Batch, error) {
	held, err := d.held(ctx)
	if err != nil {
		return Batch{}, err
	}
	b, ok := held[id]
	if !ok {
		return Batch{}, stream.ErrNotFound
	}
	for i, item := range b.Items {
		if rec, _, err := d.identities.Get(ctx, item.Identity); err == nil {
			b.Items[i].Key = rec.Key
		}
	}
	return b, nil
}

// held is all open cases of guards, by batch.
func (d *Desk) held(ctx context.Context) (map[string]Batch, error) {
	ids, err := d.cases.Keys(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("list cases: %w", err)
	}
	out := map[string]Batch{}
	for _, id := range ids {
		c, _, err := d.cases.Get(ctx, id)
		if errors.Is(err, stream.ErrNotFound) || (err == nil && (c.Batch == "" || c.State != Open)) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read case %s: %w", id, err)
		}
		b := out[c.Batch]
		b.ID, b.Target = c.Batch, c.Target
		b.Items = append(b.Items, c.item())
		out[c.Batch] = b
	}
	for id, b := range out {
		out[id] = b.sealed()
	}
	return out, nil
}

// item is the case as one of a batch.
func (c Case) item() Item {
	i := Item{Case: c.ID, Identity: c.Identity, Revision: c.Revision, Event: c.Event, Since: c.Updated}
	if letter, err := c.letter(); err == nil {
		cmd := letter.GetCommand()
		i.Wish, i.Source = strings.ToLower(strings.TrimPrefix(cmd.GetWish().String(), "WISH_")), cmd.GetSource()
	}
	return i
}

// sealed is the batch with what follows from its items.
func (b Batch) sealed() Batch {
	slices.SortFunc(b.Items, func(x, y Item) int { return strings.Compare(x.Case, y.Case) })
	b.Wishes = map[string]int{}
	h := sha256.New()
	for i, item := range b.Items {
		fmt.Fprintf(h, "%s %d %s\n", item.Case, item.Revision, item.Wish)
		b.Wishes[item.Wish]++
		if i == 0 || item.Since.Before(b.Since) {
			b.Since = item.Since
		}
	}
	b.Hash = hex.EncodeToString(h.Sum(nil)[:8])
	return b
}

// Verdict is a decision about a batch.
type Verdict struct {
	By   string `json:"by"`
	Note string `json:"reason"`
	// Hash is that of the batch as it was looked at.
	Hash string `json:"hash"`
	// Only are the cases that are approved; none means all that are not rejected.
	Only []string `json:"only"`
	// Reject are the cases that are closed without doing anything.
	Reject []string `json:"reject"`
}

// Decided is what became of a batch.
type Decided struct {
	Approved []string `json:"approved"`
	Rejected []string `json:"rejected"`
	Left     int      `json:"left"`
}

// Decide carries out a decision: approved cases are sent, each with the consent
// to its very revision; rejected ones are closed; others stay. It may be called
// again after an error: what was decided already is left out then.
func (d *Desk) Decide(ctx context.Context, id string, v Verdict) (Decided, error) {
	b, err := d.Batch(ctx, id)
	if err != nil {
		return Decided{}, err
	}
	if v.Hash != b.Hash {
		return Decided{}, ErrChanged
	}
	left, looked := map[string]bool{}, map[string]Item{}
	for _, item := range b.Items {
		left[item.Case], looked[item.Case] = true, item
	}
	for _, name := range slices.Concat(v.Only, v.Reject) {
		if !left[name] {
			return Decided{}, fmt.Errorf("%s: %w", name, ErrNotInBatch)
		}
	}
	done := Decided{Approved: []string{}, Rejected: []string{}}
	for _, name := range v.Reject {
		if _, err := d.Discard(ctx, name, v.By, v.Note); err != nil {
			return done, err
		}
		delete(left, name)
		done.Rejected = append(done.Rejected, name)
	}
	approved := v.Only
	if len(approved) == 0 {
		approved = slices.Sorted(maps.Keys(left))
	}
	consent := &joineryv1.Approval{By: v.By, Batch: id, ExpiresAt: timestamppb.New(time.Now().Add(ConsentFor))}
	for _, name := range approved {
		if !left[name] {
			continue // rejected in the same breath
		}
		if err := d.approve(ctx, looked[name], v, consent); err != nil {
			return done, err
		}
		delete(left, name)
		done.Approved = append(done.Approved, name)
	}
	done.Left = len(left)
	d.log.WarnContext(ctx, "batch decided", "batch", id, "by", v.By, "approved", len(done.Approved), "rejected", len(done.Rejected), "left", done.Left)
	return done, nil
}

// approve sends one case with a person's consent. The case counts as decided
// only when the command is stored: a lost one can be approved again.
func (d *Desk) approve(ctx context.Context, looked Item, v Verdict, consent *joineryv1.Approval) error {
	id := looked.Case
	c, _, err := d.cases.Get(ctx, id)
	if err != nil {
		return fmt.Errorf("read case %s: %w", id, err)
	}
	if now := c.item(); now.Revision != looked.Revision || now.Wish != looked.Wish {
		return ErrChanged // something else is held by now than what was looked at
	}
	next, err := c.approved(time.Now(), v.By, v.Note)
	if err != nil {
		return err
	}
	if err := d.resend(ctx, next, consent); err != nil {
		return err
	}
	crash.At(ctx, crash.DeskSent)
	_, err = d.edit(ctx, id, false, func(c Case) (Case, error) { return c.approved(time.Now(), v.By, v.Note) })
	if errors.Is(err, ErrDecided) {
		err = nil // its outcome was quicker
	}
	d.decided.Add(1, c.Target, "approve")
	return err
}
