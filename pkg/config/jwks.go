package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/joinery/joinery/pkg/spelling"
	"github.com/joinery/joinery/pkg/token"
)

// JWKS is a set of public keys, and what the tokens say that they sign: bearer
// tokens of requests, and security event tokens.
type JWKS struct {
	URL          string   `yaml:"url" doc:"Where the issuer publishes its keys; https, unless allow_private is set."`
	File         string   `yaml:"file" doc:"A file with the keys instead; relative to this folder."`
	Issuer       string   `yaml:"issuer" need:"true" doc:"What iss must be, word for word."`
	Audience     []string `yaml:"audience" need:"true" min:"1" max:"16" doc:"What aud must hold one of."`
	Algorithms   []string `yaml:"algorithms" default:"RS256 PS256 ES256 EdDSA" min:"1" max:"10" doc:"The signature algorithms that are allowed."`
	AllowPrivate bool     `yaml:"allow_private" doc:"Whether the URL may be in a private network or on this machine."`
}

// maxKeyFile bounds a file of keys in bytes.
const maxKeyFile = 256 << 10

// check reports what the tags cannot say.
func (k *JWKS) check(d *decoder, path string) {
	switch hasURL, hasFile := d.given(path+".url"), d.given(path+".file"); {
	case hasURL && hasFile:
		d.wrong(path+".file", "the keys are in one place: write url or file")
	case hasURL:
		k.checkURL(d, path+".url")
	case hasFile:
		k.checkFile(d, path+".file")
	default:
		d.wrong(path, "it is not said where the keys are: write url or file")
	}
	for i, name := range k.Audience {
		if strings.TrimSpace(name) == "" {
			d.wrong(fmt.Sprintf("%s.audience[%d]", path, i), "an audience is empty: a token for nobody is for anybody")
		}
	}
	for i, name := range k.Algorithms {
		if !slices.Contains(token.Algorithms(), name) {
			d.wrong(fmt.Sprintf("%s.algorithms[%d]", path, i), "%q is not allowed here: write one of %s%s", name,
				strings.Join(token.Algorithms(), ", "), spelling.DidYouMean(name, token.Algorithms()))
		}
	}
}

func (k *JWKS) checkURL(d *decoder, path string) {
	u, why := webURL(k.URL)
	switch {
	case why != "":
		d.wrong(path, "%s", why)
	case !k.AllowPrivate && u.Scheme != "https":
		d.wrong(path, "keys are fetched over https only: whoever can change them on their way can sign")
	case !k.AllowPrivate && private(u.Hostname()):
		d.wrong(path, "%s is a private address: if that is meant, write allow_private: true", u.Hostname())
	}
}

func (k *JWKS) checkFile(d *decoder, path string) {
	written := k.File
	if !filepath.IsAbs(k.File) {
		k.File = filepath.Join(d.dir, k.File)
	}
	info, err := os.Stat(k.File)
	if err != nil {
		d.wrong(path, "the file %s cannot be read", written)
		return
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		d.wrong(path, "%s is not a file of at most %d KiB", written, maxKeyFile>>10)
		return
	}
	data, err := os.ReadFile(k.File)
	if err != nil {
		d.wrong(path, "the file %s cannot be read", written)
		return
	}
	if token.CheckSet(data) != nil {
		d.wrong(path, "%s is not a key set (RFC 7517) with a public key for signatures", written)
	}
}
