package event_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/event"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestAProtobufEventIsTheCloudEventThatItStandsFor(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	said, err := structpb.NewStruct(map[string]any{"title": "Lead"})
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		in   *joineryv1.LifecycleEvent
		want event.Event
	}{
		"whole": {
			&joineryv1.LifecycleEvent{
				SourceEventId: "7", SourceUri: "urn:hr", Type: "hr.changed", SpecVersion: "1.0", Subject: "x", IdentityKey: "1001",
				OccurredAt: timestamppb.New(at), Attributes: said, Cleared: []string{"city"}, Urgent: true,
				Id: "ours", Source: "somebody else", ReceivedAt: timestamppb.New(at),
			},
			event.Event{
				ID: "7", Source: "urn:hr", Type: "hr.changed", SpecVersion: "1.0", Subject: "x", Time: at,
				Extensions: map[string]string{"joineryurgent": "true", "identitykey": "1001"},
				Data:       map[string]any{"title": "Lead", "city": nil},
			},
		},
		"least": {
			&joineryv1.LifecycleEvent{SourceEventId: "7", Kind: joineryv1.LifecycleKind_LIFECYCLE_KIND_LEFT},
			event.Event{ID: "7", Source: "urn:joinery:protobuf", Type: "left", SpecVersion: "1.0"},
		},
	} {
		data, err := proto.Marshal(row.in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := event.ParseProto(data)
		if diff := cmp.Diff(row.want, got); diff != "" || err != nil {
			t.Error(name, diff, err)
		}
	}
}

func TestWhatJSONMayNotSayProtobufMayNotEither(t *testing.T) {
	deep := map[string]any{}
	for range event.MaxDepth + 1 {
		deep = map[string]any{"a": deep}
	}
	for name, data := range map[string]map[string]any{
		"no number":  {"a": math.NaN()},
		"too deep":   deep,
		"twice":      {"title": "a", "Title": "b"},
		"too long":   {"a": strings.Repeat("x", event.MaxString+1)},
		"not usable": nil,
	} {
		in := &joineryv1.LifecycleEvent{SourceEventId: "7", Type: "hr.changed"}
		if data == nil {
			in.SourceEventId = ""
		} else {
			said, err := structpb.NewStruct(data)
			if err != nil {
				t.Fatal(err)
			}
			in.Attributes = said
		}
		encoded, err := proto.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := event.ParseProto(encoded); event.ProblemsOf(err) == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := event.ParseProto([]byte{0xff}); event.ProblemsOf(err) == nil {
		t.Error("nonsense:", err)
	}
}

func FuzzParseProto(f *testing.F) {
	seed, err := proto.Marshal(&joineryv1.LifecycleEvent{SourceEventId: "7", Type: "hr.left", IdentityKey: "1001"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := event.ParseProto(data)
		if err != nil {
			if event.ProblemsOf(err) == nil {
				t.Fatal(err)
			}
			return
		}
		again, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := event.Parse(again); err != nil {
			t.Fatal(err)
		}
	})
}
