package simulator_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
)

// What a search costs among 5,000 users, so that a demo measures Joinery and
// not its target.
func BenchmarkSearchAmong5000(b *testing.B) {
	s := simulator.New(simulator.Options{})
	for i := range 5000 {
		if err := s.Seed(scim.Users, scim.Resource{"userName": fmt.Sprint("user", i), "externalId": fmt.Sprint(i)}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, httptest.NewRequest("GET", "/Users?filter=externalId+eq+%224999%22", nil))
		if answer.Code != 200 {
			b.Fatal(answer.Code)
		}
	}
}
