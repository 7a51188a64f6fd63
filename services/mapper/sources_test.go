package mapper_test

import (
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/services/mapper"
)

// mailed shows the mail.
func mailed(p mapping.Person) (mapping.Result, error) {
	name, _ := p.Attributes["email"].(string)
	return mapping.Result{Assigned: p.Active, Resource: scim.Resource{"userName": name}}, nil
}

func TestASourceWithPrecedenceIsBelievedAgainstANewerOne(t *testing.T) {
	targets := mapper.Targets{"acme": live(mailed)}
	d := newDesk(t, targets)
	d.Heed(mapper.Sources{Precedence: map[string][]string{"email": {"idp"}}})
	idp := event("e2", "changed", time.Hour, map[string]any{"email": "idp@b.c"})
	idp.Source = "idp"
	d.handle(event("e1", "joined", 0, map[string]any{"email": "hr@b.c"}), idp,
		event("e3", "changed", 2*time.Hour, map[string]any{"email": "new@b.c"}))
	d.same([]string{"idp@b.c"}, d.names("1001"))

	d.Heed(mapper.Sources{})
	if affected, err := d.Recompute(t.Context(), targets, "config-2"); err != nil || affected != 1 {
		t.Error("a precedence taken away changes whom it concerned:", affected, err)
	}
	d.same([]string{"new@b.c"}, d.names("1001"))
}
