package config

import (
	"strings"
	"testing"
)

func TestThePublicURLIsOneToWhichPathsCanBeAdded(t *testing.T) {
	for text, problem := range map[string]string{
		"": "", "https://joinery.example": "", "https://example.com/joinery/": "",
		"joinery.example":               "https://",
		"ftp://joinery.example":         "https://",
		"https://joinery.example?a=b":   "no query",
		"https://u:p@joinery.example/x": "no password",
	} {
		s, err := withSource(t, `scim: { public_url: "`+text+`" }`)
		switch {
		case problem == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case problem == "" && s.SCIM.PublicURL != text:
			t.Errorf("%q became %q", text, s.SCIM.PublicURL)
		case problem != "" && (err == nil || !strings.Contains(err.Error(), problem) || !strings.Contains(err.Error(), "sources/hr.yaml:4")):
			t.Errorf("%q: %v", text, err)
		}
	}
}
