package identity

import (
	"strings"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Name says who a unique value of an attribute belongs to in a target; the value
// of bucket NAMES. It is never given back: whoever comes back gets it again, and
// nobody inherits the mail and the rights of somebody who left.
type Name struct {
	Identity string    `json:"identity"`
	Path     string    `json:"path"`
	At       time.Time `json:"at"`
}

// NameKey is the key of a value in bucket NAMES. Values that differ in case or
// in how their characters are encoded are one; the value itself cannot be read
// from the key. Paths are spelled one way each, so they need no folding.
func NameKey(target, path, value string) string {
	folded := cases.Fold().String(norm.NFKC.String(strings.TrimSpace(value)))
	return target + "." + IDOf(path+"\x00"+norm.NFKC.String(folded))
}
