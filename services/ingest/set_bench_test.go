package ingest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/token/tokentest"
)

// BenchmarkSET is what one token costs the door, without the broker: one that is
// taken, and one whose signature is forged.
func BenchmarkSET(b *testing.B) {
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA"} {
		issuer := &tokentest.Issuer{}
		key, thief := tokentest.NewKey(b, "k1", algorithm), tokentest.NewKey(b, "k1", algorithm)
		issuer.Publish(tokentest.Set(b, key))
		s, _ := over(b, &memory{}, &lines{}, nil, tokenSource(b, issuer, mapping.SourceSpec{IdentityKey: keyRule}))
		for name, signer := range map[string]tokentest.Key{"taken": key, "forged": thief} {
			b.Run(algorithm+"/"+name, func(b *testing.B) {
				claims := stating("set", riscEvent+"account-disabled", nil, nil)
				var texts []string
				for i := range 1000 {
					claims["jti"] = fmt.Sprint(i)
					texts = append(texts, signer.Sign(b, "secevent+jwt", claims))
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					r := httptest.NewRequest(http.MethodPost, "/v1/sets/idp", strings.NewReader(texts[i%len(texts)]))
					r.Header.Set("Content-Type", setMedia)
					w := httptest.NewRecorder()
					s.Handler().ServeHTTP(w, r)
					if (w.Code == http.StatusAccepted) != (name == "taken") {
						b.Fatalf("got %d %s", w.Code, w.Body)
					}
				}
			})
		}
	}
}
