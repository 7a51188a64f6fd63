package joinery

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/services/joinery/company"
)

// Nothing is global: two whole Joinerys play two companies in one process, and
// both prove their result, one of them from events in any order.
func TestTwoDemosInOneProcessBothEndWithTheirTable(t *testing.T) {
	var both sync.WaitGroup
	for seed, disorder := range map[string]string{"3": "--disorder=false", "4": "--disorder"} {
		both.Go(func() {
			var out, errs bytes.Buffer
			code := Main([]string{"demo", "--people", "40", "--seed", seed, disorder, "--data", t.TempDir(), "--json"}, nil, &out, &errs)
			var v verdict
			if err := json.Unmarshal(out.Bytes(), &v); err != nil || code != ExitOK || !v.Match || len(v.Targets) != 3 {
				t.Errorf("seed %s: exit code %d, %v\n%s\n%s", seed, code, err, out.String(), errs.String())
			}
		})
	}
	both.Wait()
}

// The verdict must be able to say no.
func TestTheVerdictSeesEveryKindOfDifference(t *testing.T) {
	c := company.New(company.Options{Seed: 7, People: 10})
	target := theatres()[0]
	if r := target.compare(c, nil); r.Differing != r.Wanted || r.Found != 0 {
		t.Errorf("nobody there: %+v", r)
	}
	var accounts []map[string]any
	for _, p := range c.People {
		enterprise := map[string]any{"department": p.Department}
		if p.Manager != nil {
			enterprise["manager"] = map[string]any{"value": "id-" + p.Manager.ID}
		}
		accounts = append(accounts, map[string]any{
			"id": "id-" + p.ID, "externalId": p.ID, "active": p.Active(), "userName": p.Email(), "title": p.Title,
			"name":                map[string]any{"givenName": p.First, "familyName": p.Last},
			"emails":              []any{map[string]any{"type": "work", "value": p.Email()}},
			scim.EnterpriseSchema: enterprise,
		})
	}
	check := func(want int, what string) {
		t.Helper()
		if r := target.compare(c, resources(accounts)); r.Differing != want {
			t.Errorf("%s: %+v", what, r)
		}
	}
	check(0, "all right")
	accounts[0]["title"] = "wrong"
	check(1, "a wrong title")
	accounts = append(accounts, accounts[1])
	check(2, "an account twice")
	accounts = append(accounts, map[string]any{"externalId": "stranger"})
	check(3, "an account of nobody")
}

func TestEveryCommandExplainsItself(t *testing.T) {
	for _, args := range [][]string{
		{"--help"},
		{"up", "--help"},
		{"demo", "--help"},
		{"sim", "--help"},
		{"send", "--help"},
		{"validate", "--help"},
		{"identity", "--help"},
		{"trace", "--help"},
		{"targets", "--help"},
		{"targets", "pause", "--help"},
		{"deadletter", "--help"},
		{"deadletter", "replay", "--help"},
		{"reconcile", "--help"},
		{"topology", "--help"},
	} {
		var out, errs bytes.Buffer
		if code := Main(args, nil, &out, &errs); code != ExitOK || !strings.Contains(out.String(), "Usage:") {
			t.Errorf("%v: exit code %d\n%s%s", args, code, out.String(), errs.String())
		}
	}
}

func TestAWrongCommandLineSaysWhatToDo(t *testing.T) {
	for line, want := range map[string]string{
		"nonsense":                  "unknown command",
		"identity":                  "takes the key of one person",
		"reconcile a b":             "takes the name of one target",
		"up --nonsense":             "unknown flag",
		"validate a b":              "one folder at most",
		"send":                      "takes one file",
		"send /does/not/exist":      "open the events",
		"validate /does/not/exist":  "/does/not/exist",
		"sim --fault nonsense":      "no fault is named",
		"deadletter replay":         "takes the ids of cases",
		"up --config /no/such/path": "/no/such/path",
	} {
		var out, errs bytes.Buffer
		code := Main(strings.Fields(line), nil, &out, &errs)
		if code != ExitUsage || !strings.Contains(errs.String()+out.String(), want) {
			t.Errorf("%s: exit code %d\n%s%s", line, code, out.String(), errs.String())
		}
	}
}

func resources(in []map[string]any) []scim.Resource {
	out := make([]scim.Resource, len(in))
	for i, m := range in {
		out[i] = m
	}
	return out
}

func TestAMistypedCommandIsRefused(t *testing.T) {
	for _, args := range [][]string{{"targets", "puase", "acme"}, {"deadletter", "replya", "x"}, {"profiles", "lst"}} {
		var out, errs bytes.Buffer
		if code := Main(args, nil, &out, &errs); code != ExitUsage || out.Len() > 0 || errs.Len() == 0 {
			t.Error(args, code, out.String(), errs.String())
		}
	}
}

// Nothing was decided: that is a failure, and no list of cases.
func TestACaseThatIsNotThereIsAnError(t *testing.T) {
	console := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"title":"not found","status":404,"detail":"there is no case nosuch"}`)
	}))
	defer console.Close()
	var out, errs bytes.Buffer
	code := Main([]string{"deadletter", "--console", console.URL, "replay", "nosuch"}, nil, &out, &errs)
	if code != ExitFailed || out.Len() > 0 || !strings.Contains(errs.String(), "there is no case nosuch") {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
}
