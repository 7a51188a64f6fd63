package telemetry

import (
	"encoding"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Redacted stands where a value was taken out.
const Redacted = "[redacted]"

// maxText bounds one text in a line or span: enough for the stack of a panic.
const maxText = 8 << 10

// telling are parts of names, lower-case and without separators, whose values
// are secret or personal.
var telling = [...]string{
	"password", "passwd", "secret", "token", "authorization", "credential", "apikey", "privatekey", "cookie", "signature",
	"email", "username", "displayname", "givenname", "familyname", "firstname", "lastname", "phone",
	"payload", "query",
}

// tells whether a name says that its value must not be shown.
func tells(name string) bool {
	folded := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		case r == '_' || r == '-' || r == '.' || r == ' ':
			return -1
		}
		return r
	}, name)
	for _, part := range telling {
		if strings.Contains(folded, part) {
			return true
		}
	}
	return false
}

// credentials finds what authenticates inside a text: an authorization value,
// and the user information of a URL.
var credentials = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}|://[^/\s"@]+@`)

// clean is a text without credentials, without controls that would display it in
// another order than it has, and of bounded length.
func clean(s string) string {
	if len(s) > maxText {
		end := maxText
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + "[cut]"
	}
	if strings.ContainsFunc(s, reorders) {
		s = strings.Map(func(r rune) rune {
			if reorders(r) {
				return utf8.RuneError
			}
			return r
		}, s)
	}
	if mayHoldCredentials(s) {
		s = credentials.ReplaceAllStringFunc(s, func(found string) string {
			if strings.HasPrefix(found, "://") {
				return "://" + Redacted + "@"
			}
			return found[:strings.IndexAny(found, " \t\n\r\f\v")] + " " + Redacted
		})
	}
	return s
}

// mayHoldCredentials spares nearly all texts the regular expression.
func mayHoldCredentials(s string) bool {
	return strings.Contains(s, "://") || strings.Contains(strings.ToLower(s), "bearer") || strings.Contains(strings.ToLower(s), "basic")
}

// reorders tells a Unicode bidirectional control (UAX #9).
func reorders(r rune) bool {
	return r == 0x061C || r == 0x200E || r == 0x200F || (r >= 0x202A && r <= 0x202E) || (r >= 0x2066 && r <= 0x2069)
}

// shown is the value as a line may show it. Numbers, truths and times are shown
// whatever their name: a count of tokens is no token.
func shown(key string, v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindBool, slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindDuration, slog.KindTime:
		return v
	}
	if tells(key) {
		return slog.StringValue(Redacted)
	}
	if v.Kind() == slog.KindString {
		return slog.StringValue(clean(v.String()))
	}
	return slog.AnyValue(shownAny(v.Any()))
}

func shownAny(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case error:
		return clean(text(v.Error))
	case interface{ ProtoMessage() }:
		return unshown(v)
	case *url.URL:
		// The query of a SCIM request holds names.
		return clean(text(func() string { return (&url.URL{Scheme: v.Scheme, Host: v.Host, Path: v.Path}).String() }))
	case fmt.Stringer:
		return clean(text(v.String))
	case encoding.TextMarshaler:
		return clean(text(func() string {
			b, err := v.MarshalText()
			if err != nil {
				return unshown(v)
			}
			return string(b)
		}))
	}
	return shownPlain(reflect.ValueOf(v))
}

// text calls f and survives a nil pointer inside it: a log line must not end the
// work that it tells about.
func text(f func() string) (s string) {
	defer func() {
		if recover() != nil {
			s = "[unprintable]"
		}
	}()
	return f()
}

// shownPlain shows values of basic kinds and lists of them. What has members may
// hold anything, and only its type is shown.
func shownPlain(v reflect.Value) any {
	switch kind := v.Kind(); {
	case kind == reflect.String:
		return clean(v.String())
	case basic(kind):
		return v.Interface()
	case kind == reflect.Slice && v.Type().Elem().Kind() == reflect.String:
		texts := make([]string, v.Len())
		for i := range texts {
			texts[i] = clean(v.Index(i).String())
		}
		return texts
	case kind == reflect.Slice && basic(v.Type().Elem().Kind()) && v.Type().Elem().Kind() != reflect.Uint8:
		return v.Interface()
	}
	return unshown(v.Interface())
}

func basic(k reflect.Kind) bool {
	return k >= reflect.Bool && k <= reflect.Float64
}

func unshown(v any) string { return fmt.Sprintf("[%T]", v) }
