package stream

import (
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Headers by which the broker is told to publish a message later (NATS ADR-51).
const (
	scheduleHeader       = "Nats-Schedule"
	scheduleTargetHeader = "Nats-Schedule-Target"
)

// PublishAt stores the message on the subject, and has the broker publish it on
// target at the moment given, to the second and not before; a moment that has
// passed means soon. The broker keeps it through restarts, and forgets it when it
// has published it. A subject holds one: what it holds already stays.
func (p *Publisher) PublishAt(subject, target string, at time.Time, msg *message.Message) error {
	out, err := encode(subject, msg)
	if err != nil {
		return err
	}
	out.Header.Set(scheduleHeader, "@at "+ceil(at).Format(time.RFC3339))
	out.Header.Set(scheduleTargetHeader, target)
	// The same id may be scheduled again, after it was published.
	out.Header.Del("Nats-Msg-Id")
	name := streamOf(subject)
	ctx, cancel := bounded(msg.Context())
	defer cancel()
	_, _, err = p.conn.commitsOf(name).store(ctx, expecting(out, name, 0))
	if err != nil && !isWrongSequence(err) {
		return publishError(fmt.Sprintf("%s for later", subject), err)
	}
	return nil
}

// ceil is the next full second: the broker's schedules have no finer ones.
func ceil(at time.Time) time.Time {
	whole := at.UTC().Truncate(time.Second)
	if whole.Before(at) {
		whole = whole.Add(time.Second)
	}
	return whole
}
