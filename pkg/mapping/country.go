package mapping

import (
	_ "embed"
	"strings"
	"sync"
)

// countryTable has one line for each officially assigned code of ISO 3166-1:
// alpha-2, alpha-3, calling code of ITU-T E.164, and the names by which the
// country is found, the usual English one first.
//
//go:embed countries.txt
var countryTable string

// nation is one line of the table.
type nation struct {
	alpha2, alpha3, calling string
	name                    string
}

// nations finds a nation by any of its codes and names, folded by countryKey.
var nations = sync.OnceValue(func() map[string]nation {
	found := map[string]nation{}
	for line := range strings.Lines(countryTable) {
		fields := strings.SplitN(strings.TrimSpace(line), " ", 4)
		names := strings.Split(fields[3], "|")
		n := nation{alpha2: fields[0], alpha3: fields[1], calling: fields[2], name: names[0]}
		for _, key := range append(names, n.alpha2, n.alpha3) {
			found[countryKey(key)] = n
		}
	}
	return found
})

// maxCountry bounds what is looked up, in bytes; the longest name has 58.
const maxCountry = 128

// nationOf finds a country by alpha-2 code, alpha-3 code or name.
func nationOf(text string) (nation, bool) {
	if len(text) > maxCountry {
		return nation{}, false
	}
	n, ok := nations()[countryKey(text)]
	return n, ok
}

func countryKey(text string) string {
	return strings.ToLower(normalize(strings.Join(strings.Fields(text), " ")))
}

// in is the country in a form: alpha2, alpha3 or name.
func (n nation) in(form string) (string, bool) {
	switch form {
	case "alpha2":
		return n.alpha2, true
	case "alpha3":
		return n.alpha3, true
	case "name":
		return n.name, true
	default:
		return "", false
	}
}
