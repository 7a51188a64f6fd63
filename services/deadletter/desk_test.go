package deadletter_test

import (
	"context"
	"encoding/json"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/target"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/deadletter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// shelf is a bucket in memory.
type shelf[T any] map[string]T

func (s shelf[T]) Get(_ context.Context, key string) (T, uint64, error) {
	v, ok := s[key]
	if !ok {
		return v, 0, stream.ErrNotFound
	}
	return v, 1, nil
}

func (s shelf[T]) Put(_ context.Context, key string, v T, _ uint64) (uint64, error) {
	s[key] = v
	return 1, nil
}

func (s shelf[T]) Keys(context.Context, string) ([]string, error) {
	return slices.Sorted(maps.Keys(s)), nil
}

type post struct {
	commands []*joineryv1.ProvisioningCommand
	replays  []*joineryv1.LifecycleEvent
	// published are the dead letters whose messages were published again.
	published []*joineryv1.DeadLetter
}

func (p *post) Intake(_ context.Context, d *joineryv1.DeadLetter, _ uint32) error {
	p.published = append(p.published, d)
	return nil
}

func (p *post) Command(_ context.Context, c *joineryv1.ProvisioningCommand) error {
	p.commands = append(p.commands, c)
	return nil
}

func (p *post) Replay(_ context.Context, e *joineryv1.LifecycleEvent, _ uint32) error {
	p.replays = append(p.replays, e)
	return nil
}

// log is streams in memory, by subject.
type log map[string]proto.Message

func (l log) stored(subject string) stream.Stored {
	msg, _ := wire.Encode(context.Background(), subject, l[subject])
	return stream.Stored{Subject: subject, Message: msg}
}

func (l log) Last(_ context.Context, _, subject string) (stream.Stored, error) {
	for s := range l {
		if covers(subject, s) {
			return l.stored(s), nil
		}
	}
	return stream.Stored{}, stream.ErrNotFound
}

func (l log) Scan(_ context.Context, _, subject string) iter.Seq2[stream.Stored, error] {
	return func(yield func(stream.Stored, error) bool) {
		for _, s := range slices.Sorted(maps.Keys(l)) {
			if covers(subject, s) && !yield(l.stored(s), nil) {
				return
			}
		}
	}
}

func covers(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	if len(p) != len(s) {
		return false
	}
	for i := range p {
		if p[i] != "*" && p[i] != s[i] {
			return false
		}
	}
	return true
}

type noRuns struct{}

func (noRuns) Request(_ context.Context, target, mode, by, _ string, _ bool) (string, error) {
	return target + "-" + mode + "-" + by, nil
}
func (noRuns) Show(context.Context, string, string) (any, error) { return nil, stream.ErrNotFound }
func (noRuns) List(context.Context, string) (any, error)         { return []string{}, nil }

type office struct {
	*testing.T
	desk       *deadletter.Desk
	api        http.Handler
	cases      shelf[deadletter.Case]
	identities shelf[identity.Record]
	states     shelf[target.State]
	log        log
	post       *post
	published  []*joineryv1.LifecycleEvent
}

const (
	ann  = "7ztv7z5k52bqw37nbg3e4a2pqq" // identity.IDOf("1001")
	mine = "acme-" + ann
)

func open(t *testing.T, token string) *office {
	t.Helper()
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "deadletter"})
	if err != nil {
		t.Fatal(err)
	}
	o := &office{
		T: t, cases: shelf[deadletter.Case]{}, identities: shelf[identity.Record]{}, states: shelf[target.State]{},
		log: log{}, post: &post{},
	}
	o.identities[ann] = identity.Record{ID: ann, Key: "1001", Revision: 9, Wishes: map[string]identity.Wish{
		"acme": {Wish: identity.Present, Revision: 9, Resource: map[string]any{"userName": "now"}},
	}}
	o.desk = deadletter.NewDesk(o.cases, o.identities, o.post, tel)
	api := &deadletter.API{
		Publish: func(_ context.Context, e *joineryv1.LifecycleEvent) (bool, error) {
			o.published = append(o.published, e)
			return false, nil
		},
		Accountant: (&deadletter.Accountant{
			Journal: &journal{entries: map[string][]stream.Stored{}}, Books: shelf[deadletter.Book]{}, Targets: func() []string { return nil },
		}).Meter(tel.Metrics),
		Desk: o.desk, Log: tel.Log, Runs: noRuns{}, EventID: func(source, id string) string { return source + id },
		Library: &deadletter.Library{
			Identities: o.identities, Accounts: shelf[identity.Account]{"acme." + ann: {Target: "acme", Identity: ann, RemoteID: "7"}},
			Cases: o.cases, Streams: o.log, Targets: func() []string { return []string{"acme"} },
		},
		Board: &deadletter.Board{
			States: o.states, Cases: o.cases, Configured: func() map[string]string { return map[string]string{"acme": "live"} },
			Waiting: func(context.Context, string) (uint64, error) { return 3, nil },
		},
		Topology: func(context.Context) (any, error) { return stream.Applied{}, nil },
	}
	if token != "" {
		api.Token = func() (string, error) { return token, nil }
	}
	o.api = api.Handler()
	return o
}

func (o *office) call(method, path, body string, header ...string) (int, string) {
	o.Helper()
	req := httptest.NewRequestWithContext(o.Context(), method, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	o.api.ServeHTTP(rec, req)
	return rec.Code, rec.Body.String()
}

// letter and outcome reach the desk as they would from the streams.
func letter(revision uint64) *joineryv1.DeadLetter {
	resource, _ := structpb.NewStruct(map[string]any{"userName": "canary@example.com"})
	return &joineryv1.DeadLetter{
		Id: mine, Cause: joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_REFUSED, Reason: "the target answered 400", Status: 400,
		ScimType: "invalidValue", Detail: "canary detail", Attributes: []string{"userName"}, At: timestamppb.Now(), Attempts: 1,
		Command: &joineryv1.ProvisioningCommand{
			Id: "c", Target: "acme", Identity: ann, Revision: revision, EventId: "e1", Resource: resource,
			Rules: map[string]string{"userName": "users[0] identity.email", "title": "users[1]"},
		},
	}
}

func (o *office) receive(m proto.Message) {
	o.Helper()
	letters, outcomes := make(chan *message.Message, 1), make(chan *message.Message, 1)
	msg, err := wire.Encode(o.Context(), "m", m)
	if err != nil {
		o.Fatal(err)
	}
	if _, isLetter := m.(*joineryv1.DeadLetter); isLetter {
		letters <- msg
	} else {
		outcomes <- msg
	}
	ctx, cancel := context.WithCancel(o.Context())
	done := make(chan error, 1)
	go func() { done <- o.desk.Run(ctx, channel(letters), channel(outcomes)) }()
	select {
	case <-msg.Acked():
	case <-msg.Nacked():
		o.Error("refused")
	}
	cancel()
	if err := <-done; err != nil {
		o.Error(err)
	}
}

// channel is a subscriber over a channel.
type channel chan *message.Message

func (c channel) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		for {
			select {
			case msg := <-c:
				select {
				case out <- msg:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (c channel) Close() error { return nil }

func TestACaseIsFiledReplayedAndResolved(t *testing.T) {
	o := open(t, "")
	o.receive(letter(8))
	c := o.cases[mine]
	if c.State != deadletter.Open || c.Cause != "refused" || c.Status != 400 || c.Event != "e1" {
		t.Fatalf("%+v", c)
	}
	if diff := cmp.Diff(map[string]string{"userName": "users[0] identity.email"}, c.Rules); diff != "" {
		t.Error(diff)
	}
	if status, body := o.call("POST", "/api/v1/cases/"+mine+"/replay", `{"by":"sre"}`); status != 200 {
		t.Fatal(status, body)
	}
	sent := o.post.commands[0]
	if sent.GetRevision() != 9 || sent.GetResource().AsMap()["userName"] != "now" || !sent.GetVerify() ||
		sent.GetCause() != joineryv1.Cause_CAUSE_REPLAY || sent.GetId() == identity.CommandID("acme", ann, 9) {
		t.Errorf("what is wished for now is sent, under an id of its own: %v", sent)
	}
	outcome := &joineryv1.Outcome{Stage: joineryv1.Stage_STAGE_DISPATCHER, Result: joineryv1.Result_RESULT_APPLIED, Target: "acme", Identity: ann, Revision: 7}
	if o.receive(outcome); o.cases[mine].State != deadletter.Replayed {
		t.Error("an outcome of an older revision resolved the case")
	}
	outcome.Revision = 9
	if o.receive(outcome); o.cases[mine].State != deadletter.Resolved {
		t.Error("not resolved", o.cases[mine].State)
	}
	if status, body := o.call("POST", "/api/v1/cases/"+mine+"/replay", `{"by":"sre"}`); status != 409 {
		t.Error("a resolved case was replayed:", status, body)
	}
	if o.receive(letter(10)); o.cases[mine].State != deadletter.Open {
		t.Error("a new dead letter opens the case again")
	}
	if status, _ := o.call("POST", "/api/v1/cases/"+mine+"/discard", `{"by":"sre","reason":"x"}`); status != 200 || o.cases[mine].State != deadletter.Discarded {
		t.Error("not discarded", status)
	}
	var actions []string
	for _, s := range o.cases[mine].History {
		actions = append(actions, s.By+" "+s.Action)
	}
	want := []string{"dispatcher dead-lettered", "sre replay", "dispatcher resolved", "dispatcher dead-lettered", "sre discard"}
	if diff := cmp.Diff(want, actions); diff != "" {
		t.Error(diff)
	}
}

func TestTheCaseOfAMappingThatWorksAgainIsClosed(t *testing.T) {
	o := open(t, "")
	id := "mapping-" + mine
	d := letter(8)
	d.Id, d.Cause = id, joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_MAPPING
	o.receive(d)
	outcome := &joineryv1.Outcome{Stage: joineryv1.Stage_STAGE_MAPPER, Identity: ann, Revision: 7, Mended: []string{"acme"}}
	if o.receive(outcome); o.cases[id].State != deadletter.Open {
		t.Error("an older outcome closed the case")
	}
	outcome.Revision, outcome.Mended = 9, []string{"other"}
	if o.receive(outcome); o.cases[id].State != deadletter.Open {
		t.Error("another target's mapping closed the case")
	}
	outcome.Mended = []string{"acme", "other"}
	o.receive(outcome)
	if c := o.cases[id]; c.State != deadletter.Resolved || c.History[len(c.History)-1].By != "mapper" {
		t.Errorf("%+v", c)
	}
}

func TestAPoisonEventIsPutOnItsSubjectAgain(t *testing.T) {
	o := open(t, "")
	o.receive(&joineryv1.DeadLetter{Id: "poison-e1", Event: &joineryv1.LifecycleEvent{Id: "e1"}, Reason: "no person"})
	if status, body := o.call("POST", "/api/v1/cases/poison-e1/replay", `{"by":"sre"}`); status != 200 || len(o.post.replays) != 1 {
		t.Error(status, body)
	}
}

func TestARefusedMessageIsPublishedAgainWhereItWas(t *testing.T) {
	o := open(t, "")
	letter := &joineryv1.DeadLetter{
		Id: "intake-hr-7", Command: &joineryv1.ProvisioningCommand{Id: "intake:7"}, Reason: "message refused",
		Subject: "joinery.intake.hr", Headers: map[string]string{"Content-Type": "application/protobuf"}, Payload: []byte("payload"),
	}
	o.receive(letter)
	if status, body := o.call("POST", "/api/v1/cases/intake-hr-7/replay", `{"by":"sre"}`); status != 200 || len(o.post.published) != 1 || !proto.Equal(letter, o.post.published[0]) {
		t.Error(status, body, o.post.published)
	}
	letter.Id, letter.Payload = "intake-hr-8", nil // too large to be kept
	o.receive(letter)
	if status, body := o.call("POST", "/api/v1/cases/intake-hr-8/replay", `{"by":"sre"}`); status != 409 || len(o.post.published) != 1 {
		t.Error(status, body)
	}
}

func TestOnlyTheCaseItselfShowsTheLetter(t *testing.T) {
	o := open(t, "")
	o.receive(letter(8))
	for _, path := range []string{"/api/v1/cases", "/api/v1/cases?state=open&target=acme&cause=refused"} {
		if status, body := o.call("GET", path, ""); status != 200 || !strings.Contains(body, mine) || strings.Contains(body, "canary") {
			t.Error(path, status, body)
		}
	}
	for _, path := range []string{"/api/v1/cases?state=resolved", "/api/v1/cases?target=other", "/api/v1/cases?cause=poison"} {
		if _, body := o.call("GET", path, ""); strings.Contains(body, mine) {
			t.Error(path, body)
		}
	}
	if _, body := o.call("GET", "/api/v1/cases/"+mine, ""); !strings.Contains(body, "canary detail") {
		t.Error(body)
	}
}

func TestTheAPISaysWhatIsWrong(t *testing.T) {
	o := open(t, "")
	o.receive(letter(8))
	for _, row := range []struct {
		method, path, body string
		header             []string
		status             int
		says               string
	}{
		{"GET", "/api/v1/cases/none", "", nil, 404, "no such thing"},
		{"GET", "/api/v1/identities/none", "", nil, 404, "no such thing"},
		{"GET", "/api/v1/events/none", "", nil, 404, "no such thing"},
		{"GET", "/api/v1/events/a.b", "", nil, 400, "id that ingest answered"},
		{"GET", "/api/v1/targets/none", "", nil, 404, "no such thing"},
		{"POST", "/api/v1/targets/none/pause", `{"by":"x"}`, nil, 404, "no such thing"},
		{"POST", "/api/v1/targets/acme/runs", `{"by":"x","mode":"wrong"}`, nil, 400, "report or remediate"},
		{"POST", "/api/v1/cases/" + mine + "/replay", ``, nil, 400, "name who decides"},
		{"POST", "/api/v1/cases/" + mine + "/replay", `{"nonsense":1}`, nil, 400, "JSON object"},
		{"POST", "/api/v1/cases/" + mine + "/replay", `{"by":"x"}`, []string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
	} {
		if status, body := o.call(row.method, row.path, row.body, row.header...); status != row.status || !strings.Contains(body, row.says) {
			t.Errorf("%s %s: %d %s", row.method, row.path, status, body)
		}
	}
}

func TestWithATokenNobodyElseGetsIn(t *testing.T) {
	o := open(t, "secret")
	for _, header := range [][]string{nil, {"Authorization", "Bearer wrong"}, {"Authorization", "secret x"}} {
		if status, body := o.call("GET", "/api/v1/targets", "", header...); status != 401 || strings.Contains(body, "acme") {
			t.Error(header, status, body)
		}
	}
	if status, _ := o.call("GET", "/api/v1/targets", "", "Authorization", "Bearer secret"); status != 200 {
		t.Error(status)
	}
}

func TestAPersonsStoryAndAnEventsTrace(t *testing.T) {
	o := open(t, "")
	o.log["joinery.lifecycle.hr."+ann+".hr1"] = &joineryv1.LifecycleEvent{
		Id: "hr1", Source: "hr", SourceEventId: "1", IdentityKey: "1001", Kind: joineryv1.LifecycleKind_LIFECYCLE_KIND_JOINED, OccurredAt: timestamppb.Now(),
	}
	o.log["joinery.outcome.mapper."+ann+".hr1"] = &joineryv1.Outcome{
		Stage: joineryv1.Stage_STAGE_MAPPER, EventId: "hr1", Commands: []string{"acme:normal", "git:normal"}, TraceId: "t",
	}
	o.log["joinery.outcome.acme."+ann+".hr1"] = &joineryv1.Outcome{
		Stage: joineryv1.Stage_STAGE_DISPATCHER, EventId: "hr1", Target: "acme", Result: joineryv1.Result_RESULT_APPLIED,
	}
	var tr deadletter.Trace
	_, body := o.call("GET", "/api/v1/events/1?source=hr", "")
	if err := json.Unmarshal([]byte(body), &tr); err != nil || tr.Settled || tr.TraceID != "t" || len(tr.Commands) != 1 ||
		!slices.Equal(tr.Waiting, []string{"git:normal"}) {
		t.Errorf("%v %+v", err, tr)
	}
	for _, key := range []string{"1001", ann} {
		var s deadletter.Story
		_, body := o.call("GET", "/api/v1/identities/"+key, "")
		if err := json.Unmarshal([]byte(body), &s); err != nil || s.Person.Key != "1001" || len(s.Accounts) != 1 || len(s.Outcomes) != 2 {
			t.Errorf("%v %s", err, body)
		}
	}
}

func TestTargetsAreSteered(t *testing.T) {
	o := open(t, "")
	o.states["acme"] = target.State{Target: "acme", Quarantined: &target.Quarantine{Reason: "401"}}
	for _, row := range []struct{ action, open, reason string }{
		{"pause", `"open": false`, "quarantined: 401"}, {"release", `"open": false`, "paused by ops"}, {"resume", `"open": true`, ""},
	} {
		status, body := o.call("POST", "/api/v1/targets/acme/"+row.action, `{"by":"ops"}`)
		if status != 200 || !strings.Contains(body, row.open) || !strings.Contains(body, row.reason) || !strings.Contains(body, `"waiting": 3`) {
			t.Error(row.action, status, body)
		}
	}
}

func TestTheOpenAPIDocumentIsServed(t *testing.T) {
	_, body := open(t, "").call("GET", "/api/v1/openapi.json", "")
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || len(doc.Paths) < 12 {
		t.Fatal(err, len(doc.Paths))
	}
	o := open(t, "")
	for path, methods := range doc.Paths {
		for method := range methods {
			concrete := strings.NewReplacer("{id}", "x", "{key}", "x", "{target}", "acme", "{run}", "x").Replace(path)
			if status, body := o.call(strings.ToUpper(method), concrete, `{"by":"x"}`); status == 405 || strings.Contains(body, "404 page not found") {
				t.Errorf("%s %s is described and not served: %d", method, path, status)
			}
		}
	}
}

// held files what a guard holds: one case for each person.
func (o *office) held(people ...string) {
	o.Helper()
	for _, key := range people {
		id := identity.IDOf(key)
		o.identities[id] = identity.Record{ID: id, Key: key, Revision: 3, Wishes: map[string]identity.Wish{"acme": {Wish: identity.Disabled, Revision: 3}}}
		letter := &joineryv1.DeadLetter{
			Id: "acme-" + id, Cause: joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_GUARD, Reason: "too many", At: timestamppb.Now(), Batch: "b1",
			Command: &joineryv1.ProvisioningCommand{Target: "acme", Identity: id, Revision: 3, Wish: joineryv1.Wish_WISH_DISABLED, Source: "hr", EventId: "e" + key},
		}
		o.receive(letter)
	}
}

func TestABatchIsDecidedAsItWasLookedAt(t *testing.T) {
	o := open(t, "")
	o.held("1", "2", "3")
	_, body := o.call("GET", "/api/v1/batches/b1", "")
	var b deadletter.Batch
	if err := json.Unmarshal([]byte(body), &b); err != nil || len(b.Items) != 3 || b.Items[0].Wish != "disabled" || b.Items[0].Key == "" || b.Wishes["disabled"] != 3 {
		t.Fatal(err, body)
	}
	o.held("4") // somebody more, after the look
	if status, body := o.call("POST", "/api/v1/batches/b1/decide", `{"by":"ops","hash":"`+b.Hash+`"}`); status != http.StatusConflict || len(o.post.commands) != 0 {
		t.Error(status, body)
	}
	_, body = o.call("GET", "/api/v1/batches", "")
	var all []deadletter.Batch
	if err := json.Unmarshal([]byte(body), &all); err != nil || len(all) != 1 || all[0].Hash == b.Hash {
		t.Fatal(err, body)
	}
	one, two := "acme-"+identity.IDOf("1"), "acme-"+identity.IDOf("2")
	status, body := o.call("POST", "/api/v1/batches/b1/decide", `{"by":"ops","hash":"`+all[0].Hash+`","only":["`+one+`"],"reject":["`+two+`"]}`)
	var done deadletter.Decided
	if err := json.Unmarshal([]byte(body), &done); err != nil || status != http.StatusOK {
		t.Fatal(err, status, body)
	}
	if diff := cmp.Diff(deadletter.Decided{Approved: []string{one}, Rejected: []string{two}, Left: 2}, done); diff != "" {
		t.Error(diff)
	}
	if len(o.post.commands) != 1 {
		t.Fatal(o.post.commands)
	}
	a := o.post.commands[0].GetApproval()
	if a.GetBy() != "ops" || a.GetBatch() != "b1" || a.GetExpiresAt() == nil || o.post.commands[0].GetRevision() != 3 {
		t.Error(o.post.commands[0])
	}
	if o.cases[one].State != deadletter.Replayed || o.cases[two].State != deadletter.Discarded {
		t.Error(o.cases[one].State, o.cases[two].State)
	}
}

func TestWhatAGuardHoldsCannotBeReplayedPastIt(t *testing.T) {
	o := open(t, "")
	o.held("1")
	id := "acme-" + identity.IDOf("1")
	if status, body := o.call("POST", "/api/v1/cases/"+id+"/replay", `{"by":"ops"}`); status != http.StatusConflict || len(o.post.commands) != 0 {
		t.Error(status, body)
	}
	for _, bad := range []string{`{"by":"ops"}`, `{"hash":"x"}`, `{"by":"ops","hash":"x","all":true}`, `[]`} {
		if status, body := o.call("POST", "/api/v1/batches/b1/decide", bad); status != http.StatusBadRequest {
			t.Error(bad, status, body)
		}
	}
	if status, _ := o.call("GET", "/api/v1/batches/none", ""); status != http.StatusNotFound {
		t.Error(status)
	}
}

func TestConsentToAdoptNamesTheAccountAndLetsNothingElseGo(t *testing.T) {
	o := open(t, "")
	o.receive(letter(8))
	if status, body := o.call("POST", "/api/v1/cases/"+mine+"/adopt", `{"by":"ops"}`); status != http.StatusConflict || !strings.Contains(body, "can be adopted") {
		t.Error(status, body)
	}
	stranger := letter(8)
	stranger.Cause, stranger.RemoteId = joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_STRANGER, "r7"
	o.receive(stranger)
	if status, body := o.call("POST", "/api/v1/cases/"+mine+"/adopt", `{"by":"ops","reason":"theirs"}`); status != http.StatusOK {
		t.Fatal(status, body)
	}
	if len(o.post.commands) != 1 {
		t.Fatal(o.post.commands)
	}
	got := o.post.commands[0].GetApproval()
	got.ExpiresAt = nil
	if diff := cmp.Diff(&joineryv1.Approval{By: "ops", Adopt: "r7"}, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	c := o.cases[mine]
	if c.State != deadletter.Replayed || c.History[len(c.History)-1].Action != "adopt" {
		t.Errorf("%+v", c)
	}
	if status, _ := o.call("POST", "/api/v1/cases/"+mine+"/adopt", `{"by":"ops"}`); status != http.StatusConflict {
		t.Error("adopted twice", status)
	}
}

func TestConsentCountsOnlyForWhatWasHeld(t *testing.T) {
	o := open(t, "")
	o.held("1")
	id := identity.IDOf("1")
	rec := o.identities[id]
	rec.Wishes = map[string]identity.Wish{"acme": {Wish: identity.Absent, Revision: 4}}
	o.identities[id] = rec
	_, body := o.call("GET", "/api/v1/batches/b1", "")
	var b deadletter.Batch
	if err := json.Unmarshal([]byte(body), &b); err != nil {
		t.Fatal(err)
	}
	if status, body := o.call("POST", "/api/v1/batches/b1/decide", `{"by":"ops","hash":"`+b.Hash+`"}`); status != http.StatusOK || len(o.post.commands) != 0 {
		t.Error(status, body, o.post.commands)
	}
}

func TestARefusedSnapshotIsNotSentAgainFromTheDesk(t *testing.T) {
	o := open(t, "")
	o.receive(&joineryv1.DeadLetter{
		Id: "feed-hr", Cause: joineryv1.DeadLetterCause_DEAD_LETTER_CAUSE_GUARD, Reason: "snapshot of hr refused",
		Command: &joineryv1.ProvisioningCommand{Id: "feed:1"},
	})
	status, body := o.call("POST", "/api/v1/cases/feed-hr/replay", `{"by":"sre"}`)
	if status != 409 || !strings.Contains(body, "nothing-to-replay") || len(o.post.replays)+len(o.post.commands) != 0 {
		t.Error(status, body)
	}
	if o.cases["feed-hr"].State != deadletter.Open {
		t.Error("the case is", o.cases["feed-hr"].State)
	}
	if status, body := o.call("POST", "/api/v1/cases/feed-hr/discard", `{"by":"sre","reason":"seen"}`); status != 200 {
		t.Error(status, body)
	}
}
