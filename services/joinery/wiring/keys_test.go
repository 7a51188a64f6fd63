package wiring

import (
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/telemetry"
	"github.com/joinery/joinery/pkg/token"
	"github.com/joinery/joinery/pkg/token/tokentest"
	"github.com/joinery/joinery/services/ingest"
)

// folderOf is a folder of sources whose keys are at the URLs.
func folderOf(t *testing.T, urls map[string]string, more string) *config.Folder {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sources"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, url := range urls {
		text := "source: " + name + "\nidentity_key: event.subject\nauth: { jwks: { url: \"" + url +
			"\", issuer: i, audience: [a], algorithms: [ES256]" + more + " } }\n"
		if err := os.WriteFile(filepath.Join(dir, "sources", name+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := config.Load(dir, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func base(t *testing.T) *Base {
	t.Helper()
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "ingest", Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	return &Base{telemetry: tel}
}

func verifierOf(t *testing.T, sources []ingest.Source, i int) *token.Verifier {
	t.Helper()
	c, ok := sources[i].Credentials[0].(ingest.JWT)
	if !ok {
		t.Fatalf("credential %T", sources[i].Credentials[0])
	}
	return c.Verifier
}

func TestKeysAreNotFetchedFromInsideUnlessAllowed(t *testing.T) {
	key := tokentest.NewKey(t, "k1", "ES256")
	issuer := &tokentest.Issuer{}
	issuer.Publish(tokentest.Set(t, key))
	server := httptest.NewServer(issuer)
	defer server.Close()
	text := key.Sign(t, "", map[string]any{"iss": "i", "aud": "a"})
	for _, allow := range []bool{false, true} {
		folder := folderOf(t, map[string]string{"idp": server.URL}, ", allow_private: true")
		folder.Sources["idp"].Auth.JWKS.AllowPrivate = allow // a name can lead inside when nobody looks any more
		sources, err := doors(folder, base(t).newRing())
		if err != nil {
			t.Fatal(err)
		}
		_, err = verifierOf(t, sources, 0).Verify(t.Context(), text, "")
		if refused := errors.Is(err, token.ErrUnavailable) && errors.Is(err, scimhttp.ErrForbiddenAddress); refused == allow || (allow && err != nil) {
			t.Errorf("allowed %v: %v", allow, err)
		}
	}
	if n := issuer.Fetches(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestReadingTheFolderAgainKeepsTheKeys(t *testing.T) {
	ring := base(t).newRing()
	first, err := doors(folderOf(t, map[string]string{"a": "https://a.example/", "b": "https://b.example/", "c": "https://b.example/"}, ""), ring)
	if err != nil {
		t.Fatal(err)
	}
	again, err := doors(folderOf(t, map[string]string{"a": "https://a.example/moved", "b": "https://b.example/"}, ""), ring)
	if err != nil {
		t.Fatal(err)
	}
	if verifierOf(t, first, 1).Keys != verifierOf(t, first, 2).Keys || verifierOf(t, first, 1).Keys != verifierOf(t, again, 1).Keys {
		t.Error("keys of one place are held twice")
	}
	if verifierOf(t, first, 0).Keys == verifierOf(t, again, 0).Keys {
		t.Error("the keys of a place are used for another")
	}
	got := verifierOf(t, again, 0)
	want := token.Verifier{Issuer: "i", Audience: []string{"a"}, Algorithms: []string{"ES256"}}
	if diff := cmp.Diff(want, token.Verifier{Issuer: got.Issuer, Audience: got.Audience, Algorithms: got.Algorithms}); diff != "" {
		t.Error(diff)
	}
}
