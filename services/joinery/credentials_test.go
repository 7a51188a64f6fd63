package joinery

import (
	"strings"
	"testing"
	"time"

	"github.com/joinery/joinery/services/deadletter"
)

func TestTargetsShowTellsWhenCredentialsEnd(t *testing.T) {
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	v := deadletter.TargetView{Credentials: []deadletter.Credential{
		{Credential: "client certificate", Expires: now.Add(-30 * time.Hour)},
		{Credential: "bearer token", Expires: now.Add(time.Hour)},
		{Credential: "credential (expires)", Expires: now.Add(240 * time.Hour)},
	}}
	var b strings.Builder
	writeCredentials(&b, v, now)
	want := []string{
		"", "CREDENTIAL EXPIRES", "client certificate ended on 2027-02-28 (1 days ago)",
		"bearer token ends on 2027-03-01 (within a day)", "credential (expires) ends on 2027-03-11 (in 10 days)", "",
	}
	for i, line := range strings.Split(b.String(), "\n") {
		if got := strings.Join(strings.Fields(line), " "); i >= len(want) || got != want[i] {
			t.Errorf("line %d: %q", i, got)
		}
	}
	b.Reset()
	if writeCredentials(&b, deadletter.TargetView{}, now); b.Len() > 0 {
		t.Error(b.String())
	}
}
