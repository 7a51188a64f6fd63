package mapper_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/mapper"
)

// fiveTargets have fifteen attributes each.
func fiveTargets(b *testing.B) mapper.Targets {
	b.Helper()
	out := mapper.Targets{}
	for n := range 5 {
		name := fmt.Sprintf("t%d", n)
		spec := mapping.Spec{Target: name, Assign: `identity.active && identity.department in ["Sales", "Support"]`, Users: []mapping.Rule{
			{To: "userName", From: "identity.email.lowerAscii()"},
			{To: "externalId", From: "identity.key"},
			{To: "name.givenName", From: "identity.first"},
			{To: "name.familyName", From: "identity.last"},
			{To: "displayName", From: `identity.first + " " + identity.last`},
			{To: `emails[type eq "work"].value`, From: "identity.email"},
			{To: "title", From: "identity.title"},
			{To: "userType", From: "identity.kind"},
			{To: "locale", From: `"en-GB"`},
			{To: "timezone", From: "identity.zone"},
			{To: "department", From: "identity.department"},
			{To: "employeeNumber", From: "identity.key"},
			{To: "costCenter", From: "identity.cost"},
			{To: `phoneNumbers[type eq "work"].value`, From: "identity.phone"},
			{To: "nickName", From: "identity.first"},
		}}
		m, problems := mapping.Compile(spec)
		if len(problems) > 0 {
			b.Fatal(problems)
		}
		out[name] = mapper.Target{Desired: m.Desired, Version: m.Version, Deprovision: "disable", Percent: 100}
	}
	return out
}

// nowhere is an outbox that keeps nothing.
type nowhere struct{ post }

func (*nowhere) Command(context.Context, *joineryv1.ProvisioningCommand) error { return nil }

func (*nowhere) Outcome(context.Context, *joineryv1.Outcome) error { return nil }

// quiet is telemetry without lines of ordinary life.
func quiet(b *testing.B) *telemetry.Telemetry {
	b.Helper()
	tel, err := telemetry.New(b.Context(), telemetry.Options{Service: "mapper", Level: slog.LevelError})
	if err != nil {
		b.Fatal(err)
	}
	return tel
}

// BenchmarkEventsOfFiveTargetsWithFifteenAttributes handles a joiner and nine
// changes of each person, without a broker.
func BenchmarkEventsOfFiveTargetsWithFifteenAttributes(b *testing.B) {
	people := &persons{records: map[string]identity.Record{}, revisions: map[string]uint64{}}
	s := mapper.New(people, &nowhere{}, fiveTargets(b), quiet(b))
	b.ReportAllocs()
	begun := time.Now()
	n := 0
	for b.Loop() {
		kind, data := "changed", map[string]any{"title": fmt.Sprint("Title ", n)}
		if n%10 == 0 {
			kind, data = "joined", map[string]any{
				"email": "Ann@Example.com", "first": "Ann", "last": "Lee", "title": "Rep", "kind": "employee", "zone": "Europe/Oslo",
				"department": "Sales", "cost": "7", "phone": "+4712345678",
			}
		}
		e := event(fmt.Sprint("e", n), kind, time.Duration(n)*time.Second, data)
		e.IdentityKey = fmt.Sprint(n / 10)
		if err := s.Handle(b.Context(), e); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(n)/time.Since(begun).Seconds(), "events/s")
}
