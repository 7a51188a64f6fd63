package simulator_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
)

// outcome sends a request and says how it ended: the status, or that the answer
// was lost, and how many users there are then.
func outcome(t *testing.T, s *simulator.Server, method, path, body string) (text string, r scim.Resource, header http.Header) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler { //nolint:errorlint // the exact value is the contract
				panic(p)
			}
			text = fmt.Sprintf("lost %d", len(s.Resources(scim.Users)))
		}
	}()
	status, r, header := call(t, s, method, path, body)
	return fmt.Sprintf("%d %d", status, len(s.Resources(scim.Users))), r, header
}

// Every fault that there is, struck by the POST of a user: the status, and how
// many users there are afterwards.
func TestEveryFaultDoesWhatItsNameSays(t *testing.T) {
	want := map[string]string{
		"429": "429 0", "429-date": "429 0", "429-bare": "429 0", "500": "500 0", "503": "503 0",
		"401": "401 0", "403": "403 0", "404": "404 0",
		"lost": "lost 1", "dropped": "lost 0", "500-after": "500 1", "late": "201 1", "drip": "201 1",
		"html": "200 0", "empty": "201 1", "empty-200": "200 1", "wrong-id": "201 1", "ignored": "200 0",
		"409-bare": "409 0", "redirect": "307 0", "hides-results": "200 0",
		"invisible": "201 1", "duplicates": "201 1", "folds": "201 1", "repeats": "201 1", "endless": "201 1",
	}
	got := map[string]string{}
	for name := range simulator.Faults() {
		s := broken(t, name+":count=1")
		got[name], _, _ = outcome(t, s, "POST", "/Users", user("ann"))
		if seen := s.Requests()[0]; seen.Fault != name || seen.Committed != strings.HasSuffix(got[name], "1") {
			t.Errorf("%s is recorded as %+v", name, seen)
		}
		if after, _, _ := outcome(t, s, "GET", "/Users", ""); !strings.HasPrefix(after, "200") {
			t.Errorf("%s struck twice: %s", name, after)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestThrottlingSaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for text, want := range map[string]string{
			"429:retry-after=30": "30", "429:retry-after=1500ms": "2", "429": "0", "429-bare:retry-after=3s": "",
			"503:retry-after=1m": "60", "503": "",
			"429-date:retry-after=30s": time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat),
		} {
			_, _, header := outcome(t, broken(t, text), "GET", "/Users", "")
			if got := header.Get("Retry-After"); got != want {
				t.Errorf("%s: Retry-After is %q", text, got)
			}
		}
	})
}

func TestFaultyAnswersLookAsTheyDoInTheField(t *testing.T) {
	if status, r, _ := outcome(t, broken(t, "wrong-id"), "POST", "/Users", user("ann")); r.ID() != "another-000001" {
		t.Error(status, r)
	}
	if _, r, _ := outcome(t, broken(t, "409-bare"), "POST", "/Users", user("ann")); r["scimType"] != nil || r["status"] != "409" {
		t.Error(r)
	}
	_, r, header := outcome(t, broken(t, "html"), "GET", "/Users", "")
	if r != nil || header.Get("Content-Type") != "text/html" {
		t.Error(r, header)
	}
	if _, _, header = outcome(t, broken(t, "redirect"), "GET", "/Users", ""); !strings.HasPrefix(header.Get("Location"), "http://elsewhere.example") {
		t.Error(header)
	}
	if _, r, header = outcome(t, broken(t, "empty"), "POST", "/Users", user("ann")); r != nil || header.Get("Location") != "/Users/000001" {
		t.Error(r, header)
	}
	if _, r, header = outcome(t, broken(t, "empty-200"), "POST", "/Users", user("ann")); r != nil || header.Get("Location") != "" {
		t.Error(r, header)
	}
}

func TestASilentlyIgnoredAttributeStaysAsItWas(t *testing.T) {
	s := simulator.New(simulator.Options{})
	id := made(t, s, "/Users", user("ann"))
	inject(t, s, "ignored:attr=title:path=/Users/")
	both := patch(`{"op":"replace","path":"title","value":"Lead"}`, `{"op":"replace","path":"nickName","value":"A"}`, `{"op":"replace","value":{"title":"Lead","userType":"x"}}`)
	status, r, _ := call(t, s, "PATCH", "/Users/"+id, both)
	if status != 200 || r["title"] != nil || r["nickName"] != "A" || r["userType"] != "x" {
		t.Error(status, r)
	}
	if _, r, _ = call(t, s, "PUT", "/Users/"+id, `{`+schemas+`,"userName":"ann","title":"Lead"}`); r["title"] != nil || r["nickName"] != nil {
		t.Error(r)
	}
	s.Heal()
	call(t, s, "PATCH", "/Users/"+id, both)
	inject(t, s, "ignored:attr=title")
	if _, r, _ = call(t, s, "PUT", "/Users/"+id, user("ann")); r["title"] != "Lead" {
		t.Error("a PUT took the ignored attribute away:", r)
	}
}

func TestAFaultBendsOnlyTheRequestThatItStrikes(t *testing.T) {
	s := simulator.New(simulator.Options{})
	made(t, s, "/Users", user("ann"))
	inject(t, s, "duplicates:count=1", "folds:count=1")
	var got []string
	for _, name := range []string{"ANN", "BO", "ANN", "CY"} {
		_, r, _ := call(t, s, "POST", "/Users", user(name))
		got = append(got, fmt.Sprint(r["status"], r.UserName()))
	}
	if diff := cmp.Diff([]string{"<nil>ANN", "<nil>bo", "409", "<nil>CY"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAListCanRepeatItselfOrNeverEnd(t *testing.T) {
	s := simulator.New(simulator.Options{PageMax: 2})
	for _, name := range []string{"a", "b", "c"} {
		made(t, s, "/Users", user(name))
	}
	inject(t, s, "repeats:count=2")
	for range 2 {
		if diff := cmp.Diff([]string{"a", "b"}, found(t, list(t, s, "startIndex=3"))); diff != "" {
			t.Error(diff)
		}
	}
	inject(t, s, "endless")
	seen := map[string]bool{}
	for start := 1; start < 20; start += 2 {
		r := list(t, s, fmt.Sprint("startIndex=", start))
		for _, name := range found(t, r) {
			seen[name] = true
		}
		if n := fmt.Sprint(r["totalResults"]); n != fmt.Sprint(start+4) {
			t.Error("the total is", n)
		}
	}
	if len(seen) != 20 {
		t.Error(seen)
	}
}

func TestLateAndSlowAnswersTakeTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fault := range []string{"late:retry-after=40s", "drip:retry-after=40s"} {
			s := broken(t, fault)
			begun := time.Now()
			_, r, _ := outcome(t, s, "POST", "/Users", user("ann"))
			if took := time.Since(begun); took < 30*time.Second || took > 40*time.Second || r.UserName() != "ann" {
				t.Error(fault, took, r)
			}
		}
	})
}

func TestOthersAreServedWhileSomebodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := broken(t, "late:retry-after=1h:count=1")
		done := make(chan struct{})
		go func() {
			defer close(done)
			call(t, s, "POST", "/Users", user("ann"))
		}()
		synctest.Wait()
		begun := time.Now()
		if diff := cmp.Diff([]string{"ann"}, found(t, list(t, s, ""))); diff != "" || time.Since(begun) > 0 {
			t.Error(diff, time.Since(begun))
		}
		<-done
	})
}

func TestAFaultStrikesWhereAndWhenItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, row := range []struct {
			fault string
			want  string // of POST /Users, GET /Users, GET /Groups, and again a minute later
		}{
			{"500", "500 500 500 500 500 500"},
			{"500:method=get", "201 500 500 409 500 500"},
			{"500:path=/Groups", "201 200 500 409 200 500"},
			{"500:method=GET:path=/Users:count=1", "201 500 200 409 200 200"},
			{"500:nth=2", "201 500 200 409 200 200"},
			{"500:skip=4", "201 200 200 409 500 500"},
			{"500:for=30", "500 500 500 201 200 200"},
			{"500:for=1m", "500 500 500 201 200 200"},
		} {
			s := broken(t, row.fault)
			var got []string
			for range 2 {
				for _, r := range []struct{ method, path, body string }{{"POST", "/Users", user("ann")}, {"GET", "/Users", ""}, {"GET", "/Groups", ""}} {
					text, _, _ := outcome(t, s, r.method, r.path, r.body)
					got = append(got, strings.Fields(text)[0])
				}
				time.Sleep(time.Minute) // fake time
			}
			if text := strings.Join(got, " "); text != row.want {
				t.Errorf("%s: %s", row.fault, text)
			}
		}
	})
}

func TestChanceIsRepeatable(t *testing.T) {
	run := func(seed uint64) (text string) {
		s := simulator.New(simulator.Options{Seed: seed})
		inject(t, s, "500:chance=0.3")
		for range 200 {
			status, _, _ := call(t, s, "GET", "/Users", "")
			text += fmt.Sprint(status/500, "")
		}
		return text
	}
	first := run(1)
	if again := run(1); first != again || first == run(2) {
		t.Error("chance does not follow the seed")
	}
	if n := strings.Count(run(1), "1"); n < 30 || n > 90 {
		t.Errorf("%d of 200 were struck", n)
	}
}

func TestAFaultThatMeansNothingIsRefused(t *testing.T) {
	for _, text := range []string{
		"", "429x", "500:count=-1", "500:skip=x", "500:chance=2", "500:chance=-0.1", "500:for=never", "late:retry-after=-3s",
		"500:", "500:count=1:", "500:chance=NaN", "ignored:attr=[", "500:nth", "500:nonsense",
	} {
		if f, err := simulator.ParseFault(text); err == nil {
			t.Errorf("%q was taken for %+v", text, f)
		}
	}
	f, err := simulator.ParseFault("ignored:attr=" + scim.EnterpriseSchema + ":department:count=2")
	if want := (simulator.Fault{Name: "ignored", Attr: scim.EnterpriseSchema + ":department", Count: 2}); err != nil || f != want {
		t.Error(f, err)
	}
	if !slices.Contains(slices.Collect(maps.Keys(simulator.Faults())), "lost") {
		t.Error("faults do not explain themselves")
	}
}

func FuzzParseFault(f *testing.F) {
	f.Add("429:retry-after=30s:count=3:method=POST")
	f.Add("ignored:attr=emails[type eq \"work\"]")
	f.Fuzz(func(t *testing.T, text string) {
		fault, err := simulator.ParseFault(text)
		if err != nil {
			return
		}
		if fault.Count < 0 || fault.Skip < 0 || fault.RetryAfter < 0 || fault.Chance < 0 || fault.Chance > 1 {
			t.Fatalf("%q is %+v", text, fault)
		}
	})
}
