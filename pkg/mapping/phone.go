package mapping

import "strings"

// trunk says what stands before a number when it is dialled within a country
// and is left out behind the calling code.
type trunk struct {
	prefix string
	// rest is how many digits a number has behind the prefix where the prefix
	// could also begin a number; 0 where it could not.
	rest int
}

// trunks holds the countries, by alpha-2 code or by calling code, whose trunk
// prefix is not 0. Where the prefix is empty, a leading 0 belongs to the number.
var trunks = map[string]trunk{
	"1": {"1", 10}, "7": {"8", 10},
	"HU": {"06", 0}, "BY": {"80", 9}, "TM": {"8", 8},
	"IT": {}, "VA": {}, "SM": {}, "CI": {}, "CG": {}, "BJ": {},
}

// The number of digits of an international number, calling code included
// (ITU-T E.164, 6.1; no assigned number is shorter).
const (
	minPhone = 7
	maxPhone = 15
)

// e164 is a telephone number in international form, "+493012345". A number
// without calling code is taken to be of the country. Extensions are left out.
// It is not ok for what cannot be a telephone number.
func e164(text string, home nation) (number string, ok bool) {
	text = strings.TrimSpace(withoutExtension(text))
	international := strings.HasPrefix(text, "+")
	text = strings.Replace(text, "(0)", "", 1)
	if strings.ContainsFunc(text, notDialled) {
		return "", false
	}
	number = digits(text)
	switch {
	case international:
	case strings.HasPrefix(number, "00"):
		number = number[2:]
	case home.calling == "1" && strings.HasPrefix(number, "011"):
		number = number[3:]
	default:
		number = home.calling + home.withoutTrunk(number)
	}
	if len(number) < minPhone || len(number) > maxPhone || number[0] == '0' {
		return "", false
	}
	return "+" + number, true
}

// withoutExtension cuts "x12", "ext. 12" and "#12" off.
func withoutExtension(text string) string {
	if i := strings.IndexAny(text, "xXeE#;"); i > 0 {
		return text[:i]
	}
	return text
}

func notDialled(r rune) bool {
	return !strings.ContainsRune("+0123456789 ()-./\u00a0\u2010\u2011\u2013", r)
}

func (n nation) withoutTrunk(number string) string {
	t, special := trunks[n.alpha2]
	if !special {
		t, special = trunks[n.calling]
	}
	if !special {
		t = trunk{prefix: "0"}
	}
	rest, found := strings.CutPrefix(number, t.prefix)
	if !found || (t.rest > 0 && len(rest) != t.rest) {
		return number
	}
	return rest
}
