package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// commits gathers what is stored in one stream at the same time. A broker that
// syncs every publish takes as long for one message as for a batch that shares
// one sync, so what comes while others are on their way goes together.
//
//	on their way   what comes next
//	nothing        goes at once, alone
//	something      waits, and then goes with all that wait: each on its own, or all
//	               as one batch, whatever costs less
//
// Only messages that expect a sequence of their subject go through here. They
// say for themselves whether they were stored before, where a batch has no
// message ids.
type commits struct {
	conn *Conn
	mu   sync.Mutex
	// waiting are in the order they came; flying tells that somebody sends.
	waiting []*pending
	flying  bool
	flights int
	// perSingle is what a message costs among others that are sent singly, and
	// perBatch what a batch does. Only who flies uses them.
	perSingle, perBatch average
}

// pending is a message on its way, and who waits for it.
type pending struct {
	msg  *nats.Msg
	ctx  context.Context
	done chan landing
}

// landing is where a message was stored.
type landing struct {
	sequence  uint64
	duplicate bool
	err       error
}

// mostTogether bounds a batch, so that the first does not wait long for the last.
const mostTogether = 256

// What a flight costs is learned as it goes, because it depends on the broker: with
// every write synced, a batch of 16 takes 2 ms and 16 single messages take 4; with
// no sync it is the other way round. The first guess is a broker that syncs.
const (
	firstSingle = 230 * time.Microsecond
	firstBatch  = 2 * time.Millisecond
	// telling is how many single messages say something of their cost: the time of
	// one or two is that of everything else the machine does.
	telling = 8
	// tryAgain is how seldom many are sent singly to learn what it costs.
	tryAgain = 24
	// learning is the weight of the newest flight.
	learning = 0.25
)

// average is a moving one.
type average time.Duration

func (a *average) learn(d time.Duration) {
	*a += average(learning * float64(d-time.Duration(*a)))
}

// store stores a message that expects a sequence of its subject.
func (c *commits) store(ctx context.Context, msg *nats.Msg) (sequence uint64, duplicate bool, err error) {
	p := &pending{msg: msg, ctx: ctx, done: make(chan landing, 1)}
	c.mu.Lock()
	c.waiting = append(c.waiting, p)
	if !c.flying {
		c.flying = true
		go c.fly()
	}
	c.mu.Unlock()
	select {
	case s := <-p.done:
		return s.sequence, s.duplicate, s.err
	case <-ctx.Done():
		return 0, false, errors.Join(ErrUnavailable, ctx.Err())
	}
}

// fly sends until nobody waits.
func (c *commits) fly() {
	for {
		together := c.next()
		if len(together) == 0 {
			return
		}
		begun := time.Now()
		if c.cheaperSingly(len(together)) {
			c.singly(together)
			if len(together) >= telling {
				c.perSingle.learn(time.Since(begun) / time.Duration(len(together)))
			}
		} else {
			c.batch(together)
			c.perBatch.learn(time.Since(begun))
		}
	}
}

// cheaperSingly tells how to send so many. Now and then it tries the other way,
// because a broker's ways can change.
func (c *commits) cheaperSingly(n int) bool {
	c.flights++
	if n >= telling && c.flights%tryAgain == 0 {
		return true
	}
	return average(n)*c.perSingle < c.perBatch
}

// next takes those that wait, one for each subject: two of one subject cannot
// both expect the right sequence.
func (c *commits) next() []*pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := make(map[string]bool, len(c.waiting))
	var together, later []*pending
	for _, p := range c.waiting {
		if p.ctx.Err() != nil {
			continue // nobody waits any more, and it was not sent
		}
		if len(together) == mostTogether || seen[p.msg.Subject] {
			later = append(later, p)
			continue
		}
		seen[p.msg.Subject] = true
		together = append(together, p)
	}
	c.waiting = later
	c.flying = len(together) > 0
	return together
}

// singly sends messages at once, each for itself.
func (c *commits) singly(together []*pending) {
	var all sync.WaitGroup
	for _, p := range together {
		all.Go(func() { p.done <- c.single(p) })
	}
	all.Wait()
}

func (c *commits) single(p *pending) landing {
	ctx, cancel := bounded(context.WithoutCancel(p.ctx))
	defer cancel()
	ack, err := c.conn.js.PublishMsg(ctx, p.msg)
	if err != nil {
		return landing{err: err}
	}
	return landing{sequence: ack.Sequence, duplicate: ack.Duplicate}
}

// batch sends messages as one batch. Where one of them is refused, none is
// stored, and each is sent for itself to find out which.
func (c *commits) batch(together []*pending) {
	messages := make([]*nats.Msg, len(together))
	for i, p := range together {
		messages[i] = withoutID(p.msg)
	}
	ctx, cancel := bounded(context.WithoutCancel(together[0].ctx))
	defer cancel()
	ack, err := jetstreamext.PublishMsgBatch(ctx, c.conn.js, messages)
	var refused *jetstream.APIError
	switch {
	case err == nil:
		for i, p := range together {
			p.done <- landing{sequence: ack.Sequence - uint64(len(together)-1-i)}
		}
	case errors.As(err, &refused):
		c.singly(together)
	default: // it may be stored
		for _, p := range together {
			p.done <- landing{err: err}
		}
	}
}

// withoutID is the message for a batch, where a repeated id would refuse all.
func withoutID(msg *nats.Msg) *nats.Msg {
	out := &nats.Msg{Subject: msg.Subject, Data: msg.Data, Header: nats.Header{}}
	for key, values := range msg.Header {
		if key != jetstream.MsgIDHeader {
			out.Header[key] = values
		}
	}
	return out
}

// expecting is the message, to be stored only where its subject's last sequence
// is the one given; 0 is none.
func expecting(msg *nats.Msg, stream string, sequence uint64) *nats.Msg {
	if msg.Header == nil {
		msg.Header = nats.Header{}
	}
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, fmt.Sprint(sequence))
	if stream != "" {
		msg.Header.Set(jetstream.ExpectedStreamHeader, stream)
	}
	return msg
}

// commitsOf is where messages of a stream gather.
func (c *Conn) commitsOf(stream string) *commits {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.commits == nil {
		c.commits = map[string]*commits{}
	}
	if c.commits[stream] == nil {
		c.commits[stream] = &commits{conn: c, perSingle: average(firstSingle), perBatch: average(firstBatch)}
	}
	return c.commits[stream]
}
