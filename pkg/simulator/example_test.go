package simulator_test

import (
	"fmt"
	"net/http/httptest"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
)

// A provider that refuses the first request, and after that answers PATCH as
// shortly as some vendors do.
func ExampleNew() {
	s := simulator.New(simulator.Options{
		Base: "/scim/v2", Behaviour: simulator.Behaviour{PatchSuccess: "204", FilterOps: []string{"eq"}},
	})
	fault, err := simulator.ParseFault("429:retry-after=5s:count=1")
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Inject(fault)
	for range 2 {
		body := strings.NewReader(`{"schemas":["` + scim.UserSchema + `"],"userName":"bjensen"}`)
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, httptest.NewRequest("POST", "/scim/v2/Users", body))
		fmt.Println(answer.Code, answer.Header().Get("Retry-After")+answer.Header().Get("Location"))
	}
	for _, c := range s.Commits() {
		fmt.Println(c.Verb, c.Kind, c.ID)
	}
	// Output:
	// 429 5
	// 201 /scim/v2/Users/000001
	// create Users 000001
}
