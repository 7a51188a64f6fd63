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
		{"mid", "text", "text.mid(from, n)", "n characters from a place, 1 being the first; fewer where there are fewer.", `"abcdef".mid(2, 3)`, `"bcd"`},
		{"pad", "text", "text.pad(n, with)", "The text filled up from the left to n characters, with one character.", `"42".pad(6, "0")`, `"000042"`},
		{"indexOf", "text", "text.indexOf(part)", "Where the part begins, counted from 0; -1 where it is not there.", `"ann@example.com".indexOf("@")`, `3`},
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
		{"bool", "text", "bool(text)", "A text true or false as a boolean; an error for others.", `bool("true")`, `true`},
		{"truth", "text", "text.truth()", "Yes, y, true, on, 1 and their opposites as a boolean; nothing for others.", `"Yes".truth()`, `true`},
		{"int", "text", "int(x)", "A text or a number as a whole number; of a time the seconds since 1970.", `int("42") + 1`, `43`},
		{"double", "text", "double(x)", "A text or a number as a number.", `double("0.5") * 2.0`, `1`},
		{"type", "text", "type(x) == string", "Whether x is a text (or int, double, bool, list, map).", `type("a") == string`, `true`},
		{"string", "text", "string(x)", "A number, a boolean or a time as text.", `string(1042.0)`, `"1042"`},

		{"split", "list", "text.split(mark)", "The parts between the marks, as a list.", `"a,b,c".split(",")[1]`, `"b"`},
		{"join", "list", "list.join(mark)", "The texts of the list with the mark between them.", `["a", "b"].join("-")`, `"a-b"`},
		{"in", "list", "x in list", "Whether the list has x.", `"Sales" in ["Sales", "Support"]`, `true`},
		{"filter", "list", "list.filter(x, condition)", "The items for which the condition holds.", `["a1", "b1"].filter(x, x.startsWith("b"))`, `["b1"]`},
		{"map", "list", "list.map(x, value)", "A value for each item.", `["a", "b"].map(x, x.upperAscii())`, `["A","B"]`},
		{"exists", "list", "list.exists(x, condition)", "Whether the condition holds for an item.", `[1, 2].exists(x, x > 1)`, `true`},
		{"distinct", "list", "list.distinct()", "The list with each item once.", `["a", "b", "a"].distinct()`, `["a","b"]`},
		{"sort", "list", "list.sort()", "The list in order.", `["b", "a"].sort()`, `["a","b"]`},

		{"last", "list", "list.last()", "The last item, as an optional; nothing where there is none.", `["a", "b"].last()`, `"b"`},
		{"item", "list", "list[n]", "The item at a place, counted from 0; nothing outside the list.", `default(["a", "b"][5], "none")`, `"none"`},
		{"flatten", "list", "list.flatten()", "The items of a list of lists.", `[["a"], ["b"]].flatten()`, `["a","b"]`},
		{"slice", "list", "list.slice(start, end)", "The items from start to before end, counted from 0.", `["a", "b", "c"].slice(0, 2)`, `["a","b"]`},
		{"math.greatest", "number", "math.greatest(a, b, ...)", "The greatest; math.least is the least.", `math.greatest(1, 3, 2)`, `3`},
		{"math.bitAnd", "number", "math.bitAnd(a, b)", "The bits that both have; also bitOr, bitXor, bitNot.", `math.bitAnd(6, 3)`, `2`},

		{"coalesce", "missing", "coalesce(a, b, ...)", "The first that is not missing, null, an empty text or an empty list; up to 8.", `coalesce("", identity.nickname, "Ann")`, `"Ann"`},
		{"default", "missing", "default(x, fallback)", "x, or the fallback where x is missing, null or empty.", `default(identity.title, "Staff")`, `"Staff"`},
		{"present", "missing", "present(x)", "Whether x is more than missing, null or empty.", `present(identity.manager)`, `false`},
		{"has", "missing", "has(identity.x)", "Whether the attribute is there, even if it is empty.", `has(identity.x)`, `false`},

		{"country", "codes", "text.country([form])", "The ISO 3166 country of a code or an English name, as alpha2, alpha3 or name; nothing for others.", `"Germany".country()`, `"DE"`},
		{"e164", "codes", "text.e164(country)", "The telephone number in international form, taken to be of the country where it has no calling code; nothing for what is none.", `"(030) 1234-567".e164("DE")`, `"+49301234567"`},
		{"locale", "codes", "text.locale()", "The language tag in the form of RFC 5646; nothing for what is none.", `"de_ch".locale()`, `"de-CH"`},
		{"hex", "codes", "text.hex()", "The UTF-8 bytes of the text in hexadecimal.", `"Jo".hex()`, `"4a6f"`},
		{"base64.encode", "codes", "base64.encode(bytes)", "The bytes in Base64.", `base64.encode(b"ann")`, `"YW5u"`},

		{"date", "dates", "x.date([layout[, zone]])", "A time, or a date as systems write it, in the layout, as clocks of the zone show it; yyyy-MM-dd without a layout; nothing for what is no date.", `"2026-03-01T23:30:00Z".date("dd.MM.yyyy", "Europe/Berlin")`, `"02.03.2026"`},
		{"parseDate", "dates", "text.parseDate(layout[, zone])", "The time that a date in the layout means in the zone (UTC without one); nothing for what is no date.", `"01/03/2026".parseDate("dd/MM/yyyy", "Europe/Berlin").date("yyyy-MM-ddTHH:mmXXX")`, `"2026-03-01T00:00+01:00"`},
		{"dateAdd", "dates", "x.dateAdd(n, unit)", "The time n years, months, weeks, days, hours, minutes or seconds later, in UTC; a month after the last of January is the last of February.", `"2026-01-31".dateAdd(1, "months").date()`, `"2026-02-28"`},
		{"dateDiff", "dates", "a.dateDiff(b, unit)", "How many whole units b is later than a.", `"2026-01-15".dateDiff("2026-03-14", "months")`, `1`},
		{"timestamp", "dates", "timestamp(text)", "The time of an RFC 3339 text.", `timestamp("2026-03-01T08:00:00Z") < timestamp("2026-04-01T00:00:00Z")`, `true`},
		{"duration", "dates", "duration(text)", "A length of time, to be added to times.", `(timestamp("2026-03-01T00:00:00Z") + duration("48h")).date()`, `"2026-03-03"`},

		{"?:", "choice", "condition ? a : b", "a where the condition holds, else b.", `identity.active ? "on" : "off"`, `"on"`},
		{"{}[]", "choice", "{...}[x]", "The value that a table has for x; nothing where it has none.", `default({"DE": "Europe/Berlin"}["US"], "UTC")`, `"UTC"`},
		{"cel.bind", "choice", "cel.bind(name, value, expression)", "The expression, in which name stands for the value.", `cel.bind(n, "Ann Lee", n.word(1) + n.word(2))`, `"AnnLee"`},
	}
}
