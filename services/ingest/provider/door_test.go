package provider_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/embedded"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/wire"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/ingest"
	"github.com/joinery/joinery/services/ingest/directory"
	"golang.org/x/tools/txtar"
)

const (
	scimJSON = "application/scim+json"
	secret   = "0123456789abcdef"
)

// broker is a broker with the whole topology.
type broker struct {
	server *embedded.Broker
	conn   *stream.Conn
}

func start(t testing.TB) *broker {
	t.Helper()
	server, err := embedded.StartBroker(embedded.BrokerOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return dial(t, server)
}

func dial(t testing.TB, server *embedded.Broker) *broker {
	t.Helper()
	conn, err := stream.Dial(t.Context(), server.Options("ingest"))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Apply(t.Context(), stream.Design(nil, 1)); err != nil {
		t.Fatal(err)
	}
	return &broker{server, conn}
}

func (b *broker) stop() {
	b.conn.Close()
	b.server.Close()
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// scimDoor is a door for identity providers over a broker.
type scimDoor struct {
	*broker
	t       testing.TB
	name    string
	service *ingest.Service
	log     *lines
	metrics *telemetry.Metrics
}

// byID takes the person from the resource's own id.
func byID() mapping.SourceSpec { return mapping.SourceSpec{IdentityKey: "event.data.person.id"} }

// openSCIM serves the source idp; keep and journal may stand between the door and
// the broker.
func openSCIM(t testing.TB, spec mapping.SourceSpec, between ...func(*scimParts)) *scimDoor {
	t.Helper()
	b := start(t)
	t.Cleanup(b.stop)
	return b.scim(t, spec, between...)
}

// scimParts is what a test may put something in front of.
type scimParts struct {
	keep    directory.Keep
	journal ingest.Journal
}

func (b *broker) scim(t testing.TB, spec mapping.SourceSpec, between ...func(*scimParts)) *scimDoor {
	return b.scimOf(t, scimSource(t, spec), between...)
}

// scimNamed serves a source of another name.
func (b *broker) scimNamed(t testing.TB, name string, between ...func(*scimParts)) *scimDoor {
	src := scimSource(t, byID())
	src.Name = name
	return b.scimOf(t, src, between...)
}

func (b *broker) scimOf(t testing.TB, src ingest.Source, between ...func(*scimParts)) *scimDoor {
	t.Helper()
	d := &scimDoor{broker: b, t: t, name: src.Name, log: &lines{}}
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "ingest", Log: d.log})
	if err != nil {
		t.Fatal(err)
	}
	keep, err := directory.Open(t.Context(), b.conn)
	if err != nil {
		t.Fatal(err)
	}
	parts := scimParts{keep, ingest.NewJournal(b.conn)}
	for _, fn := range between {
		fn(&parts)
	}
	d.metrics = tel.Metrics
	d.service, err = ingest.New([]ingest.Source{src}, ingest.Deps{Journal: parts.journal, Telemetry: tel, Directory: parts.keep})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func scimSource(t testing.TB, spec mapping.SourceSpec) ingest.Source {
	t.Helper()
	rules, problems := mapping.CompileSource(spec)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return ingest.Source{
		Name: "idp", Credentials: []ingest.Credential{ingest.Bearer{Tokens: []string{secret}}},
		PublicURL: "https://joinery.example/",
		Events:    event.Source{Rules: rules, KeyField: event.KeyField(spec.IdentityKey)},
	}
}

// ask sends one request below the source's base; headers come in pairs.
func (d *scimDoor) ask(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	d.t.Helper()
	r := httptest.NewRequestWithContext(d.t.Context(), method, "/scim/v2/"+d.name+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+secret)
	if body != "" {
		r.Header.Set("Content-Type", scimJSON)
	}
	for pair := range slices.Chunk(headers, 2) {
		if r.Header.Set(pair[0], pair[1]); pair[1] == "" {
			r.Header.Del(pair[0])
		}
	}
	w := httptest.NewRecorder()
	d.service.Handler().ServeHTTP(w, r)
	return w
}

// insist asks and fails the test where the status is another.
func (d *scimDoor) insist(status int, method, path, body string, headers ...string) map[string]any {
	d.t.Helper()
	w := d.ask(method, path, body, headers...)
	if w.Code != status {
		d.t.Fatalf("%s %s: %d, want %d: %s", method, path, w.Code, status, w.Body)
	}
	out := map[string]any{}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			d.t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
		}
	}
	return out
}

// events are all stored events of a source, in order.
func (d *scimDoor) events(source string) []*joineryv1.LifecycleEvent {
	d.t.Helper()
	var out []*joineryv1.LifecycleEvent
	for m, err := range d.conn.Scan(context.WithoutCancel(d.t.Context()), stream.Lifecycle, "joinery.lifecycle."+source+".>") {
		if err != nil {
			d.t.Fatal(err)
		}
		e := &joineryv1.LifecycleEvent{}
		if _, err := wire.Decode(m.Message, e); err != nil {
			d.t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// line is an event in a word or two: its kind, and of whom, or what, it is.
func line(e *joineryv1.LifecycleEvent) string {
	out := identity.KindName(e.GetKind())
	if g := e.GetGroup(); g != nil {
		return out + " " + g.GetName()
	}
	if name, ok := e.GetAttributes().AsMap()["userName"].(string); ok {
		out += " " + name
	}
	return out
}

func (d *scimDoor) lines() []string { return d.linesOf(d.name) }

func (d *scimDoor) linesOf(source string) []string {
	out := []string{}
	for _, e := range d.events(source) {
		out = append(out, line(e))
	}
	return out
}

// TestIdentityProvidersAreServedAsTheyCall plays what identity providers are
// known to send, one file each: requests in turn, what must be answered, and the
// events that must have come of it. A file has, in turn,
//
//	-- METHOD /path --      the headers, an empty line, and the body
//	-- 200 --               headers, an empty line, and what must be in the answer
//
// and at its end -- events --. In an answer ${name} stands for any text the first
// time, and for the same one from then on; "<absent>" for what must not be there.
// An object may have more members, a list not more elements.
func TestIdentityProvidersAreServedAsTheyCall(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			play(t, archive)
		})
	}
}

func play(t *testing.T, archive *txtar.Archive) {
	d := openSCIM(t, byID())
	p := &player{names: map[string]string{}}
	var w *httptest.ResponseRecorder
	var asked string
	for _, f := range archive.Files {
		head, body := sections(p.filled(string(f.Data)))
		switch {
		case f.Name == "events":
			want := slices.DeleteFunc(strings.Split(string(f.Data), "\n"), func(s string) bool { return s == "" })
			if diff := cmp.Diff(want, d.lines()); diff != "" {
				t.Errorf("events (-want +got)\n%s", diff)
			}
		case strings.Contains(f.Name, " "):
			asked = p.filled(f.Name)
			method, path, _ := strings.Cut(asked, " ")
			w = d.ask(method, strings.ReplaceAll(path, " ", "%20"), body, head...)
		default:
			p.expect(t, asked, f.Name, head, body, w)
		}
	}
}

type player struct{ names map[string]string }

var placeholder = regexp.MustCompile(`\$\{[a-z]+\}`)

// filled puts in the names that are known.
func (p *player) filled(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(name string) string {
		if known, ok := p.names[name]; ok {
			return known
		}
		return name
	})
}

// sections are the header lines, as pairs, and the body.
func sections(text string) (head []string, body string) {
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if body != "" || strings.HasPrefix(line, "{") || !ok {
			body += line
			continue
		}
		head = append(head, name, value)
	}
	return head, strings.TrimSpace(body)
}

func (p *player) expect(t *testing.T, asked, status string, head []string, body string, w *httptest.ResponseRecorder) {
	t.Helper()
	if strconv.Itoa(w.Code) != status {
		t.Fatalf("%s: %d, want %s: %s", asked, w.Code, status, w.Body)
	}
	for pair := range slices.Chunk(head, 2) {
		if why := p.within(pair[1], w.Header().Get(pair[0])); why != "" {
			t.Errorf("%s: header %s: %s", asked, pair[0], why)
		}
	}
	if body == "" {
		return
	}
	var want, got any
	if err := json.Unmarshal([]byte(body), &want); err != nil {
		t.Fatalf("%s: what is wanted is no JSON: %v", asked, err)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%s: the answer is no JSON: %v", asked, err)
	}
	if why := p.within(want, got); why != "" {
		t.Errorf("%s: %s\n%s", asked, why, w.Body)
	}
}

// within says why what is wanted is not in what was got, or nothing.
func (p *player) within(want, got any) string {
	switch want := want.(type) {
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%v is no object", got)
		}
		for name, v := range want {
			member, there := m[name]
			if v == "<absent>" {
				if there {
					return name + " is there"
				}
				continue
			}
			if why := p.within(v, member); why != "" {
				return name + ": " + why
			}
		}
		return ""
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Sprintf("%v, want a list of %d", got, len(want))
		}
		for i, v := range want {
			if why := p.within(v, list[i]); why != "" {
				return fmt.Sprintf("[%d]: %s", i, why)
			}
		}
		return ""
	case string:
		return p.text(want, got)
	}
	if !cmp.Equal(want, got) {
		return fmt.Sprintf("got %v, want %v", got, want)
	}
	return ""
}

func (p *player) text(want string, got any) string {
	text, ok := got.(string)
	name := placeholder.FindString(want)
	if name != "" && p.names[name] == "" && ok {
		before, rest, _ := strings.Cut(want, name)
		if value := strings.TrimSuffix(strings.TrimPrefix(text, before), rest); value != "" {
			p.names[name] = value
		}
	}
	if want = p.filled(want); !ok || text != want {
		return fmt.Sprintf("got %v, want %s", got, want)
	}
	return ""
}

// body is JSON of a value.
func jsonOf(t testing.TB, v any) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
