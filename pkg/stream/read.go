package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
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
// with ErrNotFound. The stream's leader answers, so that the reader sees at
// least what it has itself stored.
func (c *Conn) Last(ctx context.Context, stream, subject string) (Stored, error) {
	request, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return Stored{}, fmt.Errorf("read %s: %w", stream, err)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	res, err := c.nc.RequestWithContext(ctx, api+"STREAM.MSG.GET."+stream, request)
	if err != nil {
		return Stored{}, fmt.Errorf("read %s: %w", stream, errors.Join(ErrUnavailable, err))
	}
	return lastAnswer(stream, res.Data)
}

// api begins the subjects on which JetStream takes requests.
const api = "$JS.API."

// lastAnswer reads JetStream's answer to a request for one message.
func lastAnswer(stream string, data []byte) (Stored, error) {
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return Stored{}, fmt.Errorf("read %s: decode the answer: %w", stream, err)
	}
	if e := answer.Error; e != nil {
		if e.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return Stored{}, fmt.Errorf("%s: %w", stream, ErrNotFound)
		}
		return Stored{}, fmt.Errorf("read %s: %w", stream, e)
	}
	m := answer.Message
	if m == nil {
		return Stored{}, fmt.Errorf("read %s: answer without a message: %w", stream, ErrUnavailable)
	}
	raw := &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Sequence, Data: m.Data, Time: m.Time}
	if len(m.Header) > 0 {
		header, err := nats.DecodeHeadersMsg(m.Header)
		if err != nil {
			return Stored{}, fmt.Errorf("read %s: decode the headers: %w", stream, err)
		}
		raw.Header = header
	}
	return stored(stream, raw), nil
}

const (
	// scanBatch and scanBytes bound what one request of a scan brings, so that a
	// slow reader never has more waiting than the client buffers.
	scanBatch = 256
	scanBytes = 8 << 20
)

// Scan reads all messages on a subject, which may hold wildcards, in the order
// they were stored, up to those that are there when it begins. Any replica
// answers: the last moments may be missing. An error ends the scan; without one
// nothing was left out.
func (c *Conn) Scan(ctx context.Context, stream, subject string) iter.Seq2[Stored, error] {
	return c.ScanFrom(ctx, stream, subject, 1)
}

// ScanFrom is Scan from a sequence on.
func (c *Conn) ScanFrom(ctx context.Context, stream, subject string, from uint64) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		s, err := c.js.Stream(ctx, stream)
		if err != nil {
			yield(Stored{}, fmt.Errorf("open stream %s: %w", stream, err))
			return
		}
		end := s.CachedInfo().State.LastSeq
		for next := from; next <= end; {
			batch, err := c.batch(ctx, stream, subject, next)
			for _, raw := range batch {
				if raw.Sequence > end || !yield(stored(stream, raw), nil) {
					return
				}
				next = raw.Sequence + 1
			}
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				return
			}
			if err != nil {
				yield(Stored{}, fmt.Errorf("read %s: %w", stream, err))
				return
			}
		}
	}
}

// batch reads some messages from a sequence on. Only ErrNoMessages says that
// there are no more: a batch that was cut short is continued by the next.
func (c *Conn) batch(ctx context.Context, stream, subject string, from uint64) ([]*jetstream.RawStreamMsg, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	messages, err := jetstreamext.GetBatch(ctx, c.js, stream, scanBatch, jetstreamext.GetBatchSubject(subject),
		jetstreamext.GetBatchSeq(from), jetstreamext.GetBatchMaxBytes(scanBytes))
	if err != nil {
		return nil, errors.Join(ErrUnavailable, err)
	}
	var out []*jetstream.RawStreamMsg
	for raw, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return out, err
		}
		if err != nil {
			return out, errors.Join(ErrUnavailable, err)
		}
		out = append(out, raw)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no answer: %w", ErrUnavailable)
	}
	return out, nil
}

func stored(stream string, raw *jetstream.RawStreamMsg) Stored {
	// What cannot be decoded must still reach somebody who can decide about it.
	msg, _ := decode(&nats.Msg{Subject: raw.Subject, Header: raw.Header, Data: raw.Data}, idAt(stream, raw.Sequence))
	return Stored{Stream: stream, Subject: raw.Subject, Sequence: raw.Sequence, Time: raw.Time, Message: msg}
}

// idAt is the id of a message that came without one.
func idAt(stream string, sequence uint64) string {
	return stream + "-" + strconv.FormatUint(sequence, 10)
}
