package mapping

// Function documents one thing that expressions may use.
type Function struct {
	// Name is what it is called; Group sorts it.
	Name, Group string
	// Signature shows how it is written.
	Signature string
	// Doc says what it gives, in one line.
	Doc string
	// Example is an expression that evaluates to Gives, "nothing" where it gives
	// nothing.
	Example, Gives string
}

// Functions is the library in the order of a manual. Joinery's own functions may
// also be called with the value they work on as first argument: x.proper() and
// proper(x) are the same.
func Functions() []Function {
	return []Function{
		{"lowerAscii", "text", "text.lowerAscii()", "The text with A to Z in lower case.", `"Ann@Example.COM".lowerAscii()`, `"ann@example.com"`},
		{"upperAscii", "text", "text.upperAscii()", "The text with a to z in upper case.", `"de".upperAscii()`, `"DE"`},
		{"lower", "text", "text.lower()", "The text in lower case, in any alphabet.", `"ÅSA".lower()`, `"åsa"`},
		{"upper", "text", "text.upper()", "The text in upper case, in any alphabet.", `"åsa".upper()`, `"ÅSA"`},
		{"proper", "text", "text.proper()", "The text with each word begun by a capital.", `"ANNE-MARIE O'NEIL".proper()`, `"Anne-Marie O'Neil"`},
		{"normalize", "text", "text.normalize()", "The text without diacritics; other alphabets keep their letters.", `"Søren Müller-Łęcki".normalize()`, `"Soren Muller-Lecki"`},
		{"slug", "text", "text.slug()", "The text as part of a user name: a to z and 0 to 9, hyphens between.", `"Ann-Kathrin  d'Été".slug()`, `"ann-kathrin-d-ete"`},
		{"digits", "text", "text.digits()", "The digits of the text.", `"E-00 42".digits()`, `"0042"`},
		{"trim", "text", "text.trim()", "The text without white space around it.", `"  Ann ".trim()`, `"Ann"`},
		{"replace", "text", "text.replace(old, new)", "The text with each old part replaced.", `"a b c".replace(" ", ".")`, `"a.b.c"`},
		{"substring", "text", "text.substring(start[, end])", "The part from start to before end, counted from 0; an error outside the text.", `"abcdef".substring(1, 3)`, `"bc"`},
		{"left", "text", "text.left(n)", "The first n characters, or fewer where there are fewer.", `"Jo".left(3)`, `"Jo"`},
		{"right", "text", "text.right(n)", "The last n characters, or fewer where there are fewer.", `"000123".right(4)`, `"0123"`},
		{"before", "text", "text.before(mark)", "The text up to the first mark, or all of it.", `"ann@example.com".before("@")`, `"ann"`},
		{"after", "text", "text.after(mark)", "The text behind the first mark; nothing where there is none.", `"ann@example.com".after("@")`, `"example.com"`},
		{"word", "text", "text.word(n)", "The nth word: 1 is the first, -1 the last; nothing where there is none.", `"Ann Mary Lee".word(-1)`, `"Lee"`},
		{"contains", "text", "text.contains(part)", "Whether the text has the part.", `"marketing".contains("market")`, `true`},
		{"startsWith", "text", "text.startsWith(part)", "Whether the text begins with the part.", `"eng-web".startsWith("eng-")`, `true`},
		{"endsWith", "text", "text.endsWith(part)", "Whether the text ends with the part.", `"ann@example.com".endsWith("@example.com")`, `true`},
		{"matches", "text", "text.matches(pattern)", "Whether a part of the text matches the RE2 pattern.", `"E1042".matches("^E[0-9]{4}$")`, `true`},
		{"regex.replace", "text", "regex.replace(text, pattern, new)", "The text with each match of the RE2 pattern replaced.", `regex.replace("a  b   c", " +", " ")`, `"a b c"`},
		{"size", "text", "size(x)", "The characters of a text, or the items of a list or map.", `size("åsa")`, `3`},
		{"format", "text", "text.format(list)", "The text with %s, %d and the like filled in from the list.", `"%s.%s".format(["ann", "lee"])`, `"ann.lee"`},
		{"string", "text", "string(x)", "A number, a boolean or a time as text.", `string(1042.0)`, `"1042"`},

		{"split", "list", "text.split(mark)", "The parts between the marks, as a list.", `"a,b,c".split(",")[1]`, `"b"`},
		{"join", "list", "list.join(mark)", "The texts of the list with the mark between them.", `["a", "b"].join("-")`, `"a-b"`},
		{"in", "list", "x in list", "Whether the list has x.", `"Sales" in ["Sales", "Support"]`, `true`},
		{"filter", "list", "list.filter(x, condition)", "The items for which the condition holds.", `["a1", "b1"].filter(x, x.startsWith("b"))`, `["b1"]`},
		{"map", "list", "list.map(x, value)", "A value for each item.", `["a", "b"].map(x, x.upperAscii())`, `["A","B"]`},
		{"exists", "list", "list.exists(x, condition)", "Whether the condition holds for an item.", `[1, 2].exists(x, x > 1)`, `true`},
		{"distinct", "list", "list.distinct()", "The list with each item once.", `["a", "b", "a"].distinct()`, `["a","b"]`},
		{"sort", "list", "list.sort()", "The list in order.", `["b", "a"].sort()`, `["a","b"]`},

		{"coalesce", "missing", "coalesce(a, b, ...)", "The first that is not missing, null, an empty text or an empty list; up to 8.", `coalesce("", identity.nickname, "Ann")`, `"Ann"`},
		{"default", "missing", "default(x, fallback)", "x, or the fallback where x is missing, null or empty.", `default(identity.title, "Staff")`, `"Staff"`},
		{"present", "missing", "present(x)", "Whether x is more than missing, null or empty.", `present(identity.manager)`, `false`},
		{"has", "missing", "has(identity.x)", "Whether the attribute is there, even if it is empty.", `has(identity.x)`, `false`},

		{"country", "codes", "text.country([form])", "The ISO 3166 country of a code or an English name, as alpha2, alpha3 or name; nothing for others.", `"Germany".country()`, `"DE"`},
		{"e164", "codes", "text.e164(country)", "The telephone number in international form, taken to be of the country where it has no calling code; nothing for what is none.", `"(030) 1234-567".e164("DE")`, `"+49301234567"`},
		{"base64.encode", "codes", "base64.encode(bytes)", "The bytes in Base64.", `base64.encode(b"ann")`, `"YW5u"`},

		{"date", "dates", "x.date([layout])", "A time, or a date as systems write it, in the layout; yyyy-MM-dd without one; nothing for what is no date.", `"2026-03-01T08:00:00Z".date("dd.MM.yyyy")`, `"01.03.2026"`},
		{"parseDate", "dates", "text.parseDate(layout)", "The time that a date in the layout means, in UTC; nothing for what is no date.", `"01/03/2026".parseDate("dd/MM/yyyy").date()`, `"2026-03-01"`},
		{"timestamp", "dates", "timestamp(text)", "The time of an RFC 3339 text.", `timestamp("2026-03-01T08:00:00Z") < timestamp("2026-04-01T00:00:00Z")`, `true`},
		{"duration", "dates", "duration(text)", "A length of time, to be added to times.", `(timestamp("2026-03-01T00:00:00Z") + duration("48h")).date()`, `"2026-03-03"`},

		{"?:", "choice", "condition ? a : b", "a where the condition holds, else b.", `identity.active ? "on" : "off"`, `"on"`},
		{"{}[]", "choice", "{...}[x]", "The value that a table has for x; nothing where it has none.", `default({"DE": "Europe/Berlin"}["US"], "UTC")`, `"UTC"`},
		{"cel.bind", "choice", "cel.bind(name, value, expression)", "The expression, in which name stands for the value.", `cel.bind(n, "Ann Lee", n.word(1) + n.word(2))`, `"AnnLee"`},
	}
}
