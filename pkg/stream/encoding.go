package stream

import (
	"errors"
	"fmt"
	"strings"

	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// controlPrefix begins the headers by which clients and broker talk about a
// message. They say nothing to its reader, and sent again with a copy of it
// (batch numbers, expected sequences) they would be orders.
const controlPrefix = "Nats-"

// errNoID: a message must be recognisable when it is sent twice.
var errNoID = errors.New("message has no id")

// encode writes a message in the encoding of watermill-nats' NATSMarshaler, so
// that any other Watermill application over NATS can read it. Its id is the
// metadata Nats-Msg-Id, or else the UUID.
func encode(topic string, msg *message.Message) (*nats.Msg, error) {
	var common wmnats.NATSMarshaler
	out, err := common.Marshal(topic, msg)
	if err != nil {
		return nil, fmt.Errorf("encode a message for %s: %w", topic, err)
	}
	if out.Header.Get(jetstream.MsgIDHeader) == "" {
		if msg.UUID == "" {
			return nil, fmt.Errorf("encode a message for %s: %w", topic, errNoID)
		}
		out.Header.Set(jetstream.MsgIDHeader, msg.UUID)
	}
	return out, nil
}

// decode reads a message in that encoding. Where it cannot, the message is read
// as well as possible, and the error says what is wrong with it. A message
// without an id, as other clients send them, gets the one given.
func decode(raw *nats.Msg, id string) (*message.Message, error) {
	var common wmnats.NATSMarshaler
	msg, err := common.Unmarshal(raw)
	if err != nil {
		msg = firstValues(raw)
	}
	for key := range msg.Metadata {
		if strings.HasPrefix(key, controlPrefix) {
			delete(msg.Metadata, key)
		}
	}
	if msg.UUID == "" {
		msg.UUID = raw.Header.Get(jetstream.MsgIDHeader)
	}
	if msg.UUID == "" {
		msg.UUID = id
	}
	return msg, err
}

// firstValues reads a message with the first value of each header.
func firstValues(raw *nats.Msg) *message.Message {
	msg := message.NewMessage(raw.Header.Get(wmnats.WatermillUUIDHdr), raw.Data)
	for key, values := range raw.Header {
		if key != wmnats.WatermillUUIDHdr && len(values) > 0 {
			msg.Metadata.Set(key, values[0])
		}
	}
	return msg
}
