package config

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/token/tokentest"
	"golang.org/x/tools/txtar"
)

// keyed is a folder of sources, with files of keys beside them.
func keyed(t *testing.T, sources map[string]string) string {
	t.Helper()
	a := &txtar.Archive{Files: []txtar.File{
		{Name: "keys/good.json", Data: tokentest.Set(t, tokentest.NewKey(t, "k1", "ES256"))},
		{Name: "keys/empty.json", Data: []byte(`{"keys":[]}`)},
		{Name: "keys/large.json", Data: make([]byte, maxKeyFile+1)},
	}}
	for name, jwks := range sources {
		a.Files = append(a.Files, txtar.File{Name: "sources/" + name + ".yaml", Data: []byte(
			"source: " + name + "\nidentity_key: event.subject\nauth:\n  jwks: " + jwks + "\n")})
	}
	return folder(t, a)
}

func TestKeysOfASourceAreRead(t *testing.T) {
	dir := keyed(t, map[string]string{
		"idp":   `{ url: "https://idp.example/jwks", issuer: "https://idp.example", audience: [a, b], algorithms: [ES384] }`,
		"inner": `{ url: "http://10.0.0.7/jwks", issuer: i, audience: [a], allow_private: true }`,
		"local": `{ file: keys/good.json, issuer: i, audience: [a] }`,
	})
	defaults := []string{"RS256", "PS256", "ES256", "EdDSA"}
	want := map[string]*JWKS{
		"idp":   {URL: "https://idp.example/jwks", Issuer: "https://idp.example", Audience: []string{"a", "b"}, Algorithms: []string{"ES384"}},
		"inner": {URL: "http://10.0.0.7/jwks", Issuer: "i", Audience: []string{"a"}, Algorithms: defaults, AllowPrivate: true},
		"local": {File: filepath.Join(dir, "keys/good.json"), Issuer: "i", Audience: []string{"a"}, Algorithms: defaults},
	}
	got := map[string]*JWKS{}
	for name, s := range loaded(t, dir).Sources {
		got[name] = s.Auth.JWKS
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWrongKeysOfASourceHaveTheirPlace(t *testing.T) {
	for jwks, want := range map[string]string{
		`{ issuer: i, audience: [a] }`: `4:9: it is not said where the keys are: write url or file`,
		`{ url: "https://x.example", file: keys/good.json, issuer: i, audience: [a] }`:  `4:43: the keys are in one place: write url or file`,
		`{ url: "http://x.example", issuer: i, audience: [a] }`:                         `4:16: keys are fetched over https only: whoever can change them on their way can sign`,
		`{ url: "https://localhost/x", issuer: i, audience: [a] }`:                      `4:16: localhost is a private address: if that is meant, write allow_private: true`,
		`{ url: "https://u:hunter2@x.example", issuer: i, audience: [a] }`:              `4:16: a URL holds no user and no password here: no secret is ever written`,
		`{ url: "idp.example", issuer: i, audience: [a] }`:                              `4:16: this is not a web address: it must begin with https:// or http://`,
		`{ file: keys/none.json, issuer: i, audience: [a] }`:                            `4:17: the file keys/none.json cannot be read`,
		`{ file: keys, issuer: i, audience: [a] }`:                                      `4:17: keys is not a file of at most 256 KiB`,
		`{ file: keys/large.json, issuer: i, audience: [a] }`:                           `4:17: keys/large.json is not a file of at most 256 KiB`,
		`{ file: keys/empty.json, issuer: i, audience: [a] }`:                           `4:17: keys/empty.json is not a key set (RFC 7517) with a public key for signatures`,
		`{ file: keys/good.json, audience: [a] }`:                                       `4:9: issuer is missing`,
		`{ file: keys/good.json, issuer: "", audience: [a] }`:                           `4:41: issuer is empty`,
		`{ file: keys/good.json, issuer: i }`:                                           `4:9: audience is missing`,
		`{ file: keys/good.json, issuer: i, audience: [] }`:                             `4:54: a list of 0 is too little: at least 1`,
		`{ file: keys/good.json, issuer: i, audience: [a, " "] }`:                       `4:58: an audience is empty: a token for nobody is for anybody`,
		`{ file: keys/good.json, issuer: i, audience: [a], algorithms: [none] }`:        `4:72: "none" is not allowed here: write one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA`,
		`{ file: keys/good.json, issuer: i, audience: [a], algorithms: [ES256, HS256]}`: `4:79: "HS256" is not allowed here: write one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA (did you mean RS256?)`,
		`{ file: keys/good.json, issuer: i, audience: [a], algorithms: [] }`:            `4:71: a list of 0 is too little: at least 1`,
	} {
		_, err := Load(keyed(t, map[string]string{"idp": jwks}), environment)
		if err == nil || err.Error() != "sources/idp.yaml:"+want {
			t.Errorf("%s\ngot  %v\nwant sources/idp.yaml:%s", jwks, err, want)
		}
	}
}
