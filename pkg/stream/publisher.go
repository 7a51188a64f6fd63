package stream

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Publisher implements message.Publisher over JetStream. A call returns nil
// only when the broker has stored every message, in the stream of the topology
// that its subject belongs to.
//
// An error that is ErrUnavailable leaves open whether the message was stored:
// publishing it again under the same id stores it once.
type Publisher struct{ conn *Conn }

// Publisher makes a publisher over the connection.
func (c *Conn) Publisher() *Publisher { return &Publisher{conn: c} }

// Close implements message.Publisher. The connection is lent, not owned, and
// nothing is held back that would have to be sent.
func (p *Publisher) Close() error { return nil }

// Publish stores the messages on the subject, one after the other, under their
// UUIDs (or metadata Nats-Msg-Id) as message ids, waiting for each
// acknowledgement under the message's context. An id that comes again within
// the stream's window is stored once.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	for _, msg := range messages {
		if _, err := p.publish(topic, msg); err != nil {
			return err
		}
	}
	return nil
}

// PublishNew stores the message only where its subject holds none yet, however
// long ago. duplicate tells that there was one.
func (p *Publisher) PublishNew(topic string, msg *message.Message) (duplicate bool, err error) {
	duplicate, err = p.expect(topic, msg, 0)
	if isWrongSequence(err) {
		return true, nil
	}
	return duplicate, err
}

// expect stores the message where its subject's last sequence is the one given.
func (p *Publisher) expect(topic string, msg *message.Message, sequence uint64) (duplicate bool, err error) {
	out, err := encode(topic, msg)
	if err != nil {
		return false, err
	}
	name := streamOf(topic)
	ctx, cancel := bounded(msg.Context())
	defer cancel()
	if _, duplicate, err = p.conn.commitsOf(name).store(ctx, expecting(out, name, sequence)); err != nil {
		return false, publishError(topic, err)
	}
	return duplicate, nil
}

// overs bounds how often PublishOver looks again because others write the same
// subject.
const overs = 10

// PublishOver stores the message in the place of what its subject holds, which
// over has seen and allowed; nil means that it holds nothing. It stores nothing,
// and tells so, where over says no.
//
// fresh tells that the subject probably holds nothing: then that is tried before
// it is read.
func (p *Publisher) PublishOver(topic string, msg *message.Message, fresh bool, over func(*message.Message) bool) (stored bool, err error) {
	if fresh {
		if _, err := p.expect(topic, msg, 0); !isWrongSequence(err) {
			return err == nil, err
		}
	}
	for range overs {
		held, err := p.conn.Last(msg.Context(), streamOf(topic), topic)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return false, err
		}
		if !over(held.Message) {
			return false, nil
		}
		_, err = p.expect(topic, msg, held.Sequence)
		if !isWrongSequence(err) {
			return err == nil, err
		}
	}
	return false, fmt.Errorf("publish to %s: %w", topic, ErrConflict)
}

func (p *Publisher) publish(topic string, msg *message.Message, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	out, err := encode(topic, msg)
	if err != nil {
		return nil, err
	}
	if stream := streamOf(topic); stream != "" {
		opts = append(opts, jetstream.WithExpectStream(stream))
	}
	ctx, cancel := bounded(msg.Context())
	defer cancel()
	ack, err := p.conn.js.PublishMsg(ctx, out, opts...)
	if err != nil {
		return nil, publishError(topic, err)
	}
	return ack, nil
}

// Item is one message of a batch.
type Item struct {
	Topic   string
	Message *message.Message
	// Replace stores the message even where its subject holds one already.
	Replace bool
}

// MaxBatch is the largest batch that the broker takes.
const MaxBatch = 1000

// PublishBatch stores all items or none, with one sync to disk for all of them;
// below about thirty that costs more than one by one. All subjects must belong
// to one stream that allows it. It fails with ErrConflict where a subject holds
// a message already, or comes twice, that must not be replaced. Message ids are
// not sent: a repeated one would refuse the whole batch.
func (p *Publisher) PublishBatch(ctx context.Context, items []Item) error {
	if len(items) > MaxBatch {
		return fmt.Errorf("publish a batch of %d: at most %d fit: %w", len(items), MaxBatch, ErrRefused)
	}
	if len(items) == 0 {
		return nil
	}
	batch := make([]*nats.Msg, len(items))
	for i, item := range items {
		msg, err := item.encode()
		if err != nil {
			return err
		}
		batch[i] = msg
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if _, err := jetstreamext.PublishMsgBatch(ctx, p.conn.js, batch); err != nil {
		if isWrongSequence(err) {
			return fmt.Errorf("publish a batch: %w", ErrConflict)
		}
		return publishError("a batch", err)
	}
	return nil
}

func (i Item) encode() (*nats.Msg, error) {
	msg, err := encode(i.Topic, i.Message)
	if err != nil {
		return nil, err
	}
	msg.Header.Del(jetstream.MsgIDHeader)
	if !i.Replace {
		msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
	}
	if stream := streamOf(i.Topic); stream != "" {
		msg.Header.Set(jetstream.ExpectedStreamHeader, stream)
	}
	return msg, nil
}

// publishError tells what the broker cannot take now from what it never will.
//
//	no answer, connection lost, no such stream   ErrUnavailable
//	full, out of resources (5xx, 429)            ErrUnavailable
//	a batch that the broker gave up (400)        ErrUnavailable
//	anything else about this message (400)       ErrRefused
//	too large for the connection                 ErrRefused
func publishError(topic string, err error) error {
	kind := ErrUnavailable
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code == http.StatusBadRequest && api.ErrorCode != jetstreamext.JSErrCodeBatchPublishIncomplete {
		kind = ErrRefused
	}
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) || errors.Is(err, jetstream.ErrInvalidSubject) {
		kind = ErrRefused
	}
	return fmt.Errorf("publish to %s: %w", topic, errors.Join(kind, err))
}

// isWrongSequence tells that a subject's last sequence is another one than was
// expected; replicated streams say so with a code of their own.
func isWrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
