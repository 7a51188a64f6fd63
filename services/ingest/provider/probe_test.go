package provider_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/probe"
	"github.com/joinery/joinery/pkg/scimhttp"
)

// TestTheProbeFindsTheDoorKeepingSCIM asks the door what every target is asked by
// `joinery probe --write`. One check is not kept, by intent: attributes that no
// schema knows are taken, because a mapping may want them (provider.accepted).
func TestTheProbeFindsTheDoorKeepingSCIM(t *testing.T) {
	b := start(t)
	defer b.stop()
	src := scimSource(t, byExternalID())
	server := httptest.NewUnstartedServer(nil)
	src.PublicURL = "http://" + server.Listener.Addr().String()
	d := b.scimOf(t, src)
	server.Config.Handler = d.service.Handler()
	server.Start()
	defer server.Close()
	d.insist(http.StatusCreated, "POST", "/Users", wholeAnn)
	d.insist(http.StatusCreated, "POST", "/Users", bobUser)
	client, err := scimhttp.New(scimhttp.Options{
		Endpoint: server.URL + "/scim/v2/idp", AllowPrivate: true, UserAgent: "joinery-probe", Auth: scimhttp.Bearer{Token: func() (string, error) { return secret, nil }},
	})
	if err != nil {
		t.Fatal(err)
	}
	report, err := probe.Run(t.Context(), client, probe.Options{Target: "door", Endpoint: server.URL, Write: true, Mark: "x7", Settle: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	notKept := map[string]probe.Verdict{}
	for _, c := range report.Checks {
		if c.Verdict != probe.Kept {
			notKept[c.ID] = c.Verdict
			t.Logf("%s: %s: %s", c.ID, c.Title, c.Evidence)
		}
	}
	if diff := cmp.Diff(map[string]probe.Verdict{"patch.unknown": probe.Broken}, notKept); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(report.Checks) < 40 || len(report.Left) > 0 {
		t.Errorf("%d checks, left %v", len(report.Checks), report.Left)
	}
	if diff := cmp.Diff(map[string]probe.Quirk{}, report.Quirks); diff != "" {
		t.Errorf("quirks (-want +got)\n%s", diff)
	}
}
