package event

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// headerPrefix is what attributes have before their names in binary mode.
const headerPrefix = "ce-"

// IsBinary tells whether a request's headers are those of binary mode.
func IsBinary(h http.Header) bool {
	for name := range h {
		if _, ok := attributeOf(name); ok {
			return true
		}
	}
	return false
}

// ParseBinary reads one event in binary mode: attributes in ce- headers, data in
// the body, which must be JSON or empty. It fails with a *Problem.
func ParseBinary(h http.Header, body []byte) (Event, error) {
	e, problem := fromHeaders(h)
	if problem != nil {
		return Event{}, problem
	}
	if len(body) == 0 {
		return e, nil
	}
	var err error
	if e.Data, err = document(body, "data"); err != nil {
		return Event{}, err
	}
	return e, nil
}

func fromHeaders(h http.Header) (Event, *Problem) {
	b := newBuilder()
	for _, key := range slices.Sorted(maps.Keys(h)) {
		name, ok := attributeOf(key)
		if !ok {
			continue
		}
		if problem := b.header(name, h[key]); problem != nil {
			return Event{}, problem
		}
	}
	if media := h.Get("Content-Type"); media != "" {
		if problem := b.set("datacontenttype", media); problem != nil {
			return Event{}, problem
		}
	}
	return b.done()
}

// header takes an attribute as an HTTP header gives it.
func (b *builder) header(name string, values []string) *Problem {
	switch {
	case len(values) != 1:
		return refuse(DuplicateKey, shown(name), "The header %s%s is there more than once. Send it once.", headerPrefix, shown(name))
	case name == "datacontenttype" || name == "data":
		return refuse(Invalid, name, "In binary mode the header Content-Type says what the data is, and the body is the data; "+
			"there is no header %s%s.", headerPrefix, name)
	}
	value, ok := unescape(values[0])
	if !ok {
		return refuse(Invalid, shown(name), "The header %s%s is not percent-encoded UTF-8. Write a percent sign as %%25.", headerPrefix, shown(name))
	}
	return b.set(name, value)
}

// unescape is a header's value as an attribute: double quotes taken off, as
// older senders set them, then one round of percent-decoding (CloudEvents HTTP
// protocol binding 1.0.2, section 3.1.3.2).
func unescape(value string) (string, bool) {
	value, ok := unquote(value)
	if !ok {
		return "", false
	}
	out, err := url.PathUnescape(value)
	return out, err == nil && utf8.ValidString(out)
}

func unquote(value string) (string, bool) {
	if !strings.HasPrefix(value, `"`) {
		return value, true
	}
	if len(value) < 2 || !strings.HasSuffix(value, `"`) {
		return "", false
	}
	var out strings.Builder
	inner := value[1 : len(value)-1]
	for i := 0; i < len(inner); i++ {
		switch {
		case inner[i] == '"':
			return "", false
		case inner[i] == '\\' && i+1 == len(inner):
			return "", false
		case inner[i] == '\\':
			i++
		}
		out.WriteByte(inner[i])
	}
	return out.String(), true
}

func attributeOf(header string) (string, bool) {
	return strings.CutPrefix(strings.ToLower(header), headerPrefix)
}
