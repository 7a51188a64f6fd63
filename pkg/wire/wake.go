package wire

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/stream"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// shards is how many wake-ups people who are due in the same second share. The
// broker publishes what it has scheduled one by one, each with a sync to disk, so
// that ten thousand wake-ups of their own would come minutes late; with a few for
// each second several mappers can still share the work.
const shards = 4

// WakeUp is one second in which people of one shard are due.
type WakeUp struct {
	// Due is the second.
	Due      time.Time
	second   string
	shard    string
	sequence uint64
}

func secondOf(at time.Time) time.Time {
	whole := at.UTC().Truncate(time.Second)
	if whole.Before(at) {
		whole = whole.Add(time.Second)
	}
	return whole
}

func shardOf(id string) string {
	sum := 0
	for _, c := range []byte(id) {
		sum += int(c)
	}
	return fmt.Sprint(sum % shards)
}

// Wake has the person woken at the moment given, to the second and not before. It
// can be asked for any number of times; nothing takes it back, because a wake-up
// that is not needed any more only looks once in vain.
//
// The person is put down for the second first and the second is scheduled then,
// so that whenever the second comes, everybody is found who was promised it.
func (o Outbox) Wake(ctx context.Context, id string, at time.Time) error {
	at = secondOf(at)
	second, shard := fmt.Sprint(at.Unix()), shardOf(id)
	entry, err := Encode(ctx, second+":"+id, timestamppb.New(at))
	if err != nil {
		return err
	}
	if _, err := o.publisher.PublishNew(subject("joinery.due", second, shard, id), entry); err != nil {
		return err
	}
	msg, err := Encode(ctx, second+":"+shard, timestamppb.New(at))
	if err != nil {
		return err
	}
	return o.publisher.PublishAt(subject("joinery.schedule", second, shard), subject("joinery.wake", second, shard), at, msg)
}

// DecodeWake is the second that a message wakes for.
func DecodeWake(msg *message.Message) (context.Context, WakeUp, error) {
	var moment timestamppb.Timestamp
	ctx, err := Decode(msg, &moment)
	d := stream.DeliveryOf(msg)
	return ctx, WakeUp{
		Due: moment.AsTime(), second: stream.Token(d.Subject, 2), shard: stream.Token(d.Subject, 3), sequence: d.Sequence,
	}, err
}

// Book is where it is put down who is due when.
type Book interface {
	Scan(ctx context.Context, streamName, subject string) iter.Seq2[stream.Stored, error]
	Forget(ctx context.Context, streamName, subject string, upTo uint64) error
}

// Diary reads who is due.
type Diary struct{ book Book }

// NewDiary is a diary over a book.
func NewDiary(b Book) Diary { return Diary{book: b} }

// Due are the people who are due in a second. done forgets them, and the wake-up;
// who is put down for the second after Due has read it stays.
func (d Diary) Due(ctx context.Context, w WakeUp) (ids []string, done func(context.Context) error, err error) {
	people := subject("joinery.due", w.second, w.shard, "*")
	last := uint64(0)
	for stored, err := range d.book.Scan(ctx, stream.Schedules, people) {
		if err != nil {
			return nil, nil, fmt.Errorf("read who is due: %w", err)
		}
		ids, last = append(ids, stream.Token(stored.Subject, 4)), stored.Sequence
	}
	return ids, func(ctx context.Context) error {
		if err := d.book.Forget(ctx, stream.Schedules, people, last); err != nil {
			return err
		}
		return d.book.Forget(ctx, stream.Schedules, subject("joinery.wake", w.second, w.shard), w.sequence)
	}, nil
}

var _ Book = (*stream.Conn)(nil)
