package wire

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/stream"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// WakeSubject is where wake-ups for a person arrive: the stream keeps the newest.
func WakeSubject(id string) string { return subject("joinery.wake", id) }

// scheduleSubject is one for each (identity, second): what is scheduled for a
// moment is never replaced by what is for another, whoever plans when.
func scheduleSubject(id string, at time.Time) string {
	return subject("joinery.schedule", id, fmt.Sprint(at.Unix()))
}

// Wake has the person's wake-up published at the moment given. It can be asked
// for any number of times; nothing takes it back, because a wake-up that is not
// needed any more only looks once in vain.
func (o Outbox) Wake(ctx context.Context, id string, at time.Time) error {
	msg, err := Encode(ctx, fmt.Sprintf("%s:%d", id, at.Unix()), timestamppb.New(at))
	if err != nil {
		return err
	}
	return o.publisher.PublishAt(scheduleSubject(id, at), WakeSubject(id), at, msg)
}

// DecodeWake is the person and the moment of a wake-up.
func DecodeWake(msg *message.Message) (ctx context.Context, id string, at time.Time, err error) {
	var moment timestamppb.Timestamp
	ctx, err = Decode(msg, &moment)
	return ctx, stream.Token(stream.DeliveryOf(msg).Subject, 2), moment.AsTime(), err
}
