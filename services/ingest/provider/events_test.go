package provider_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/embedded/bubble"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/ingest"
)

// byExternalID names people as security event tokens of the same IdP do.
func byExternalID() mapping.SourceSpec {
	return mapping.SourceSpec{IdentityKey: "event.data.person.externalId"}
}

const wholeAnn = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ann@example.com","externalId":"e-1",
	"name":{"givenName":"Ann","familyName":"Ash"},"emails":[{"value":"ann@example.com","type":"work","primary":true}],"password":"hunter2",
	"department":"Sales","shoeSize":43,"urn:example:2.0:User":{"badge":"7"}}`

func TestAUserBecomesTheWholePerson(t *testing.T) {
	d := openSCIM(t, byExternalID())
	before := time.Now()
	id, _ := d.insist(http.StatusCreated, "POST", "/Users", wholeAnn)["id"].(string)
	e := d.events("idp")[0]
	want := map[string]any{
		"userName": "ann@example.com", "externalId": "e-1", "name": map[string]any{"givenName": "Ann", "familyName": "Ash"},
		"emails":     []any{map[string]any{"value": "ann@example.com", "type": "work", "primary": true}},
		"department": "Sales", "shoeSize": 43.0, "urn:example:2.0:User:badge": "7",
	}
	if diff := cmp.Diff(want, e.GetAttributes().AsMap()); diff != "" {
		t.Errorf("attributes (-want +got)\n%s", diff)
	}
	got := map[string]any{
		"key": e.GetIdentityKey(), "kind": e.GetKind(), "full": e.GetFull(), "subject": e.GetSubject(), "id": e.GetSourceEventId(),
		"type": e.GetType(), "version": e.GetSourceVersion(), "source": e.GetSource(), "uri": e.GetSourceUri(),
		"in time": !e.GetOccurredAt().AsTime().Before(before) && !e.GetOccurredAt().AsTime().After(time.Now()),
	}
	if diff := cmp.Diff(map[string]any{
		"key": "e-1", "kind": joineryv1.LifecycleKind_LIFECYCLE_KIND_JOINED, "full": true, "subject": id, "id": "Users/" + id + "/1",
		"type": "urn:ietf:params:scim:event:prov:create:full", "version": int64(1), "source": "idp",
		"uri": "https://joinery.example/scim/v2/idp", "in time": true,
	}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// story gives the kinds that a user's life has, and the state that the person is
// in at the end.
func (d *scimDoor) story() (kinds []string, state identity.State) {
	d.t.Helper()
	var r identity.Record
	for _, e := range d.events(d.name) {
		kinds = append(kinds, identity.KindName(e.GetKind()))
		if _, err := r.Fold(e); err != nil {
			d.t.Fatal(err)
		}
	}
	return kinds, r.EffectiveState()
}

func TestAccessEndsAndComesBackAsTheResourceSays(t *testing.T) {
	inactive := `{"userName":"ann","externalId":"e-1","active":false}`
	active := `{"userName":"ann","externalId":"e-1","active":true}`
	for name, row := range map[string]struct {
		do    func(d *scimDoor, ann string)
		kinds []string
		state identity.State
	}{
		"a new user":        {func(*scimDoor, string) {}, []string{"joined"}, identity.Active},
		"a PATCH of a text": {func(d *scimDoor, ann string) { d.patch(ann, "replace", "active", "False") }, []string{"joined", "disabled"}, identity.Suspended},
		"a PUT":             {func(d *scimDoor, ann string) { d.insist(200, "PUT", ann, inactive) }, []string{"joined", "disabled"}, identity.Suspended},
		"active is removed": {func(d *scimDoor, ann string) { d.patch(ann, "remove", "active", nil) }, []string{"joined", "changed"}, identity.Active},
		"a return":          {func(d *scimDoor, ann string) { d.insist(200, "PUT", ann, inactive); d.insist(200, "PUT", ann, active) }, []string{"joined", "disabled", "enabled"}, identity.Active},
		"a profile without active": {func(d *scimDoor, ann string) {
			d.insist(200, "PUT", ann, inactive)
			d.insist(200, "PUT", ann, `{"userName":"ann","externalId":"e-1","title":"x"}`)
		}, []string{"joined", "disabled", "changed"}, identity.Suspended},
		"a deletion":          {func(d *scimDoor, ann string) { d.insist(204, "DELETE", ann, "") }, []string{"joined", "left"}, identity.Terminated},
		"a deletion after it": {func(d *scimDoor, ann string) { d.insist(200, "PUT", ann, inactive); d.insist(204, "DELETE", ann, "") }, []string{"joined", "disabled", "left"}, identity.Terminated},
		"a new user after a deletion": {func(d *scimDoor, ann string) {
			d.insist(204, "DELETE", ann, "")
			d.insist(201, "POST", "/Users", active)
		}, []string{"joined", "left", "joined"}, identity.Active},
		"a new inactive one after deletion": {func(d *scimDoor, ann string) {
			d.insist(204, "DELETE", ann, "")
			d.insist(201, "POST", "/Users", inactive)
		}, []string{"joined", "left", "disabled"}, identity.Terminated},
		"its first activation": {func(d *scimDoor, ann string) {
			d.insist(204, "DELETE", ann, "")
			again, _ := d.insist(201, "POST", "/Users", inactive)["id"].(string)
			d.insist(200, "PUT", "/Users/"+again, active)
		}, []string{"joined", "left", "disabled", "joined"}, identity.Active},
		"a later activation": {func(d *scimDoor, ann string) {
			d.insist(204, "DELETE", ann, "")
			again, _ := d.insist(201, "POST", "/Users", active)["id"].(string)
			d.insist(200, "PUT", "/Users/"+again, inactive)
			d.insist(200, "PUT", "/Users/"+again, active)
		}, []string{"joined", "left", "joined", "disabled", "enabled"}, identity.Active},
	} {
		t.Run(name, func(t *testing.T) {
			d := openSCIM(t, byExternalID())
			id, _ := d.insist(201, "POST", "/Users", `{"userName":"ann","externalId":"e-1"}`)["id"].(string)
			row.do(d, "/Users/"+id)
			kinds, state := d.story()
			if diff := cmp.Diff(row.kinds, kinds); diff != "" || state != row.state {
				t.Errorf("the person is %s, want %s (-want +got)\n%s", state, row.state, diff)
			}
		})
	}
}

func (d *scimDoor) patch(path, op, attr string, value any) map[string]any {
	d.t.Helper()
	return d.insist(http.StatusOK, "PATCH", path, jsonOf(d.t, map[string]any{
		"Operations": []any{map[string]any{"op": op, "path": attr, "value": value}},
	}))
}

func TestWhoAUserIsDoesNotChange(t *testing.T) {
	d := openSCIM(t, byExternalID())
	e := d.insist(http.StatusBadRequest, "POST", "/Users", `{"userName":"nobody"}`)
	if detail := fmt.Sprint(e["detail"]); e["scimType"] != "invalidValue" || !strings.Contains(detail, "data.person.externalId") {
		t.Errorf("answered %v", e)
	}
	id, _ := d.insist(http.StatusCreated, "POST", "/Users", wholeAnn)["id"].(string)
	for _, body := range []string{
		`{"userName":"ann@example.com","externalId":"e-2"}`,
		`{"userName":"ann@example.com"}`,
	} {
		if e := d.insist(http.StatusBadRequest, "PUT", "/Users/"+id, body); e["scimType"] != "mutability" && e["scimType"] != "invalidValue" {
			t.Errorf("answered %v", e)
		}
	}
	if e := d.insist(http.StatusConflict, "POST", "/Users", `{"userName":"other","externalId":"e-1"}`); e["scimType"] != "uniqueness" {
		t.Errorf("answered %v", e)
	}
	if diff := cmp.Diff([]string{"joined ann@example.com"}, d.lines()); diff != "" {
		t.Error(diff)
	}
}

func TestAManagerIsNamedByWhatNamesPeople(t *testing.T) {
	d := openSCIM(t, byExternalID())
	boss, _ := d.insist(http.StatusCreated, "POST", "/Users", bobUser)["id"].(string)
	id, _ := d.insist(http.StatusCreated, "POST", "/Users", annUser)["id"].(string)
	path := "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"
	d.patch("/Users/"+id, "Add", path, boss)
	d.patch("/Users/"+id, "Replace", path, "somebody elsewhere")
	shown := d.insist(http.StatusOK, "GET", "/Users/"+id, "")
	var got []any
	for _, e := range d.events("idp")[2:] {
		got = append(got, e.GetAttributes().AsMap()["manager"])
	}
	want := []any{map[string]any{"value": boss, "key": "e-bob"}, map[string]any{"value": "somebody elsewhere"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if text := jsonOf(t, shown); strings.Contains(text, `"key"`) {
		t.Errorf("the client is shown what it did not write: %s", text)
	}
}

func TestTheSourcesRulesReadTheUser(t *testing.T) {
	d := openSCIM(t, mapping.SourceSpec{
		IdentityKey: "event.data.payload.data.userName.lowerAscii()",
		Kind:        `event.data.kind == "disabled" ? "leave_started" : event.data.kind`,
		Attributes:  `{"email": event.data.attributes.emails[0].value}`,
	})
	id, _ := d.insist(http.StatusCreated, "POST", "/Users", wholeAnn)["id"].(string)
	d.patch("/Users/"+id, "replace", "active", false)
	if e := d.insist(http.StatusBadRequest, "PATCH", "/Users/"+id, `{"Operations":[{"op":"remove","path":"emails"}]}`); e["scimType"] != "invalidValue" {
		t.Errorf("answered %v", e)
	}
	d.insist(http.StatusCreated, "POST", "/Groups", `{"displayName":"g","members":[{"value":"`+id+`"}]}`)
	d.insist(http.StatusNoContent, "DELETE", "/Users/"+id, "")
	var got []string
	for _, e := range d.events("idp") {
		got = append(got, fmt.Sprint(identity.KindName(e.GetKind()), " ", e.GetIdentityKey(), " ", e.GetAttributes().AsMap(), " ", e.GetGroup().GetMemberKey()))
	}
	if diff := cmp.Diff([]string{
		"joined ann@example.com map[email:ann@example.com] ", "leave_started ann@example.com map[email:ann@example.com] ",
		"group_changed  map[] ", "member_added ann@example.com map[] ann@example.com", "member_removed ann@example.com map[] ann@example.com",
		"left ann@example.com map[] ",
	}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestWhatADeadProcessOwedIsToldByAnother stores a change whose event never gets
// to the broker, and lets another process run, whose rules even name people
// otherwise by now.
func TestWhatADeadProcessOwedIsToldByAnother(t *testing.T) {
	bubble.Run(t, func(t *testing.T, world *bubble.Bubble) {
		f := &faultyBroker{}
		f.set("add")
		b := dial(t, world.Broker)
		defer b.conn.Close()
		dead := b.scim(t, byExternalID(), f.between)
		if w := dead.ask("POST", "/Users", wholeAnn); w.Code != http.StatusServiceUnavailable {
			t.Fatal(w.Code, w.Body)
		}
		if events := dead.events("idp"); len(events) != 0 {
			t.Fatal(events)
		}
		alive := b.scim(t, byID())
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- alive.service.Settle(ctx) }()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if !strings.Contains(scrape(alive), "joinery_ingest_scim_owed 1") {
			t.Error("the debt does not show in the metrics")
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		events := alive.events("idp")
		if len(events) != 1 || events[0].GetIdentityKey() != "e-1" || identity.KindName(events[0].GetKind()) != "joined" {
			t.Errorf("events %v", events)
		}
		if !strings.Contains(scrape(alive), "joinery_ingest_scim_owed 0") {
			t.Error("the debt stays in the metrics")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func scrape(d *scimDoor) string {
	w := httptest.NewRecorder()
	d.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func TestNoAccessWithoutTheSourcesOwnCredential(t *testing.T) {
	b := start(t)
	defer b.stop()
	signed := scimSource(t, byID())
	signed.Credentials = []ingest.Credential{ingest.HMAC{Header: "X-Signature", Secrets: [][]byte{[]byte(secret)}}}
	named := scimSource(t, byID())
	named.Credentials = []ingest.Credential{ingest.Basic{Username: "okta", Password: secret}}
	for name, row := range map[string]struct {
		source  ingest.Source
		headers []string
		status  int
	}{
		"no credential":            {scimSource(t, byID()), []string{"Authorization", ""}, 401},
		"a wrong token":            {scimSource(t, byID()), []string{"Authorization", "Bearer 0123456789abcdeg"}, 401},
		"the token in lower case":  {scimSource(t, byID()), []string{"Authorization", "bearer " + secret}, 200},
		"a password":               {named, []string{"Authorization", "Basic b2t0YTowMTIzNDU2Nzg5YWJjZGVm"}, 200},
		"a wrong password":         {named, []string{"Authorization", "Basic b2t0YTowMTIzNDU2Nzg5YWJjZGVn"}, 401},
		"a signature over nothing": {signed, []string{"Authorization", "", "X-Signature", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			d := b.scimOf(t, row.source)
			w := d.ask("GET", "/Users", "", row.headers...)
			if w.Code != row.status {
				t.Fatalf("answered %d", w.Code)
			}
			refused := w.Header().Get("WWW-Authenticate") != "" && strings.Contains(w.Body.String(), "urn:ietf:params:scim:api:messages:2.0:Error")
			if row.status == 401 && !refused {
				t.Errorf("headers %v: %s", w.Header(), w.Body)
			}
		})
	}
	d := b.scim(t, byID())
	d.name = "nobody"
	if w := d.ask("GET", "/Users", ""); w.Code != http.StatusUnauthorized {
		t.Errorf("an unknown source is answered %d", w.Code)
	}
}

func TestBoundsAreKept(t *testing.T) {
	d := openSCIM(t, byID())
	bulk := strings.Repeat(`{"method":"DELETE","path":"/Users/1"},`, 201)
	members := make([]string, 5001)
	for i := range members {
		members[i] = fmt.Sprintf(`{"value":"m%d"}`, i)
	}
	for name, row := range map[string]struct {
		path, body, says string
		status           int
	}{
		"a body of more than 1 MiB":   {"/Users", `{"userName":"` + strings.Repeat("x", 1<<20) + `"}`, "1048576", 413},
		"a resource of 600 KiB":       {"/Users", fmt.Sprintf(`{"userName":"ann","title":%[1]q,"nickName":%[1]q,"displayName":%[1]q}`, strings.Repeat("x", 200<<10)), "524288", 413},
		"nested deep":                 {"/Users", `{"userName":"ann","x":` + strings.Repeat(`{"x":`, 40) + `1` + strings.Repeat("}", 41), "nested", 400},
		"201 operations":              {"/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[` + strings.TrimSuffix(bulk, ",") + `]}`, "200", 413},
		"too many members at a time":  {"/Groups", `{"displayName":"g","members":[` + strings.Join(members, ",") + `]}`, "5000", 400},
		"a group name of 600 letters": {"/Groups", `{"displayName":"` + strings.Repeat("g", 600) + `"}`, "group", 400},
	} {
		t.Run(name, func(t *testing.T) {
			w := d.ask("POST", row.path, row.body)
			if w.Code != row.status || !strings.Contains(w.Body.String(), row.says) || w.Header().Get("Content-Type") != scimJSON {
				t.Errorf("%d: %s", w.Code, w.Body)
			}
		})
	}
	if events := d.lines(); len(events) != 0 {
		t.Errorf("events %v", events)
	}
	if total := d.insist(200, "GET", "/Users", "")["totalResults"]; total != 0.0 {
		t.Errorf("%v users", total)
	}
}

func TestLocationsAreWhatTheClientSeesAndNoProxyIsBelieved(t *testing.T) {
	b := start(t)
	defer b.stop()
	src := scimSource(t, byID())
	src.PublicURL = ""
	d := b.scimOf(t, src)
	w := d.ask("POST", "/Users", annUser, "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https", "Forwarded", "host=evil.example")
	if got := w.Header().Get("Location"); !strings.HasPrefix(got, "http://example.com/scim/v2/idp/Users/") {
		t.Errorf("location %s", got)
	}
}

func TestLogsAndMetricsNameNobody(t *testing.T) {
	d := openSCIM(t, byExternalID())
	id, _ := d.insist(201, "POST", "/Users", wholeAnn)["id"].(string)
	d.ask("GET", "/Users?filter=userName%20eq%20%22ann@example.com%22", "")
	d.ask("POST", "/Users", wholeAnn)
	d.ask("PUT", "/Users/"+id, `{"userName":"ann@example.com","externalId":"e-1","active":"Ann Ash"}`)
	d.ask("GET", "/ann@example.com", "")
	d.ask("DELETE", "/Users/"+id, "")
	text := d.log.String() + scrape(d)
	for _, personal := range []string{"ann@example.com", "Ash", "e-1", "hunter2", secret} {
		if strings.Contains(text, personal) {
			t.Errorf("%q is told", personal)
		}
	}
	for _, want := range []string{
		`joinery_ingest_scim_requests_total{endpoint="Users",method="POST",source="idp",status="201"} 1`,
		`joinery_ingest_scim_requests_total{endpoint="other",method="GET",source="idp",status="404"} 1`,
		`joinery_ingest_refused_total{reason="scim_409",source="idp"} 1`,
		`joinery_ingest_events_total{source="idp",status="accepted"} 2`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}
