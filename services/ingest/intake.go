package ingest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Broker is the credential of a source that publishes to joinery.intake.<source>:
// the broker decides who may, so that no HTTP request is ever admitted by it.
type Broker struct{}

// Presented implements Credential.
func (Broker) Presented(http.Header) bool { return false }

// Admits implements Credential.
func (Broker) Admits(http.Header, []byte) bool { return false }

// Validate implements Credential.
func (Broker) Validate() error { return nil }

func (s *Source) publishes() bool {
	return slices.ContainsFunc(s.Credentials, func(c Credential) bool { _, ok := c.(Broker); return ok })
}

const (
	// IntakeConcurrency is how many published messages are taken in at a time: so
	// many share the broker's syncs.
	IntakeConcurrency = 256
	// intakeClose bounds the wait for those in hand at the end.
	intakeClose = 10 * time.Second
	// maxKept is how much of a refused message a case keeps: larger ones are more
	// than a person reads, and the stream has them for a week.
	maxKept = 256 << 10
)

// isProtobuf knows the media types that protobuf has been given.
func isProtobuf(kind string) bool {
	return slices.Contains([]string{"application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf"}, kind)
}

// RunIntake takes in what sources publish to joinery.intake.<source> until ctx
// ends, then finishes what is in hand. A message is acknowledged when its events
// are stored, or when it is refused for good and a case holds it.
func (s *Service) RunIntake(ctx context.Context, published message.Subscriber) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: intakeClose}, telemetry.Watermill(s.tel.Log))
	if err != nil {
		return fmt.Errorf("make a router: %w", err)
	}
	router.AddMiddleware(middleware.Recoverer)
	router.AddConsumerHandler("intake", "intake", published, s.takePublished)
	return router.Run(ctx)
}

// takePublished settles one message: nil acknowledges it.
func (s *Service) takePublished(msg *message.Message) error {
	delivery := stream.DeliveryOf(msg)
	v := &visit{arrived: delivery.Stored, bytes: len(msg.Payload)}
	header := headerOf(msg.Metadata)
	ctx := telemetry.ExtractHTTP(msg.Context(), header)
	v.source, v.refusal = s.publisher(delivery.Subject)
	if v.refusal == nil {
		if v.format, v.refusal = publishedFormat(header); v.refusal == nil {
			v.refusal = s.take(ctx, header, v, msg.Payload)
		}
	}
	s.report(ctx, v)
	switch {
	case v.refusal == nil:
		return nil
	case v.refusal.status == http.StatusServiceUnavailable:
		stream.RetryAfter(msg, min(time.Second<<min(delivery.Deliveries, 6), time.Minute))
		return fmt.Errorf("take in a published message: %w", v.refusal.cause)
	}
	if err := s.cases.DeadLetter(ctx, publishedLetter(msg, delivery, v)); err != nil {
		return fmt.Errorf("open a case for a published message: %w", err)
	}
	return nil
}

// publisher is the source of a subject, where it may publish.
func (s *Service) publisher(subject string) (*Source, *refusal) {
	src, ok := s.sources.Load().named(stream.Token(subject, 2))
	if !ok || !src.publishes() {
		return nil, notPublishing
	}
	return src, nil
}

var notPublishing = &refusal{
	status: http.StatusForbidden, reason: "not-publishing", title: "Not a source that publishes",
	detail: "The subject's last part names no source with auth: { nats: {} }. Configure it so and replay, or discard and look who publishes there.",
}

// headerOf is a message's metadata as HTTP headers, so that the CloudEvents
// bindings of both read alike.
func headerOf(metadata message.Metadata) http.Header {
	h := http.Header{}
	for name, value := range metadata {
		h.Add(name, value)
	}
	return h
}

// publishedFormat is that of HTTP, and protobuf; without a word about it, a
// message is one structured event.
func publishedFormat(h http.Header) (format, *refusal) {
	kind, _ := mediaType(h)
	if isProtobuf(kind) {
		return format{name: "protobuf", parse: func(_ http.Header, body []byte) ([]event.Event, error) {
			return one(event.ParseProto(body))
		}}, nil
	}
	if !event.IsBinary(h) && (h.Get("Content-Type") == "" || kind == "application/json") {
		h = h.Clone()
		h.Set("Content-Type", "application/cloudevents+json")
	}
	return formatOf(h)
}

// publishedLetter is the case of a refused message: one for each message,
// however often it is replayed.
func publishedLetter(msg *message.Message, d stream.Delivery, v *visit) *joineryv1.DeadLetter {
	letter := &joineryv1.DeadLetter{
		Id: intakeCase(msg, d), Cause: joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_POISON,
		Reason:  fmt.Sprintf("message on %s refused (%s): %s%s", d.Subject, v.refusal.reason, v.refusal.detail, fields(v.refusal.problems)),
		Command: &joineryv1.ProvisioningCommand{Id: fmt.Sprintf("intake:%d", d.Sequence)}, Attempts: 1,
		At: timestamppb.New(time.Now()), FirstFailedAt: timestamppb.New(d.Stored),
		Subject: d.Subject, Headers: msg.Metadata, Payload: msg.Payload,
	}
	if len(msg.Payload) > maxKept {
		letter.Payload = nil
		letter.Reason += fmt.Sprintf(" It is too large to be kept here; message %d of stream %s is kept for a week.", d.Sequence, d.Stream)
	}
	return letter
}

// fields are the attributes that problems name, for the reason of a case.
func fields(problems event.Problems) string {
	var names []string
	for _, p := range problems {
		if name := p.Attribute(); name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// intakeCase names the case of a message. A replayed one says which it was; only
// a case of the same source is believed.
func intakeCase(msg *message.Message, d stream.Delivery) string {
	source := stream.Token(d.Subject, 2)
	if !sourceName.MatchString(source) {
		source = "unknown"
	}
	prefix := "intake-" + source + "-"
	if number, ok := strings.CutPrefix(msg.Metadata[wire.CaseHeader], prefix); ok {
		if n, err := strconv.ParseUint(number, 10, 64); err == nil {
			return prefix + strconv.FormatUint(n, 10)
		}
	}
	return prefix + strconv.FormatUint(d.Sequence, 10)
}
