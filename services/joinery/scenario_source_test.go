package joinery_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/scim"
)

// sendFrom posts an event of another source than hr, which proves itself with a
// password: "SOURCE ID KIND DATA".
func (s *scene) sendFrom(source, args string) {
	s.Helper()
	id, rest, _ := strings.Cut(args, " ")
	kind, data, _ := strings.Cut(rest, " ")
	body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":%q,"type":%q,"time":%q,"data":%s}`,
		id, "/"+source, kind, time.Now().UTC().Format(time.RFC3339), data)
	req := httptest.NewRequestWithContext(s.Context(), http.MethodPost, "/v1/events", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/cloudevents+json")
	req.SetBasicAuth(source, "secret")
	rec := httptest.NewRecorder()
	s.parts["ingest"].Handler.ServeHTTP(rec, req)
	if rec.Code != http.StatusAccepted {
		s.Fatalf("event of %s: %d %s", source, rec.Code, rec.Body)
	}
	r, err := scim.Parse(rec.Body.Bytes())
	check(s, err)
	joinery, _ := r["id"].(string)
	s.events[joinery] = id
}
