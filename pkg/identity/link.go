package identity

import (
	"encoding/json"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Link holds keys of people; the value of bucket LINKS. Under OwnKey it is the
// one person whom a source's own key means, for good; under ValueKey those who
// were said to have a value, each to be looked at before it is believed.
type Link struct {
	Keys []string `json:"keys"`
}

// OwnKey is the key in bucket LINKS of a person as one source names them.
func OwnKey(source, key string) string { return "own." + IDOf(source+"\x00"+key) }

// ValueKey is the key in bucket LINKS of a value of an attribute.
func ValueKey(attribute, value string) string { return "value." + IDOf(attribute+"\x00"+folded(value)) }

// folded is a value without what systems write differently: case, and how its
// characters are encoded.
func folded(value string) string {
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(value)))
}

// ValueText is an attribute as correlation compares it: a text, or a number as
// its digits; "" for anything else.
func ValueText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		digits, _ := json.Marshal(v) // what came as JSON is a finite number
		return string(digits)
	default:
		return ""
	}
}

// Says tells whether a source that trusted accepts says now that the attribute
// has the value.
func (r *Record) Says(attribute, value string, trusted func(source string) bool) bool {
	for source, v := range r.Attributes[attribute] {
		if trusted(source) && !v.Cleared && v.Stamp.Compare(r.Fulls[source]) >= 0 && folded(ValueText(v.Data)) == folded(value) {
			return true
		}
	}
	return false
}
