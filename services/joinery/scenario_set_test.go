package joinery_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/token/tokentest"
)

// pusher signs security event tokens in the name of https://idp.example, and
// publishes its keys there.
type pusher struct {
	issuer tokentest.Issuer
	key    tokentest.Key
}

// rotate gives the pusher another key, published from now on in place of the
// one before.
func (s *scene) rotate(name string) {
	s.Helper()
	if s.pusher == nil {
		s.pusher = &pusher{}
		s.bubble.Transport.Handle("idp.example", &s.pusher.issuer)
	}
	s.pusher.key = tokentest.NewKey(s, name, "ES256")
	s.pusher.issuer.Publish(tokentest.Set(s, s.pusher.key))
}

// push delivers "ID PERSON EVENT PAYLOAD" as a token; the scenario's id is its
// jti. Events are named by the end of their type.
func (s *scene) push(args string) {
	s.Helper()
	fields := strings.SplitN(args, " ", 4)
	if s.pusher == nil {
		s.rotate("k1")
	}
	kind := "urn:ietf:params:scim:event:" + fields[2]
	if !strings.Contains(fields[2], ":") {
		kind = "https://schemas.openid.net/secevent/" + fields[2]
	}
	text := s.pusher.key.Sign(s, "secevent+jwt", map[string]any{
		"iss": "https://idp.example", "aud": "https://joinery.example", "jti": fields[0], "iat": time.Now().Unix(),
		"sub_id": map[string]any{"format": "scim", "uri": "/Users/u-" + fields[1], "externalId": fields[1]},
		"events": map[string]any{kind: json.RawMessage(fields[3])},
	})
	if answer := s.request("ingest", "POST", "/v1/sets/idp", text, "application/secevent+jwt", http.StatusAccepted); len(answer) > 0 {
		s.Errorf("answered %s", answer)
	}
	s.events[event.IDOf("idp", fields[0])] = fields[0]
}
