package stream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Stored is a message as a stream holds it.
type Stored struct {
	Stream   string
	Subject  string
	Sequence uint64
	Time     time.Time
	Message  *message.Message
}

// Last reads the newest message on a subject, which may hold wildcards, or fails
// with ErrNotFound.
func (c *Conn) Last(ctx context.Context, stream, subject string) (Stored, error) {
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return Stored{}, fmt.Errorf("open stream %s: %w", stream, err)
	}
	raw, err := s.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Stored{}, fmt.Errorf("%s: %w", stream, ErrNotFound)
	}
	if err != nil {
		return Stored{}, fmt.Errorf("read %s: %w", stream, err)
	}
	return stored(stream, raw), nil
}

// Scan reads all messages on a subject, which may hold wildcards, in the order
// they were stored, up to those that are there when it begins.
func (c *Conn) Scan(ctx context.Context, stream, subject string) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		s, err := c.js.Stream(ctx, stream)
		if err != nil {
			yield(Stored{}, fmt.Errorf("open stream %s: %w", stream, err))
			return
		}
		for seq := uint64(1); ; {
			raw, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err != nil {
				yield(Stored{}, fmt.Errorf("read %s: %w", stream, err))
				return
			}
			if !yield(stored(stream, raw), nil) {
				return
			}
			seq = raw.Sequence + 1
		}
	}
}

func stored(stream string, raw *jetstream.RawStreamMsg) Stored {
	msg := decode(&nats.Msg{Subject: raw.Subject, Header: raw.Header, Data: raw.Data})
	return Stored{Stream: stream, Subject: raw.Subject, Sequence: raw.Sequence, Time: raw.Time, Message: msg}
}

// decode reads a message in the common encoding. One that is not encoded so is
// read as well as possible: it must reach somebody who can decide about it.
func decode(raw *nats.Msg) *message.Message {
	if msg, err := wire.Unmarshal(raw); err == nil {
		if msg.UUID == "" {
			msg.UUID = raw.Header.Get(jetstream.MsgIDHeader)
		}
		return msg
	}
	msg := message.NewMessage(raw.Header.Get(jetstream.MsgIDHeader), raw.Data)
	for key, values := range raw.Header {
		if len(values) > 0 {
			msg.Metadata.Set(key, values[0])
		}
	}
	return msg
}
