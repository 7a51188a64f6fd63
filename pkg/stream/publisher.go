package stream

import (
	"context"
	"errors"
	"fmt"

	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// wire is the encoding that every Watermill application over NATS can read.
var wire wmnats.NATSMarshaler

// Publisher implements message.Publisher over JetStream. A call returns nil
// only when the broker has stored every message.
type Publisher struct{ conn *Conn }

// Publisher makes a publisher over the connection.
func (c *Conn) Publisher() *Publisher { return &Publisher{conn: c} }

// Close implements message.Publisher. The connection is lent, not owned.
func (p *Publisher) Close() error { return nil }

// Publish stores the messages on the subject, one after the other, under their
// UUIDs (or metadata Nats-Msg-Id) as message ids, waiting for each
// acknowledgement under the message's context. A repeated id is stored once.
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
	ack, err := p.publish(topic, msg, jetstream.WithExpectLastSequencePerSubject(0))
	if isWrongSequence(err) {
		return true, nil
	}
	return err == nil && ack.Duplicate, err
}

func (p *Publisher) publish(topic string, msg *message.Message, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	out, err := encode(topic, msg)
	if err != nil {
		return nil, err
	}
	ack, err := p.conn.js.PublishMsg(msg.Context(), out, opts...)
	if err != nil {
		return nil, publishError(topic, err)
	}
	return ack, nil
}

// Item is one message of a batch.
type Item struct {
	Topic   string
	Message *message.Message
}

// MaxBatch is the largest batch that the broker takes.
const MaxBatch = 1000

// PublishBatch stores all items or none, with one sync to disk for all of them.
// All subjects must belong to one stream that allows it. Message ids are not
// sent: a repeated id would refuse the whole batch.
func (p *Publisher) PublishBatch(ctx context.Context, items []Item) error {
	if len(items) > MaxBatch {
		return fmt.Errorf("publish a batch of %d: at most %d fit", len(items), MaxBatch)
	}
	if len(items) == 0 {
		return nil
	}
	batch := make([]*nats.Msg, 0, len(items))
	for _, item := range items {
		msg, err := encode(item.Topic, item.Message)
		if err != nil {
			return err
		}
		msg.Header.Del(jetstream.MsgIDHeader)
		msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
		batch = append(batch, msg)
	}
	if _, err := jetstreamext.PublishMsgBatch(ctx, p.conn.js, batch); err != nil {
		if isWrongSequence(err) {
			return fmt.Errorf("publish a batch: %w", ErrConflict)
		}
		return publishError("a batch", err)
	}
	return nil
}

func encode(topic string, msg *message.Message) (*nats.Msg, error) {
	out, err := wire.Marshal(topic, msg)
	if err != nil {
		return nil, fmt.Errorf("encode a message for %s: %w", topic, err)
	}
	if out.Header.Get(jetstream.MsgIDHeader) == "" && msg.UUID != "" {
		out.Header.Set(jetstream.MsgIDHeader, msg.UUID)
	}
	return out, nil
}

// publishError tells what the broker cannot take now from what it never will.
func publishError(topic string, err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code == 400 && api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return fmt.Errorf("publish to %s: %w", topic, errors.Join(ErrUnavailable, err))
}

// The broker's codes for "the last sequence is another one", alone and on a
// replicated stream.
const (
	wrongSequence           = jetstream.JSErrCodeStreamWrongLastSequence
	wrongSequenceReplicated = jetstream.ErrorCode(10164)
)

func isWrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == wrongSequence || api.ErrorCode == wrongSequenceReplicated)
}
