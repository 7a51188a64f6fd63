package joinery_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// publish brings an event to joinery.intake.<source> as a source would:
//
//	publish SOURCE json ID KIND DATA
//	publish SOURCE proto ID KIND PERSON
//	publish SOURCE raw TEXT
func (s *scene) publish(source, args string) {
	s.Helper()
	form, rest, _ := strings.Cut(args, " ")
	var msg *message.Message
	switch fields := strings.SplitN(rest, " ", 3); form {
	case "json":
		s.events[event.IDOf(source, fields[0])] = fields[0]
		msg = message.NewMessage(fields[0], fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":"/hr","type":%q,"time":%q,"data":%s}`,
			fields[0], fields[1], time.Now().UTC().Format(time.RFC3339), fields[2]))
	case "proto":
		s.events[event.IDOf(source, fields[0])] = fields[0]
		data, err := proto.Marshal(&joineryv1.LifecycleEvent{
			SourceEventId: fields[0], Type: fields[1], IdentityKey: fields[2], OccurredAt: timestamppb.Now(),
		})
		check(s, err)
		msg = message.NewMessage(fields[0], data)
		msg.Metadata.Set("Content-Type", "application/protobuf")
	default:
		msg = message.NewMessage("raw", []byte(rest))
	}
	conn, err := stream.Dial(s.Context(), s.bubble.Broker.Options(source))
	check(s, err)
	defer conn.Close()
	msg.SetContext(s.Context())
	check(s, conn.Publisher().Publish(stream.IntakeSubject(source), msg))
}
