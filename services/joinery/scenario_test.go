package joinery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/app"
	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/pkg/crash"
	"github.com/joinery/joinery/pkg/embedded/bubble"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/redisrate"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/deadletter"
	"github.com/joinery/joinery/services/joinery/wiring"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/proto"
)

var update = flag.Bool("update", false, "write what happened into the scenarios, for a person to read and agree to")

// TestScenarios plays every scenario: events in, SCIM calls with their times
// out, through all five services over the real broker on fake time.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		t.Run(name, func(t *testing.T) { play(t, path) })
	}
}

func play(t *testing.T, path string) {
	archive, err := txtar.ParseFile(path)
	check(t, err)
	sections := map[string]string{}
	for _, f := range archive.Files {
		sections[f.Name] = string(f.Data)
	}
	var got map[string]string
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		s := newScene(t, b, sections)
		s.start()
		s.script(sections["script"])
		s.stop()
		for _, gap := range s.gaps {
			t.Errorf("no outcome for %+v", gap) // invariant 14
		}
		got = s.report()
	})
	for i, f := range archive.Files {
		have, reported := got[f.Name]
		if !reported {
			continue
		}
		if *update {
			archive.Files[i].Data = []byte(have)
		} else if !sameTimes(string(f.Data), have) {
			t.Errorf("%s differ:\n%s", f.Name, cmp.Diff(string(f.Data), have))
		}
	}
	if *update {
		check(t, os.WriteFile(path, txtar.Format(archive), 0o600))
	}
}

// slack is how far a call's time may be from the scenario's: a pull request that
// crosses its own end at the broker is made up for by the next heartbeat.
const slack = 2 * time.Second

// sameTimes compares reports line by line: the times that begin their lines
// within the slack, and the rest exactly.
func sameTimes(want, got string) bool {
	wants, gots := strings.Split(want, "\n"), strings.Split(got, "\n")
	if len(wants) != len(gots) {
		return false
	}
	for i, w := range wants {
		atW, restW, _ := strings.Cut(w, " ")
		atG, restG, _ := strings.Cut(gots[i], " ")
		dW, errW := time.ParseDuration(atW)
		dG, errG := time.ParseDuration(atG)
		if errW == nil && errG == nil {
			if (dW-dG).Abs() > slack || restW != restG {
				return false
			}
		} else if w != gots[i] {
			return false
		}
	}
	return true
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scene is one scenario at work.
type scene struct {
	*testing.T
	bubble  *bubble.Bubble
	dir     string
	begun   time.Time
	targets map[string]*simulator.Server
	events  map[string]string // Joinery's event id to the scenario's
	base    *wiring.Base
	parts   map[string]*wiring.Part
	halt    func()
	armed   atomic.Pointer[string] // crash after the next call of this method
	crashed chan struct{}
	passing func(crash.Point)
	disturb func(step int)
	wires   sync.Mutex // of Redis
	cut     bool
	conns   []net.Conn
	gaps    []deadletter.Gap
	folder  *config.Folder
	tail    map[string]string // collected before the broker is left
	log     io.Writer
	pusher  *pusher           // of security event tokens
	made    map[string]string // ids at the SCIM door, by the scenario's names
}

// defaults is the configuration of scenarios that bring none.
var defaults = map[string]string{
	"config/sources/hr.yaml": "source: hr\nauth: { bearer: { env: TOKEN } }\nidentity_key: event.data.employee_id\n",
	"config/targets/acme.yaml": `target: acme
endpoint: https://acme.example/scim/v2
auth: { bearer: { env: TOKEN } }
rate: [{ requests: 100000, per: 1s }]
assign: identity.active
reconcile: { every: 700h, mode: report }
users:
  - { to: userName, from: identity.email.lowerAscii() }
  - { to: externalId, from: identity.key }
  - { to: 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department', from: identity.department }
`,
}

func newScene(t *testing.T, b *bubble.Bubble, sections map[string]string) *scene {
	<-time.After(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
	s := &scene{T: t, bubble: b, dir: t.TempDir(), begun: time.Now(), targets: map[string]*simulator.Server{}, events: map[string]string{}, log: t.Output()}
	files := maps.Clone(defaults)
	for name, text := range sections {
		if strings.HasPrefix(name, "config/") {
			files[name] = text
		}
	}
	for name, text := range files {
		path := filepath.Join(s.dir, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o700))
		text = moments.ReplaceAllStringFunc(text, func(at string) string { // as times of day
			after, err := time.ParseDuration(at[2 : len(at)-1])
			check(t, err)
			return s.begun.Add(after).UTC().Format(`"15:04"`)
		})
		check(t, os.WriteFile(path, []byte(text), 0o600))
	}
	s.load()
	for name := range s.folder.Targets {
		s.targets[name] = simulator.New(simulator.Options{Base: "/scim/v2", Token: "secret"})
		b.Transport.Handle(name+".example", s.targets[name])
	}
	return s
}

func (s *scene) load() {
	s.Helper()
	folder, err := config.Load(filepath.Join(s.dir, "config"), func(string) (string, bool) { return "secret", true })
	check(s, err)
	s.folder = folder
}

// RoundTrip carries requests to the targets, and crashes the process where the
// scenario says so: after the target has done its work, before anybody hears.
func (s *scene) RoundTrip(req *http.Request) (*http.Response, error) {
	if isClosed(s.crashed) {
		return nil, errors.New("the process is dead")
	}
	res, err := s.bubble.Transport.RoundTrip(req)
	if method := s.armed.Load(); method != nil && *method == req.Method && s.armed.CompareAndSwap(method, nil) {
		s.die(context.WithoutCancel(req.Context()))
		return nil, errors.New("the process died")
	}
	return res, err
}

// die ends the process: nothing can be recorded and nothing sent any more.
func (s *scene) die(ctx context.Context) {
	_ = s.base.Close(ctx)
	close(s.crashed)
}

// pass is called at each crash point.
func (s *scene) pass(p crash.Point) {
	if s.passing != nil && !isClosed(s.crashed) {
		s.passing(p)
	}
}

// start starts all services, over the broker as it is.
func (s *scene) start() {
	s.Helper()
	ctx, cancel := context.WithCancel(crash.With(s.Context(), s.pass))
	base, err := wiring.Open(ctx, wiring.Options{
		Service: "joinery", Worker: "all-in-one", Folder: s.folder, Broker: s.bubble.Broker.Options("joinery"),
		Limiter: redisrate.Options{Addr: "127.0.0.1:6379", Dialer: s.dialRedis},
		Log:     s.log, Transport: s, Jitter: func(d time.Duration) time.Duration { return d },
	})
	check(s, err)
	s.base, s.parts, s.crashed = base, map[string]*wiring.Part{}, make(chan struct{})
	group := app.NewGroup(ctx)
	for name, build := range wiring.Builders() {
		part, err := build(ctx, base)
		check(s, err)
		s.parts[name] = part
		group.Go(name, part.Run)
	}
	s.halt = func() {
		cancel()
		if err := group.Wait(); err != nil && !isClosed(s.crashed) {
			s.Error(err)
		}
		_ = base.Close(context.WithoutCancel(ctx))
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// stop collects what the broker holds, then ends the services.
func (s *scene) stop() {
	s.tail = map[string]string{"outcomes": s.outcomes(), "cases": s.cases()}
	var book deadletter.Book
	check(s, json.Unmarshal(s.request("deadletter", "GET", "/api/v1/audit", "", "", http.StatusOK), &book))
	s.gaps = book.Gaps
	s.halt()
}

// script plays the lines "TIME VERB ARGUMENTS", each at its time.
func (s *scene) script(text string) {
	s.Helper()
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		when, rest, _ := strings.Cut(line, " ")
		at, err := time.ParseDuration(when)
		check(s, err)
		s.until(at)
		verb, args, _ := strings.Cut(strings.TrimSpace(rest), " ")
		s.do(verb, strings.TrimSpace(args))
	}
}

// until lets fake time pass; a crash on the way brings a new process a second later.
func (s *scene) until(at time.Duration) {
	timer := time.NewTimer(time.Until(s.begun.Add(at)))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			synctest.Wait()
			return
		case <-s.crashed:
			s.halt()
			s.start()
		}
	}
}

func (s *scene) do(verb, args string) {
	s.Helper()
	first, rest, _ := strings.Cut(args, " ")
	switch verb {
	case "event":
		s.send(first, rest)
	case "publish":
		s.publish(first, rest)
	case "from":
		s.sendFrom(first, rest)
	case "set":
		s.push(args)
	case "scim":
		s.provision(args)
	case "rotate":
		s.rotate(args)
	case "fault":
		f, err := simulator.ParseFault(rest)
		check(s, err)
		s.targets[first].Inject(f)
	case "heal":
		s.targets[first].Heal()
	case "seed":
		r, err := scim.Parse([]byte(rest))
		check(s, err)
		r["schemas"] = []any{scim.UserSchema}
		check(s, s.targets[first].Seed(scim.Users, r))
	case "edit":
		id, change, _ := strings.Cut(rest, " ")
		path, value, _ := strings.Cut(change, "=")
		check(s, s.targets[first].Edit(scim.Users, id, scim.Operation{Op: "replace", Path: path, Value: value}))
	case "remove":
		check(s, s.targets[first].Remove(scim.Users, rest))
	case "restart":
		s.halt()
		s.start()
	case "crash-after":
		s.armed.Store(&first)
	case "approve":
		s.approve(strings.Fields(args))
	case "post":
		s.post(first, rest)
	case "cancel":
		for id, name := range s.events {
			if name == first {
				s.post("/scheduled/"+id+"/cancel", "")
			}
		}
	case "config":
		// Puts a section's text in the place of a file.
		check(s, os.WriteFile(filepath.Join(s.dir, first), []byte(strings.ReplaceAll(rest, `\n`, "\n")), 0o600))
		s.load()
		check(s, s.base.Reconfigure(s.Context(), s.folder, slices.Collect(maps.Values(s.parts))))
	case "end":
	default:
		s.Fatalf("no verb %q", verb)
	}
	synctest.Wait()
}

// send posts an event to ingest; the scenario's id becomes the CloudEvents id.
// Between kind and data may stand when it happened, if not now, and attributes as
// NAME=VALUE, where a VALUE that is a duration means that time of the scenario.
func (s *scene) send(id, text string) {
	s.Helper()
	head, data, _ := strings.Cut(text, "{")
	data = moments.ReplaceAllStringFunc(data, func(at string) string { return `"` + s.moment(at[2:len(at)-1]) + `"` })
	words := strings.Fields(head)
	e := map[string]any{
		"specversion": "1.0", "id": id, "source": "/hr", "type": words[0], "time": s.moment("now"), "data": json.RawMessage("{" + data),
	}
	for _, word := range words[1:] {
		if name, value, named := strings.Cut(word, "="); named {
			e[name] = s.moment(value)
		} else {
			e["time"] = s.moment(word)
		}
	}
	body, err := json.Marshal(e)
	check(s, err)
	answer := s.request("ingest", "POST", "/v1/events", string(body), "application/cloudevents+json", http.StatusAccepted)
	r, err := scim.Parse(answer)
	check(s, err)
	joinery, _ := r["id"].(string)
	s.events[joinery] = id
}

// moments are times of the scenario inside data: "@5m".
var moments = regexp.MustCompile(`"@[0-9hms]+"`)

// moment is a time of the scenario where the text is a duration, and else the text.
func (s *scene) moment(text string) string {
	at := time.Now()
	if after, err := time.ParseDuration(text); err == nil {
		at = s.begun.Add(after)
	} else if text != "now" {
		return text
	}
	return at.UTC().Format(time.RFC3339)
}

// approve agrees to the one batch that is held, but for the people named.
func (s *scene) approve(but []string) {
	s.Helper()
	var held []deadletter.Batch
	check(s, json.Unmarshal(s.request("deadletter", "GET", "/api/v1/batches", "", "", http.StatusOK), &held))
	if len(held) != 1 {
		s.Fatalf("%d batches are held", len(held))
	}
	v := deadletter.Verdict{By: "ops", Hash: held[0].Hash}
	for _, key := range but {
		v.Reject = append(v.Reject, held[0].Target+"-"+identity.IDOf(key))
	}
	body, err := json.Marshal(v)
	check(s, err)
	s.request("deadletter", "POST", "/api/v1/batches/"+held[0].ID+"/decide", string(body), "application/json", http.StatusOK)
}

// keys are people in paths, by their keys: "{1001}".
var keys = regexp.MustCompile(`\{[0-9]+\}`)

func (s *scene) post(path, body string) {
	s.Helper()
	if body == "" {
		body = `{"by":"ops"}`
	}
	path = keys.ReplaceAllStringFunc(path, func(key string) string { return identity.IDOf(key[1 : len(key)-1]) })
	s.request("deadletter", "POST", "/api/v1"+path, body, "application/json", http.StatusOK)
}

func (s *scene) request(part, method, path, body, contentType string, want int) []byte {
	s.Helper()
	req := httptest.NewRequestWithContext(s.Context(), method, path, strings.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer secret")
	rec := httptest.NewRecorder()
	s.parts[part].Handler.ServeHTTP(rec, req)
	if rec.Code != want {
		s.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
	}
	return rec.Body.Bytes()
}

// report is what a scenario is compared with.
func (s *scene) report() map[string]string {
	out := map[string]string{"calls": s.calls(), "accounts": s.accounts(), "groups": s.rolls()}
	maps.Copy(out, s.tail)
	return out
}

// calls are the requests that the targets got: time, target, request, status.
func (s *scene) calls() string {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(s.targets)) {
		for _, r := range s.targets[name].Requests() {
			query := ""
			if q, err := url.ParseQuery(r.Query); err == nil && q.Get("filter") != "" {
				query = " " + q.Get("filter")
			}
			if strings.Contains(query, "joinery-control") {
				query = " (control)"
			}
			status := fmt.Sprint(r.Status)
			if r.Status == 0 {
				status = "lost"
			}
			fmt.Fprintf(&b, "%s %s %s %s%s -> %s\n", r.At.Sub(s.begun).Round(time.Second), name, r.Method, r.Path, query, status)
		}
	}
	return b.String()
}

// accounts are what the targets hold in the end.
func (s *scene) accounts() string {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(s.targets)) {
		for _, u := range s.targets[name].Resources(scim.Users) {
			active, _ := u.Active()
			department, _ := u.Get(scim.EnterpriseSchema + ":department")
			fmt.Fprintf(&b, "%s %s %s active=%v %v\n", name, u.ExternalID(), u.UserName(), active, department)
		}
	}
	return b.String()
}

// rolls are the targets' groups in the end, and who is in them.
func (s *scene) rolls() string {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(s.targets)) {
		who := map[string]string{}
		for _, u := range s.targets[name].Resources(scim.Users) {
			who[u.ID()] = u.ExternalID()
		}
		for _, g := range s.targets[name].Resources(scim.Groups) {
			fmt.Fprintf(&b, "%s %v:", name, g["displayName"])
			members, _ := g["members"].([]any)
			for _, m := range members {
				id, _ := m.(map[string]any)["value"].(string)
				fmt.Fprintf(&b, " %s", who[id])
			}
			fmt.Fprintln(&b)
		}
	}
	return b.String()
}

// outcomes are all recorded outcomes, event by event.
func (s *scene) outcomes() string {
	s.Helper()
	conn, err := stream.Dial(s.Context(), s.bubble.Broker.Options("reader"))
	check(s, err)
	defer conn.Close()
	var events []string
	lines := map[string][]string{} // by event
	for stored, err := range conn.Scan(s.Context(), stream.Outcomes, "joinery.outcome.>") {
		check(s, err)
		var o joineryv1.Outcome
		check(s, proto.Unmarshal(stored.Message.Payload, &o))
		where := o.GetTarget()
		if where == "" {
			where = "mapper"
		}
		event := o.GetEventId()
		if of, due := strings.CutPrefix(event, identity.DuePrefix); due && s.events[of] != "" {
			event = identity.DuePrefix + s.events[of]
		} else if name, ok := s.events[event]; ok {
			event = name
		} else if i := strings.IndexAny(event, "-"); i > 0 {
			event = event[:i]
		}
		line := strings.TrimSpace(fmt.Sprintf("%s %s %s %s", event, where, identity.ResultName(o.GetResult()), o.GetOperation()))
		if _, seen := lines[event]; !seen {
			events = append(events, event)
		}
		if where == "mapper" { // it may be stored after its own command's outcome
			lines[event] = slices.Insert(lines[event], 0, line)
		} else {
			lines[event] = append(lines[event], line)
		}
	}
	var b strings.Builder
	for _, event := range events {
		slices.SortStableFunc(lines[event], func(a, b string) int { // targets do not wait for each other
			return strings.Compare(targetOf(a), targetOf(b))
		})
		fmt.Fprintln(&b, strings.Join(lines[event], "\n"))
	}
	return b.String()
}

// targetOf is the target of an outcome's line; the mapper's comes first.
func targetOf(line string) string {
	if where := strings.Fields(line)[1]; where != "mapper" {
		return where
	}
	return ""
}

// cases are the cases on the desk.
func (s *scene) cases() string {
	s.Helper()
	raw := s.request("deadletter", "GET", "/api/v1/cases", "", "application/json", http.StatusOK)
	r, err := scim.Parse([]byte(`{"cases":` + string(raw) + `}`))
	check(s, err)
	var b bytes.Buffer
	list, _ := r["cases"].([]any)
	for _, one := range list {
		c := scim.Resource(one.(map[string]any))
		text := func(name string) any { v, _ := c.Get(name); return v }
		fmt.Fprintf(&b, "%v %v %v %v %v\n", text("state"), text("cause"), text("target"), text("status"), text("scim_type"))
	}
	return b.String()
}
