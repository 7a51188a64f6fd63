package ingest_test

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/services/ingest"
)

var oneEvent = told("e-1", "joined", "1001", "")

// sum is the raw signature of a body.
func sum(body string) []byte {
	raw, err := hex.DecodeString(sign(body))
	if err != nil {
		panic(err)
	}
	return raw
}

func TestSignatureIsTakenInAllUsualSpellings(t *testing.T) {
	raw := sum(oneEvent)
	for name, value := range map[string]string{
		"hex":                        hex.EncodeToString(raw),
		"hex in upper case":          strings.ToUpper(hex.EncodeToString(raw)),
		"hex with a prefix":          "sha256=" + hex.EncodeToString(raw),
		"base64":                     base64.StdEncoding.EncodeToString(raw),
		"base64 without padding":     base64.RawStdEncoding.EncodeToString(raw),
		"base64 for URLs":            base64.URLEncoding.EncodeToString(raw),
		"base64 with a prefix":       "sha256=" + base64.StdEncoding.EncodeToString(raw),
		"unpadded base64 for URLs":   base64.RawURLEncoding.EncodeToString(raw),
		"base64 for URLs, prefixed ": "sha256=" + base64.URLEncoding.EncodeToString(raw),
	} {
		t.Run(name, func(t *testing.T) {
			if w := open(t).post(structured, oneEvent, "X-Signature", value); w.Code != http.StatusAccepted {
				t.Errorf("got %d: %s", w.Code, w.Body)
			}
		})
	}
}

func TestForgedSignatureIsRefused(t *testing.T) {
	good := sign(oneEvent)
	std := base64.StdEncoding.EncodeToString(sum(oneEvent))
	for name, value := range map[string]string{
		"none":                       "",
		"nothing after the prefix":   "sha256=",
		"another prefix":             "sha1=" + good,
		"a prefix in upper case":     "SHA256=" + good,
		"the prefix twice":           "sha256=sha256=" + good,
		"a space before it":          "sha256= " + good,
		"one digit too few":          good[:63],
		"one digit too many":         good + "0",
		"two digits too many":        good + "00",
		"hex in both cases":          strings.ToUpper(good[:32]) + good[32:],
		"no hex":                     strings.Repeat("z", 64),
		"base64 with stray bits":     std[:42] + next(std[42]) + "=",
		"too much padding":           std + "=",
		"the signature of nothing":   sign(""),
		"a signature of other bytes": sign(oneEvent + "\n"),
		"two in one":                 good + "," + good,
		"all zeroes":                 strings.Repeat("0", 64),
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			d.refused(t, d.post(structured, oneEvent, "X-Signature", value), http.StatusUnauthorized, "")
		})
	}
}

// next is the base64 letter after c, whose last bit differs.
func next(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return string(alphabet[strings.IndexByte(alphabet, c)+1])
}

func TestNoBitOfSignatureOrBodyMayChange(t *testing.T) {
	d := open(t)
	good := "sha256=" + sign(oneEvent)
	for i := range len(good) * 8 {
		value := []byte(good)
		value[i/8] ^= 1 << (i % 8)
		if w := d.post(structured, oneEvent, "X-Signature", string(value)); w.Code == http.StatusAccepted {
			t.Fatalf("accepted with bit %d of the signature flipped: %q", i, value)
		}
	}
	for i := range len(oneEvent) * 8 {
		body := []byte(oneEvent)
		body[i/8] ^= 1 << (i % 8)
		if w := d.post(structured, string(body), "X-Signature", good); w.Code != http.StatusUnauthorized {
			t.Fatalf("got %d with bit %d of the body flipped", w.Code, i)
		}
	}
	equal(t, []string{}, d.journal.ids())
}

func TestSecondSignatureHeaderIsRefused(t *testing.T) {
	d := open(t)
	r := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(oneEvent))
	r.Header.Set("Content-Type", structured)
	r.Header["X-Signature"] = []string{sign(oneEvent), sign(oneEvent)}
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, r)
	d.refused(t, w, http.StatusUnauthorized, "")
}

func TestConfiguredPrefixIsRequired(t *testing.T) {
	prefixed := source("hr", ingest.HMAC{Header: "X-Signature", Prefix: "v1=", Secrets: [][]byte{[]byte(secret)}})
	for value, status := range map[string]int{
		"v1=" + sign(oneEvent):        http.StatusAccepted,
		sign(oneEvent):                http.StatusUnauthorized,
		"sha256=" + sign(oneEvent):    http.StatusUnauthorized,
		"v1=sha256=" + sign(oneEvent): http.StatusUnauthorized,
		"v1=v1=" + sign(oneEvent):     http.StatusUnauthorized,
	} {
		if w := open(t, prefixed).post(structured, oneEvent, "X-Signature", value); w.Code != status {
			t.Errorf("%s: got %d, want %d", value, w.Code, status)
		}
	}
}

func TestSecretsCanBeRotated(t *testing.T) {
	both := source("hr", ingest.HMAC{Header: "X-Signature", Secrets: [][]byte{[]byte("the-new-one"), []byte(secret)}})
	if w := open(t, both).post(structured, oneEvent); w.Code != http.StatusAccepted {
		t.Errorf("the old secret is refused: %s", w.Body)
	}
}

func TestBearerAndBasicAdmitOnlyTheirOwn(t *testing.T) {
	bearer := source("hr", ingest.Bearer{Tokens: []string{"token-one", "token-two"}})
	basic := source("hr", ingest.Basic{Username: "hr", Password: "pass:word"})
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, row := range []struct {
		name          string
		source        ingest.Source
		authorization string
		status        int
	}{
		{"the first token", bearer, "Bearer token-one", http.StatusAccepted},
		{"the second token", bearer, "Bearer token-two", http.StatusAccepted},
		{"the scheme in lower case", bearer, "bearer token-one", http.StatusAccepted},
		{"no header", bearer, "", http.StatusUnauthorized},
		{"no token", bearer, "Bearer ", http.StatusUnauthorized},
		{"the scheme alone", bearer, "Bearer", http.StatusUnauthorized},
		{"another token", bearer, "Bearer token-three", http.StatusUnauthorized},
		{"the beginning of a token", bearer, "Bearer token-on", http.StatusUnauthorized},
		{"more than a token", bearer, "Bearer token-one2", http.StatusUnauthorized},
		{"the token in upper case", bearer, "Bearer TOKEN-ONE", http.StatusUnauthorized},
		{"the token as basic", bearer, "Basic token-one", http.StatusUnauthorized},
		{"the token without a scheme", bearer, "token-one", http.StatusUnauthorized},
		{"two tokens", bearer, "Bearer token-one token-two", http.StatusUnauthorized},

		{"user and password", basic, "Basic " + encode("hr:pass:word"), http.StatusAccepted},
		{"another password", basic, "Basic " + encode("hr:pass"), http.StatusUnauthorized},
		{"another user", basic, "Basic " + encode("it:pass:word"), http.StatusUnauthorized},
		{"no password", basic, "Basic " + encode("hr"), http.StatusUnauthorized},
		{"an empty password", basic, "Basic " + encode("hr:"), http.StatusUnauthorized},
		{"no base64", basic, "Basic hr:pass:word", http.StatusUnauthorized},
		{"nothing", basic, "Basic ", http.StatusUnauthorized},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := open(t, row.source)
			w := d.post(structured, oneEvent, "Authorization", row.authorization)
			if w.Code != row.status {
				t.Errorf("got %d, want %d: %s", w.Code, row.status, w.Body)
			}
			if (len(d.journal.ids()) == 1) != (row.status == http.StatusAccepted) {
				t.Errorf("answered %d and stored %v", w.Code, d.journal.ids())
			}
		})
	}
}

func TestUnauthorizedAnswerGivesNoHint(t *testing.T) {
	d := open(t, hr(), source("idp", ingest.Bearer{Tokens: []string{"token-one"}}))
	var answers []string
	for _, headers := range [][]string{
		{"X-Signature", ""},
		{"X-Signature", strings.Repeat("0", 64)},
		{"X-Signature", "", "Authorization", "Bearer wrong"},
		{"X-Joinery-Source", "nobody"},
		{"X-Joinery-Source", "idp"},
		{"X-Signature", strings.Repeat("0", 64), "X-Joinery-Source", "hr"},
	} {
		w := d.post(structured, oneEvent, headers...)
		if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%v: got %d, %v", headers, w.Code, w.Header())
		}
		answers = append(answers, w.Body.String())
	}
	for _, a := range answers {
		equal(t, answers[0], a)
	}
}

func TestSourceIsNamedOrFoundByItsCredential(t *testing.T) {
	sources := []ingest.Source{
		hr(),
		source("idp", ingest.Bearer{Tokens: []string{"token-idp"}}),
		source("iga", ingest.Bearer{Tokens: []string{"token-iga"}}),
		source("twin", ingest.Bearer{Tokens: []string{"token-iga"}}),
	}
	for _, row := range []struct {
		name    string
		query   string
		headers []string
		source  string
		status  int
	}{
		{"found by its signature", "", nil, "hr", http.StatusAccepted},
		{"found by its token", "", []string{"Authorization", "Bearer token-idp", "X-Signature", ""}, "idp", http.StatusAccepted},
		{"named in the header", "", []string{"Authorization", "Bearer token-iga", "X-Joinery-Source", "twin"}, "twin", http.StatusAccepted},
		{"named in the query", "?source=iga", []string{"Authorization", "Bearer token-iga"}, "iga", http.StatusAccepted},
		{"named in both: the header counts", "?source=iga", []string{"Authorization", "Bearer token-iga", "X-Joinery-Source", "twin"}, "twin", http.StatusAccepted},
		{"named, but with another's credential", "?source=iga", []string{"Authorization", "Bearer token-idp"}, "", http.StatusUnauthorized},
		{"two of one credential, none named", "", []string{"Authorization", "Bearer token-iga", "X-Signature", ""}, "", http.StatusBadRequest},
		{"two credentials of two sources", "", []string{"Authorization", "Bearer token-idp"}, "", http.StatusBadRequest},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := open(t, sources...)
			r := httptest.NewRequest(http.MethodPost, "/v1/events"+row.query, strings.NewReader(oneEvent))
			r.Header.Set("Content-Type", structured)
			r.Header.Set("X-Signature", sign(oneEvent))
			for i := 0; i < len(row.headers); i += 2 {
				if r.Header.Set(row.headers[i], row.headers[i+1]); row.headers[i+1] == "" {
					r.Header.Del(row.headers[i])
				}
			}
			w := httptest.NewRecorder()
			d.Handler().ServeHTTP(w, r)
			if w.Code != row.status {
				t.Fatalf("got %d: %s", w.Code, w.Body)
			}
			if row.source != "" {
				equal(t, row.source, d.journal.events[event.IDOf(row.source, "e-1")].Event.GetSource())
			}
		})
	}
}

func TestNothingIsParsedBeforeTheSourceIsProved(t *testing.T) {
	d := open(t)
	w := d.post(structured, `{"not": "an event", "Not": 1`, "X-Signature", strings.Repeat("a", 64))
	d.refused(t, w, http.StatusUnauthorized, "")
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body of a request without a credential was read")
	return 0, http.ErrBodyReadAfterClose
}

func TestBodyOfARequestWithoutCredentialIsNotRead(t *testing.T) {
	d := open(t, hr(), source("idp", ingest.Bearer{Tokens: []string{"token-idp"}}))
	for _, headers := range []http.Header{
		{"Content-Type": {structured}},
		{"Content-Type": {structured}, "Authorization": {"Bearer guess"}},
		{"Content-Type": {structured}, "X-Signature": {"guess"}},
	} {
		r := httptest.NewRequest(http.MethodPost, "/v1/events", unread{t})
		r.Header = headers
		w := httptest.NewRecorder()
		d.Handler().ServeHTTP(w, r)
		d.refused(t, w, http.StatusUnauthorized, "")
	}
}

func TestFloodOfForgeriesIsCountedAndBarelyLogged(t *testing.T) {
	d := open(t)
	for range 500 {
		d.post(structured, oneEvent, "X-Signature", strings.Repeat("0", 64))
	}
	if n := strings.Count(d.log.String(), "\n"); n > 5 {
		t.Errorf("%d lines for 500 forgeries", n)
	}
	if n := len(d.spans.GetSpans()); n != 0 {
		t.Errorf("%d spans for 500 forgeries", n)
	}
	if got := d.scrape(t); !strings.Contains(got, `joinery_ingest_refused_total{reason="unauthorized",source="unknown"} 500`) {
		t.Errorf("forgeries are not counted:\n%s", got)
	}
}

func TestSourcesAreValidatedAllAtOnce(t *testing.T) {
	bad := []ingest.Source{
		{Name: "HR.eu"},
		source("a", ingest.HMAC{}),
		source("b", ingest.Bearer{}),
		source("c", ingest.Basic{Username: "x:y", Password: "p"}),
		source("d", ingest.HMAC{Header: "X", Secrets: [][]byte{{}}}),
		source("e", ingest.Bearer{Tokens: []string{""}}),
		hr(), hr(),
	}
	d := open(t)
	err := d.Reload(bad)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`source "HR.eu": the name`, `source "HR.eu": no credential`, `source "HR.eu": no rules`,
		`source "a": hmac_sha256: no header`, "hmac_sha256: no secret", `source "b": bearer`, `source "c": basic`,
		`source "d": hmac_sha256: no secret`, `source "e": bearer`, `source "hr": there are two`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	if w := d.post(structured, oneEvent); w.Code != http.StatusAccepted {
		t.Errorf("a refused reload changed the sources: %s", w.Body)
	}
}

func TestReloadPutsOtherSourcesInForce(t *testing.T) {
	d := open(t)
	if err := d.Reload([]ingest.Source{source("idp", ingest.Bearer{Tokens: []string{"token-idp"}})}); err != nil {
		t.Fatal(err)
	}
	if w := d.post(structured, oneEvent); w.Code != http.StatusUnauthorized {
		t.Errorf("the old source is admitted: %d", w.Code)
	}
	if w := d.post(structured, oneEvent, "Authorization", "Bearer token-idp"); w.Code != http.StatusAccepted {
		t.Errorf("the new source is refused: %d", w.Code)
	}
}
