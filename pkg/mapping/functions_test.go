package mapping

import (
	"strings"
	"sync"
	"testing"

	xlanguage "golang.org/x/text/language"
)

// ourLanguage is made once: that takes longer than to use it.
var ourLanguage = sync.OnceValues(func() (*language, error) { return newLanguage("identity") })

// evaluated is what an expression gives for a person, as JSON.
func evaluated(t *testing.T, text string, p Person) string {
	t.Helper()
	people, err := ourLanguage()
	if err != nil {
		t.Fatal(err)
	}
	compiled, problems := people.compile("test", text)
	if len(problems) > 0 {
		t.Fatalf("%s: %v", text, problems)
	}
	v, err := compiled.eval("identity", p.values())
	if err != nil {
		return "error: " + err.Error()
	}
	if v == nil {
		return nothing
	}
	out, err := plain(v)
	if err != nil {
		t.Fatal(err)
	}
	return show(out)
}

func TestEveryDocumentedExampleGivesWhatItSays(t *testing.T) {
	for _, f := range Functions() {
		if got := evaluated(t, f.Example, Person{Active: true}); got != f.Gives {
			t.Errorf("%s: %s gives %s, not %s", f.Name, f.Example, got, f.Gives)
		}
		if f.Signature == "" || f.Group == "" || !strings.HasSuffix(f.Doc, ".") {
			t.Errorf("%s is not documented", f.Name)
		}
	}
}

func TestEveryFunctionOfOursIsDocumentedAndPriced(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range Functions() {
		if documented[f.Name] {
			t.Errorf("%s is documented twice", f.Name)
		}
		documented[f.Name] = true
	}
	for _, name := range []string{
		"lower", "upper", "normalize", "proper", "slug", "digits", "left", "right", "before", "after",
		"word", "country", "e164", "date", "parseDate", "hex", "locale", "truth", "mid", "pad", "dateAdd", "dateDiff",
	} {
		if !documented[name] {
			t.Errorf("%s is not documented", name)
		}
		if (size{}).CallCost(name, "", nil, nil) == nil {
			t.Errorf("%s has no price", name)
		}
	}
}

func TestTextFunctions(t *testing.T) {
	for _, c := range []struct {
		name string
		of   func(string) string
		rows map[string]string
	}{
		{"normalize", normalize, map[string]string{
			"": "", "plain": "plain", "Zoë": "Zoe", "Zoe\u0308": "Zoe", "Straße": "Strasse", "Æther": "AEther",
			"Łódź": "Lodz", "Đorđe": "Dorde", "Þór": "Thor", "İstanbul ıspanak": "Istanbul ispanak",
			"Ærøskøbing": "AEroskobing", "ﬁnance": "finance", "Ａｎｎ": "Ann", "Юлия": "Юлия", "李": "李", "O’Neil": "O'Neil",
		}},
		{"proper", proper, map[string]string{
			"": "", "ann": "Ann", "ANN LEE": "Ann Lee", "anne-marie": "Anne-Marie", "o'neil": "O'Neil", "d’arcy": "D’Arcy",
			"ann's": "Ann's", "élodie": "Élodie", "van der berg": "Van Der Berg", "3m company": "3m Company", "e\u0301lodie": "E\u0301lodie",
		}},
		{"slug", slug, map[string]string{
			"": "", "Ann": "ann", "  Ann  Lee ": "ann-lee", "O'Neil": "o-neil", "Müller & Söhne": "muller-sohne", "李": "", "a--b": "a-b",
		}},
		{"digits", digits, map[string]string{"": "", "+49 (30) 12": "493012", "no": "", "٣": ""}},
	} {
		for in, want := range c.rows {
			if got := c.of(in); got != want {
				t.Errorf("%s(%q) = %q, want %q", c.name, in, got, want)
			}
		}
	}
}

func TestPartsOfATextStayInsideIt(t *testing.T) {
	for text, want := range map[string]string{
		`"åsa".left(2)`: `"ås"`, `"åsa".left(9)`: `"åsa"`, `"åsa".left(0)`: `""`, `"åsa".left(-1)`: `""`, `"".left(1)`: `""`,
		`"åsa".left(9223372036854775807)`: `"åsa"`, `"åsa".right(-9223372036854775807)`: `""`,
		`"åsa".right(2)`: `"sa"`, `"åsa".right(9)`: `"åsa"`,
		`"a@b@c".before("@")`: `"a"`, `"abc".before("@")`: `"abc"`, `"a@b@c".after("@")`: `"b@c"`, `"abc".after("@")`: nothing,
		`"a b c".word(2)`: `"b"`, `"a b c".word(-3)`: `"a"`, `"a b c".word(4)`: nothing, `"a b c".word(0)`: nothing,
		`"a b c".word(-4)`: nothing, `"".word(1)`: nothing, `"a".word(-9223372036854775807)`: nothing,
		`proper("ann")`: `"Ann"`, `e164("030 1234567", "DE")`: `"+49301234567"`,
	} {
		if got := evaluated(t, text, Person{}); got != want {
			t.Errorf("%s gives %s, want %s", text, got, want)
		}
	}
}

func TestPhoneNumbersBecomeInternational(t *testing.T) {
	for _, c := range []struct{ number, country, want string }{
		{"030 1234567", "DE", "+49301234567"},
		{"+49 (0)30 1234567", "DE", "+49301234567"},
		{"0049 30 1234567", "FR", "+49301234567"},
		{"(415) 555-2671", "US", "+14155552671"},
		{"1-415-555-2671", "US", "+14155552671"},
		{"011 49 30 1234567", "US", "+49301234567"},
		{"+1 415 555 2671 x123", "US", "+14155552671"},
		{"+1 415 555 2671 ext. 9", "US", "+14155552671"},
		{"06 1234 5678", "IT", "+390612345678"},
		{"8 (495) 123-45-67", "RU", "+74951234567"},
		{"800 555 35 35", "RU", "+78005553535"},
		{"06 1 234 5678", "HU", "+3612345678"},
		{"07 01 23 45 67", "CI", "+2250701234567"},
		{"020 7946 0958", "UK", "+442079460958"},
		{"912 345 678", "Spain", "+34912345678"},
		{"call me", "DE", ""},
		{"12", "DE", ""},
		{"", "DE", ""},
		{"+49 30 1234567890123", "DE", ""},
		{"+0 123 456 789", "DE", ""},
		{"1234567; rm", "DE", "+491234567"},
	} {
		home, ok := nationOf(c.country)
		if !ok {
			t.Fatalf("no country %q", c.country)
		}
		got, ok := e164(c.number, home)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("e164(%q, %q) = %q, %v, want %q", c.number, c.country, got, ok, c.want)
		}
	}
}

func TestInternationalNumberIsAFixedPoint(t *testing.T) {
	home, _ := nationOf("DE")
	for _, number := range []string{"+14155552671", "+49301234567", "+390612345678"} {
		if got, ok := e164(number, home); !ok || got != number {
			t.Errorf("e164(%q) = %q, %v", number, got, ok)
		}
	}
}

func TestCountriesAreFoundByCodeAndName(t *testing.T) {
	for text, want := range map[string]string{
		"DE": "DE", "de": "DE", "deu": "DE", "Germany": "DE", " germany ": "DE", "Deutschland": "DE",
		"UK": "GB", "GB": "GB", "united kingdom": "GB", "England": "GB", "USA": "US", "U.S.A.": "US", "United  States": "US",
		"Türkiye": "TR", "Turkey": "TR", "Cote d'Ivoire": "CI", "Ivory Coast": "CI", "Korea, Republic of": "KR",
		"Atlantis": "", "": "", "D": "", strings.Repeat("Germany", 100): "",
	} {
		n, ok := nationOf(text)
		if n.alpha2 != want || ok != (want != "") {
			t.Errorf("nationOf(%q) = %q, %v, want %q", text, n.alpha2, ok, want)
		}
	}
	for text, want := range map[string]string{
		`country("Japan", "alpha3")`: `"JPN"`, `country("jp", "name")`: `"Japan"`, `"JPN".country("alpha2")`: `"JP"`,
		`country("Atlantis")`: nothing, `coalesce(country(identity.land), identity.land)`: `"Atlantis"`,
	} {
		if got := evaluated(t, text, Person{Attributes: map[string]any{"land": "Atlantis"}}); got != want {
			t.Errorf("%s gives %s, want %s", text, got, want)
		}
	}
}

func TestCountryTableIsComplete(t *testing.T) {
	seen := map[string]bool{}
	owner := map[string]string{}
	for line := range strings.Lines(countryTable) {
		fields := strings.SplitN(strings.TrimSpace(line), " ", 4)
		if len(fields) != 4 {
			t.Fatalf("malformed line %q", line)
		}
		region, err := xlanguage.ParseRegion(fields[0])
		if err != nil || !region.IsCountry() || region.ISO3() != fields[1] {
			t.Errorf("%q is not a country with the code %s: %v", fields[0], fields[1], err)
		}
		if digits(fields[2]) != fields[2] || len(fields[2]) > 3 {
			t.Errorf("%s has the calling code %q", fields[0], fields[2])
		}
		seen[fields[0]] = true
		for _, key := range append(strings.Split(fields[3], "|"), fields[0], fields[1]) {
			if other := owner[countryKey(key)]; other != "" && other != fields[0] {
				t.Errorf("%q names both %s and %s", key, other, fields[0])
			}
			owner[countryKey(key)] = fields[0]
		}
	}
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string(a) + string(b)
			region, err := xlanguage.ParseRegion(code)
			// Kosovo's code is for private use, and the others are reserved or retired:
			// none is in ISO 3166-1.
			if err != nil || !region.IsCountry() || region.Canonicalize().String() != code || strings.Contains("XK AC CP DG EA IC TA CQ EZ UN AN CS FQ NT PC SU YU", code) {
				continue
			}
			if !seen[code] {
				t.Errorf("%s is missing", code)
			}
		}
	}
	if len(seen) != 249 {
		t.Errorf("%d countries, ISO 3166-1 has 249", len(seen))
	}
}

func TestDatesAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]string{
		`date("2026-03-01")`:                               `"2026-03-01"`,
		`date("2026-03-01T23:30:00-05:00")`:                `"2026-03-01"`,
		`date("2026-03-01 08:05:09", "yyyyMMddHHmmss")`:    `"20260301080509"`,
		`date("2026-03-01T15:04:05", "h:mm a")`:            `"3:04 PM"`,
		`date("2026-03-01", "EEEE, d MMMM yyyy")`:          `"Sunday, 1 March 2026"`,
		`date("2026-03-01", "EEE d.M.yy")`:                 `"Sun 1.3.26"`,
		`date("2026-03-01T08:00:00Z", "yyyy-MM-ddTHH:mm")`: `"2026-03-01T08:00"`,
		`date("2026-03-01", "yyyy'T'MM")`:                  `"2026T03"`,
		`date("2026-02-30")`:                               nothing,
		`date("soon")`:                                     nothing,
		`date("")`:                                         nothing,
		`parseDate("01.03.2026", "dd.MM.yyyy").date()`:     `"2026-03-01"`,
		`"3/1/2026".parseDate("M/d/yyyy").date()`:          `"2026-03-01"`,
		`parseDate("2026", "dd.MM.yyyy")`:                  nothing,
		`parseDate("0000-01-01", "yyyy-MM-dd")`:            nothing,
		`date(identity.start, identity.layout)`:            nothing,
	} {
		p := Person{Attributes: map[string]any{"start": "2026-03-01", "layout": "2006"}}
		if got := evaluated(t, text, p); got != want {
			t.Errorf("%s gives %s, want %s", text, got, want)
		}
	}
}

func TestMissingValuesPassThroughUntilTheyAreTaken(t *testing.T) {
	p := Person{Key: "1", Attributes: map[string]any{
		"email": "a@b.c", "empty": "", "null": nil, "list": []any{}, "full": []any{"x"},
		"nested": map[string]any{"there": "yes", "gone": nil}, "n": 5.0,
	}}
	for text, want := range map[string]string{
		`identity.nobody`:                                    nothing,
		`identity.nobody.at.all`:                             nothing,
		`identity.nobody.lowerAscii() + "x"`:                 nothing,
		`identity["null"]`:                                   nothing,
		`identity.nested.there`:                              `"yes"`,
		`identity.nested.gone`:                               nothing,
		`has(identity.nested.gone)`:                          `false`,
		`identity.list[0]`:                                   nothing,
		`identity.full[0]`:                                   `"x"`,
		`null`:                                               nothing,
		`identity.?nobody`:                                   nothing,
		`identity.?email.orValue("none")`:                    `"a@b.c"`,
		`coalesce(identity.nobody, identity.empty)`:          nothing,
		`coalesce(identity.nobody, identity.email)`:          `"a@b.c"`,
		`coalesce(identity.list, identity.full)`:             `["x"]`,
		`coalesce(identity.?nobody, optional.of("x"))`:       `"x"`,
		`coalesce(identity.a, identity.b, identity.c, "d")`:  `"d"`,
		`coalesce(int("x"), 5)`:                              "error: a value cannot be converted",
		`default(identity.empty, "filled")`:                  `"filled"`,
		`default(identity.nobody.lowerAscii(), "filled")`:    `"filled"`,
		`default(1 / 0, 5)`:                                  "error: division by zero",
		`default(identity.n, 7)`:                             `5`,
		`present(identity.nobody)`:                           `false`,
		`present(identity.empty)`:                            `false`,
		`present(identity.email) && !present(identity.list)`: `true`,
		`present(1 / 0 == 1)`:                                "error: division by zero",
		`{"a": "b"}[identity.email]`:                         nothing,
		`identity.?nobody.hasValue()`:                        `false`,
		`identity.full.map(x, x + identity.nobody)`:          nothing,
		`identity.active || identity.nobody`:                 nothing,
		`!identity.active || identity.nobody`:                `true`,
		`identity.n == 5 && identity.n > 4`:                  `true`,
		`identity.n + 1`:                                     "error: an operation does not suit the type of its value",
		`string(identity.n)`:                                 `"5"`,
		`identity.email.substring(50)`:                       "error: a position lies outside a text",
		`timestamp(identity.email)`:                          "error: the expression fails for this value",
		`duration(identity.email)`:                           "error: a value cannot be converted",
		`9223372036854775807 + int(identity.n)`:              "error: a number is too large",
		`identity.email.matches(identity.email + "(")`:       "error: the expression fails for this value",
		"identity.`email`":                                   `"a@b.c"`,
	} {
		if got := evaluated(t, text, p); got != want {
			t.Errorf("%s gives %s, want %s", text, got, want)
		}
	}
}

func TestLiteralArgumentsAreCheckedWhenTheyAreLoaded(t *testing.T) {
	people, err := newLanguage("identity")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`date(identity.x, "DD.MM.YYYY")`:         `"DD.MM.YYYY" is not a date layout: write one like "dd.MM.yyyy"`,
		`identity.x.date("")`:                    `"" is not a date layout: write one like "dd.MM.yyyy"`,
		`identity.x.parseDate("2006-01-02")`:     `"2006-01-02" is not a date layout: write one like "dd.MM.yyyy"`,
		`identity.phone.e164("Atlantis")`:        `"Atlantis" is not a country: write a code like "DE"`,
		`country(identity.land, "alpha4")`:       `"alpha4" is not a form of a country: write "alpha2", "alpha3" or "name"`,
		`identity.email.matches("(")`:            "invalid matches argument",
		`identity.start > timestamp("tomorrow")`: "invalid timestamp argument",
	} {
		_, problems := people.compile("x", text)
		if len(problems) != 1 || problems[0].Message != want {
			t.Errorf("%s: %v, want %s", text, problems, want)
		}
	}
}
