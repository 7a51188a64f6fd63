package deadletter_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/deadletter"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// expecting is an office where two people have something to come: one is hired
// tomorrow, and the other's approval ends in an hour.
func expecting(t *testing.T) *office {
	t.Helper()
	o := open(t, "")
	now := time.Now()
	for key, e := range map[string]*joineryv1.LifecycleEvent{
		"1001": {
			Id: "e1", Kind: joineryv1.LifecycleKind_LIFECYCLE_KIND_JOINED,
			EffectiveAt: timestamppb.New(now.Add(24 * time.Hour)),
		},
		"2002": {
			Id: "e2", Kind: joineryv1.LifecycleKind_LIFECYCLE_KIND_ACCESS_GRANTED,
			Grant: &joineryv1.Grant{Target: "acme", ExpiresAt: timestamppb.New(now.Add(time.Hour))},
		},
	} {
		e.IdentityKey, e.OccurredAt, e.Source = key, timestamppb.New(now), "hr"
		rec := identity.Record{}
		if _, err := rec.Fold(e); err != nil {
			t.Fatal(err)
		}
		o.identities[rec.ID] = rec
		for _, at := range []string{"1", "2"} { // one of them is stale
			o.log["joinery.due."+at+".0."+rec.ID] = timestamppb.Now()
		}
	}
	o.log["joinery.due.1.0.nobody"] = timestamppb.Now()
	return o
}

func TestWhatIsScheduledIsListedSoonestFirst(t *testing.T) {
	o := expecting(t)
	status, body := o.call("GET", "/api/v1/scheduled", "")
	var all []deadletter.Appointment
	if err := json.Unmarshal([]byte(body), &all); err != nil || status != http.StatusOK {
		t.Fatal(status, body)
	}
	var got []string
	for _, a := range all {
		got = append(got, strings.TrimSpace(a.Key+" "+a.Kind+" "+a.Event+" "+a.Target))
	}
	if diff := cmp.Diff([]string{"2002 expires e2 acme", "1001 joined e1"}, got); diff != "" {
		t.Error(diff)
	}
	if _, body = o.call("GET", "/api/v1/scheduled?limit=1", ""); strings.Contains(body, `"1001"`) || !strings.Contains(body, `"2002"`) {
		t.Error(body)
	}
	if status, body = o.call("GET", "/api/v1/scheduled?limit=0", ""); status != http.StatusBadRequest {
		t.Error(status, body)
	}
	if _, body = o.call("GET", "/api/v1/identities/1001", ""); !strings.Contains(body, `"scheduled": [`) {
		t.Error(body)
	}
}

func TestACancellationIsAnEventWithWhoAndWhy(t *testing.T) {
	o := expecting(t)
	for _, row := range []struct {
		event  string
		status int
	}{{"e1", http.StatusOK}, {"e2", http.StatusBadRequest}, {"e3", http.StatusNotFound}} {
		if status, body := o.call("POST", "/api/v1/scheduled/"+row.event+"/cancel", `{"by":"ops","reason":"wrong person"}`); status != row.status {
			t.Error(row.event, status, body)
		}
	}
	if len(o.published) != 1 {
		t.Fatal(o.published)
	}
	e := o.published[0]
	rec := o.identities[identity.IDOf("1001")]
	if _, err := rec.Fold(e); err != nil {
		t.Fatal(err)
	}
	if rest := rec.ScheduledAfter(time.Now()); len(rest) != 0 || e.GetTrigger().GetActor() != "ops" || e.GetTrigger().GetReason() != "wrong person" {
		t.Error(rest, e)
	}
}
