package scim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"pgregory.net/rapid"
)

func ids(ops []scim.BulkCall) (out []string) {
	for _, o := range ops {
		out = append(out, o.ID)
	}
	return out
}

func TestABulkRequestIsWrittenAsTheRFCHasIt(t *testing.T) {
	ops := []scim.BulkCall{
		{Method: "POST", ID: "u", Path: "/Users", Data: scim.Resource{"userName": "ann"}},
		{Method: "PATCH", ID: "g", Path: "/Groups/1", Version: `W/"3"`, Data: map[string]any{
			"Operations": []scim.Operation{{Op: "add", Path: "members", Value: []any{map[string]any{"value": scim.BulkRef("u")}}}},
		}},
		{Method: "DELETE", ID: "d", Path: "/Users/2"},
	}
	if err := scim.CheckBulk(ops); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(scim.BulkRequest(ops, 1))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Operations":[{"bulkId":"u","data":{"userName":"ann"},"method":"POST","path":"/Users"},` +
		`{"bulkId":"g","data":{"Operations":[{"op":"add","path":"members","value":[{"value":"bulkId:u"}]}]},"method":"PATCH","path":"/Groups/1","version":"W/\"3\""},` +
		`{"bulkId":"d","method":"DELETE","path":"/Users/2"}],"failOnErrors":1,"schemas":["` + scim.BulkSchema + `"]}`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Error(diff)
	}
	resolved, ok := ops[1].Resolved(map[string]string{"u": "77"})
	data, _ = json.Marshal(resolved)
	if want := `{"bulkId":"g","data":{"Operations":[{"op":"add","path":"members","value":[{"value":"77"}]}]},"method":"PATCH","path":"/Groups/1","version":"W/\"3\""}`; !ok || string(data) != want {
		t.Error(ok, string(data))
	}
	if _, ok := ops[1].Resolved(nil); ok {
		t.Error("a reference to nothing was resolved")
	}
	if body := scim.BulkRequest(ops, 0); body["failOnErrors"] != nil {
		t.Error(body)
	}
}

func TestOperationsThatAreNoBulkRequestAreRefused(t *testing.T) {
	for name, ops := range map[string][]scim.BulkCall{
		"no bulkId":            {{Method: "POST", Path: "/Users"}},
		"bulkId used twice":    {{Method: "DELETE", ID: "a", Path: "/Users/1"}, {Method: "DELETE", ID: "a", Path: "/Users/2"}},
		"GET":                  {{Method: "GET", ID: "a", Path: "/Users/1"}},
		"no path":              {{Method: "POST", ID: "a"}},
		"reference to nothing": {{Method: "POST", ID: "a", Path: "/Groups", Data: scim.Resource{"members": []any{"bulkId:b"}}}},
		"reference to a PUT":   {{Method: "PUT", ID: "b", Path: "/Users/1"}, {Method: "PATCH", ID: "a", Path: "/Groups/bulkId:b"}},
	} {
		if err := scim.CheckBulk(ops); !errors.Is(err, scim.ErrBulk) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResultsBelongToTheirBulkIDAndWhatIsNotReportedIsNotDone(t *testing.T) {
	ops := []scim.BulkCall{
		{Method: "POST", ID: "a", Path: "/Users"},
		{Method: "POST", ID: "b", Path: "/Users"},
		{Method: "PATCH", ID: "c", Path: "/Users/3"},
		{Method: "PATCH", ID: "d", Path: "/Users/4"},
		{Method: "DELETE", ID: "e", Path: "/Users/5"},
		{Method: "POST", ID: "f", Path: "/Users"},
	}
	got, err := scim.PairBulk(ops, []byte(`{"operations":[
		{"bulkId":"b","method":"POST","status":"409","response":{"detail":"taken"}},
		{"bulkId":"a","method":"POST","status":"201","location":"https://x/Users/1","version":"W/\"1\""},
		{"method":"patch","status":204,"location":"https://x/Users/3"},
		{"bulkId":"d","status":{"code":"200"}},
		{"bulkId":"e","status":"done"},
		{"bulkId":"f","status":"201"},{"bulkId":"f","status":"500"},
		{"bulkId":"stranger","status":"200"},{"method":"POST","status":"201","location":"https://x/Users/9"},7
	]}`))
	want := []scim.BulkEnd{
		{Reported: true, Status: 201, Location: "https://x/Users/1", Version: `W/"1"`},
		{Reported: true, Status: 409, Response: []byte(`{"detail":"taken"}`)},
		{Reported: true, Status: 204, Location: "https://x/Users/3"},
		{Reported: true, Status: 200},
		{}, // no status
		{}, // said twice
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, body := range []string{``, `{}`, `{"Operations":{}}`, `<html>`, `[]`} {
		if _, err := scim.PairBulk(ops, []byte(body)); err == nil {
			t.Errorf("%q was read", body)
		}
	}
	// Of two that could be meant, none is.
	same := []scim.BulkCall{{Method: "PATCH", ID: "a", Path: "/Users/1"}, {Method: "PATCH", ID: "b", Path: "/Users/1"}}
	got, err = scim.PairBulk(same, []byte(`{"Operations":[{"method":"PATCH","location":"https://x/Users/1","status":"200"}]}`))
	if err != nil || got[0].Reported || got[1].Reported {
		t.Error(got, err)
	}
}

func TestRequestsKeepToBothLimitsAndTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ops []scim.BulkCall
		for i := range rapid.IntRange(0, 40).Draw(t, "n") {
			ops = append(ops, scim.BulkCall{Method: "POST", ID: fmt.Sprint(i), Path: "/Users", Data: rapid.StringN(0, 200, 400).Draw(t, "data")})
		}
		most, size := rapid.IntRange(0, 10).Draw(t, "most"), rapid.IntRange(0, 2000).Draw(t, "size")
		var all []scim.BulkCall
		for _, chunk := range scim.SplitBulk(ops, most, size) {
			data, err := json.Marshal(scim.BulkRequest(chunk, 1))
			if err != nil {
				t.Fatal(err)
			}
			if len(chunk) == 0 || most > 0 && len(chunk) > most || size > 0 && len(data) > size && len(chunk) > 1 {
				t.Fatalf("%d operations, %d bytes", len(chunk), len(data))
			}
			all = append(all, chunk...)
		}
		if diff := cmp.Diff(ops, all); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestWhatRefersToWhatIsNotMadeWaitsAndItsFollowersToo(t *testing.T) {
	member := func(id string) any { return []any{map[string]any{"value": scim.BulkRef(id)}} }
	ops := []scim.BulkCall{
		{Method: "PATCH", ID: "1", Path: "/Groups/7", Data: member("later")},
		{Method: "POST", ID: "2", Path: "/Groups", Data: member("3")}, // made further down
		{Method: "POST", ID: "3", Path: "/Users"},
		{Method: "PATCH", ID: "4", Path: "/Groups/7", Data: member("known")},
		{Method: "POST", ID: "5", Path: "/Groups", Data: member("6")},
		{Method: "POST", ID: "6", Path: "/Groups", Data: member("later")},
		{Method: "PATCH", ID: "8", Path: "/Groups/8", Data: member("known")},
	}
	ready, waiting := scim.ReadyBulk(ops, map[string]string{"known": "77"})
	if diff := cmp.Diff([]string{"2", "3", "8"}, ids(ready)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"1", "4", "5", "6"}, ids(waiting)); diff != "" {
		t.Error(diff)
	}
	if data, _ := json.Marshal(ready[2].Data); string(data) != `[{"value":"77"}]` {
		t.Error(string(data))
	}
}
