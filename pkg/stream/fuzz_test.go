package stream

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// Whatever headers somebody sent, the message can be read by somebody: it has an
// id, its payload, and nothing that is an order to the broker.
func FuzzAnyHeadersCanBeRead(f *testing.F) {
	f.Add("NATS/1.0\r\nA: 1\r\nA: 2\r\n\r\n", []byte("d"))
	f.Add("NATS/1.0\r\n_watermill_message_uuid: u\r\nNats-Batch-Id: b\r\n\r\n", []byte(nil))
	f.Add("NATS/1.0 503 No Responders\r\n\r\n", []byte("d"))
	f.Add("NATS/1.0\r\n: \r\n\r\n", []byte("d"))
	f.Fuzz(func(t *testing.T, head string, data []byte) {
		header, err := nats.DecodeHeadersMsg([]byte(head))
		if err != nil {
			return
		}
		msg, why := decode(&nats.Msg{Subject: "s", Header: header, Data: data}, "id")
		if msg == nil || msg.UUID == "" || string(msg.Payload) != string(data) {
			t.Fatalf("read %v", msg)
		}
		for key := range msg.Metadata {
			if strings.HasPrefix(key, controlPrefix) {
				t.Fatalf("%s is metadata", key)
			}
		}
		if why != nil {
			return
		}
		if out, err := encode("s", msg); err != nil || out.Header.Get(nats.MsgIdHdr) == "" {
			t.Fatalf("cannot be sent again: %v", err)
		}
	})
}

// An answer is a message or an error, never neither.
func FuzzAnyAnswerIsAMessageOrAnError(f *testing.F) {
	f.Add([]byte(`{"message":{"subject":"a","seq":1,"hdrs":"TkFUUy8xLjANCkE6IDENCg0K","data":"ZA==","time":"2026-01-02T03:04:05Z"}}`))
	f.Add([]byte(`{"error":{"code":404,"err_code":10037,"description":"no message found"}}`))
	f.Add([]byte(`{"message":{"hdrs":"bm9uc2Vuc2U="}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := lastAnswer("S", data)
		if (err == nil) != (got.Message != nil) {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}
