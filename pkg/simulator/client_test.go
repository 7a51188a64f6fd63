package simulator_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/simulator"
)

// direct carries a client's requests to a provider without a socket.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	in := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), r.Body)
	in.Header = r.Header
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, in)
	return rec.Result(), nil
}

// The product's own client makes, finds, changes, lists and deletes an account
// whatever the vendor's temper.
func TestTheClientGetsAlongWithEveryTemper(t *testing.T) {
	for name, b := range map[string]simulator.Behaviour{
		"strict":        {SchemasRequired: true, UserAgentRequired: true},
		"short answers": {PatchSuccess: "204"},
		"cursor pages":  {Paging: "cursor", PageDefault: 1},
		"no paging":     {Paging: "none"},
		"eq only":       {FilterOps: []string{"eq"}, FilterAttributes: []string{"userName", "externalId"}},
		"lower case":    {ResourcesKey: "resources", FoldUserName: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := behaves(t, b)
			client, err := scimhttp.New(scimhttp.Options{Endpoint: "https://acme.example", Transport: direct{s}, UserAgent: "Joinery"})
			if err != nil {
				t.Fatal(err)
			}
			made, err := client.Create(t.Context(), scim.Users, scim.Resource{"schemas": []any{scim.UserSchema}, "userName": "cy", "externalId": "7"})
			if err != nil {
				t.Fatal(err)
			}
			for attr, value := range map[string]string{"userName": "CY", "externalId": "7"} {
				if who, err := client.Find(t.Context(), scim.Users, attr, value); err != nil || len(who) != 1 || who[0].ID() != made.ID() {
					t.Error(attr, who, err)
				}
			}
			if _, err := client.Patch(t.Context(), scim.Users, made.ID(), made.Version(), []scim.Operation{{Op: "replace", Path: "active", Value: false}}); err != nil {
				t.Error(err)
			}
			read, err := client.Get(t.Context(), scim.Users, made.ID())
			if active, _ := read.Active(); err != nil || active {
				t.Error(read, err)
			}
			n := 0
			for _, err := range client.List(t.Context(), scim.Users) {
				if n++; err != nil {
					t.Fatal(err)
				}
			}
			if n != 3 {
				t.Error(n, "are listed")
			}
			if err := client.Delete(t.Context(), scim.Users, made.ID(), read.Version()); err != nil || s.Stats().Users != 2 {
				t.Error(err)
			}
		})
	}
}

// What cannot be read is an error, never fewer accounts.
func TestTheClientIsNotFooledByLists(t *testing.T) {
	for _, paging := range []string{"repeats", "endless"} {
		s := simulator.New(simulator.Options{PageMax: 1, Behaviour: simulator.Behaviour{Paging: paging}})
		if err := s.Seed(scim.Users, scim.Resource{"userName": "ann"}, scim.Resource{"userName": "bo"}); err != nil {
			t.Fatal(err)
		}
		client, err := scimhttp.New(scimhttp.Options{Endpoint: "https://acme.example", Transport: direct{s}})
		if err != nil {
			t.Fatal(err)
		}
		var failure error
		for _, err := range client.List(t.Context(), scim.Users) {
			failure = err
		}
		if failure == nil {
			t.Error(paging, "was read to its end")
		}
	}
}
