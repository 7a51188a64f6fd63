package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// A pull request is repeated when it expires, and when the broker is silent
	// for longer than it would be if it knew of the request. Both are short: a
	// lost request silences the whole consumer.
	pullExpiry    = 5 * time.Second
	pullHeartbeat = time.Second
	pullSilence   = 3 * pullHeartbeat
	// maxPull bounds one request.
	maxPull = 256
	// drainWait bounds the wait for messages that are on their way at the end.
	drainWait = 2 * time.Second
)

// puller asks for messages of one durable consumer, with one request at a time.
// nats.go's own ways of fetching lose what arrives between two requests, until
// its acknowledgement is overdue; here one subscription lasts from the first
// request to the last, and what comes unasked is handed over as well.
type puller struct {
	nc      *nats.Conn
	subject string // where requests go
	inbox   string // where answers come
	sub     *nats.Subscription
	closed  chan struct{}
	// deliver takes a message; asked tells that a request was open for it.
	deliver func(msg *nats.Msg, asked bool)

	mu      sync.Mutex
	last    int // number of the last request
	request *request
}

// request is one pull request.
type request struct {
	owed  int // messages that may still come
	heard time.Time
	ended chan error // takes one value
}

func newPuller(nc *nats.Conn, stream, durable string, deliver func(msg *nats.Msg, asked bool)) (*puller, error) {
	p := &puller{
		nc: nc, subject: api + "CONSUMER.MSG.NEXT." + stream + "." + durable, inbox: nc.NewInbox() + ".",
		closed: make(chan struct{}), deliver: deliver,
	}
	sub, err := nc.Subscribe(p.inbox+"*", p.receive)
	if err != nil {
		return nil, fmt.Errorf("subscribe to the answers of consumer %s: %w", durable, err)
	}
	p.sub = sub
	sub.SetClosedHandler(func(string) { close(p.closed) })
	// What is on its way is bounded by what was asked for.
	return p, sub.SetPendingLimits(-1, -1)
}

// pull asks for n messages and waits until they have come, or will not come any
// more. left is how many did not. The error says what is wrong with the
// consumer or the broker; no messages, and the end of ctx, are no error.
func (p *puller) pull(ctx context.Context, n int) (left int, err error) {
	if !p.nc.IsConnected() {
		// A request now would wait in a buffer and come with those that follow it.
		return n, errDisconnected
	}
	body, err := json.Marshal(map[string]any{
		"batch": n, "expires": pullExpiry.Nanoseconds(), "idle_heartbeat": pullHeartbeat.Nanoseconds(),
	})
	if err != nil {
		return n, fmt.Errorf("encode a pull request: %w", err)
	}
	r, reply := p.begin(n)
	if err := p.nc.PublishRequest(p.subject, reply, body); err != nil {
		return p.end(), fmt.Errorf("send a pull request: %w", err)
	}
	err = p.await(ctx, r)
	return p.end(), err
}

func (p *puller) begin(n int) (r *request, reply string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	p.request = &request{owed: n, heard: time.Now(), ended: make(chan error, 1)}
	return p.request, p.inbox + strconv.Itoa(p.last)
}

// end forgets the request; left is how many messages it is still owed.
func (p *puller) end() (left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	left, p.request = p.request.owed, nil
	return left
}

func (p *puller) await(ctx context.Context, r *request) error {
	silence := time.NewTimer(pullSilence)
	defer silence.Stop()
	for {
		select {
		case err := <-r.ended:
			return err
		case <-ctx.Done():
			return nil
		case <-silence.C:
			p.mu.Lock()
			quiet := time.Since(r.heard)
			p.mu.Unlock()
			if quiet >= pullSilence {
				return errSilent
			}
			silence.Reset(pullSilence - quiet)
		}
	}
}

var (
	errDisconnected = errors.New("not connected to the broker")
	errSilent       = errors.New("the broker is silent")
	errNoConsumer   = errors.New("nobody answers for the consumer: it does not exist, or JetStream is not running")
)

// receive takes what comes from the broker: messages carry the subject under
// which they were stored, answers about a request come to its own subject.
func (p *puller) receive(msg *nats.Msg) {
	number, about := strings.CutPrefix(msg.Subject, p.inbox)
	if about {
		p.answer(number, msg.Header.Get("Status"), msg.Header.Get("Description"))
		return
	}
	p.mu.Lock()
	r := p.request
	asked := r != nil && r.owed > 0
	if asked {
		r.heard = time.Now()
		if r.owed--; r.owed == 0 {
			r.finish(nil)
		}
	}
	p.mu.Unlock()
	p.deliver(msg, asked)
}

// answer takes what the broker says about a request (NATS ADR-13). All but a
// heartbeat end it.
//
//	100                       heartbeat
//	404, 408, 409 completed   no (more) messages
//	409 anything else         the consumer was deleted, moved or is misused
//	503                       nobody answers for this consumer
func (p *puller) answer(number, status, description string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.request
	if r == nil || number != strconv.Itoa(p.last) {
		return
	}
	r.heard = time.Now()
	switch {
	case status == "100":
	case status == "404", status == "408", description == "Batch Completed":
		r.finish(nil)
	case status == "503":
		r.finish(errNoConsumer)
	default:
		r.finish(fmt.Errorf("the broker answered %s %s", status, description))
	}
}

func (r *request) finish(err error) {
	select {
	case r.ended <- err:
	default:
	}
}

// drain ends the subscription after what is on its way has been delivered.
func (p *puller) drain() {
	if p.sub.Drain() != nil {
		return // the connection is gone, and the subscription with it
	}
	wait := time.NewTimer(drainWait)
	defer wait.Stop()
	select {
	case <-p.closed:
	case <-wait.C:
		_ = p.sub.Unsubscribe() // the broker does not answer; what comes later comes again
	}
}
