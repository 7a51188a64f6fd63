package joinery_test

import (
	"strings"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/embedded/bubble"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/scim"
)

// One trace goes from the door to the target, and the target is told of it.
func TestOneTraceFromArrivalToTheTarget(t *testing.T) {
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		s := newScene(t, b, nil)
		s.start()
		s.do("event", `j1 joined {"employee_id":"1001","email":"ann@example.com"}`)
		s.until(3 * time.Second)
		var event string
		for id := range s.events {
			event = id
		}
		answer := s.request("deadletter", "GET", "/api/v1/events/"+event, "", "application/json", 200)
		followed, err := scim.Parse(answer)
		check(t, err)
		trace, _ := followed["trace_id"].(string)
		if len(trace) != 32 || followed["settled"] != true {
			t.Fatalf("%s", answer)
		}
		for _, r := range s.targets["acme"].Requests() {
			if !strings.HasPrefix(r.Traceparent, "00-"+trace+"-") {
				t.Errorf("%s %s was sent in trace %s, not %s", r.Method, r.Path, r.Traceparent, trace)
			}
		}
		s.stop()
	})
}

// What a person is called stays in their record: no log line shows it.
func TestLogsHoldNoPersonalValues(t *testing.T) {
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		s := newScene(t, b, nil)
		log := &strings.Builder{}
		s.log = log
		s.start()
		s.do("fault", "acme 409-bare:method=POST:count=1")
		s.do("event", `j1 joined {"employee_id":"canary-key","email":"canary@example.com","department":"canary-department"}`)
		s.until(3 * time.Second)
		s.do("fault", "acme 500:count=20")
		s.do("event", `j2 changed {"employee_id":"canary-key","department":"canary-two"}`)
		s.until(time.Minute)
		s.stop()
		if !strings.Contains(log.String(), identity.IDOf("canary-key")) {
			t.Error("the log does not name the identity at all")
		}
		for _, line := range strings.Split(log.String(), "\n") {
			if strings.Contains(line, "canary") || strings.Contains(line, "secret") {
				t.Error(line)
			}
		}
	})
}
