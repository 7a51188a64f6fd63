package event

import (
	"mime"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// The bounds of attributes, in bytes. CloudEvents sets none; these are far
// beyond what senders use, and keep headers, logs and stores small.
const (
	maxID        = 512
	maxURI       = 2048
	maxExtension = 4096
	maxAttrName  = 64
)

// specified are the attributes that CloudEvents itself defines, extended the
// extensions that have a place in the canonical event.
var (
	specified = map[string]bool{
		"id": true, "source": true, "specversion": true, "type": true, "subject": true,
		"time": true, "dataschema": true, "datacontenttype": true,
	}
	extended = map[string]bool{
		"effectivetime": true, "sequence": true, "timezone": true, "joineryfull": true, "joineryurgent": true,
		"rescinds": true, "employment": true, "formerkey": true,
		"actor": true, "requestid": true, "approver": true, "reason": true, "traceparent": true, "tracestate": true,
	}
)

// builder collects the attributes of one event from whatever carried them.
type builder struct {
	event Event
	seen  map[string]bool
}

func newBuilder() *builder { return &builder{seen: map[string]bool{}} }

// set takes one attribute in its canonical string form. Empty means that the
// sender gave the attribute without a value.
func (b *builder) set(name, value string) *Problem {
	if !attributeName(name) {
		return refuse(Invalid, shown(name), "Attributes are named with lower-case letters and digits only, at most %d of them. "+
			"What is said of the person belongs into data.", maxAttrName)
	}
	b.seen[name] = true
	e := &b.event
	switch name {
	case "id":
		return text(&e.ID, name, value, maxID)
	case "source":
		return text(&e.Source, name, value, maxURI)
	case "type":
		return text(&e.Type, name, value, maxID)
	case "subject":
		return text(&e.Subject, name, value, maxURI)
	case "dataschema":
		return text(&e.DataSchema, name, value, maxURI)
	case "specversion":
		return version(&e.SpecVersion, value)
	case "time":
		return instant(&e.Time, name, value)
	case "datacontenttype":
		return contentType(&e.DataContentType, value)
	default:
		return b.extension(name, value)
	}
}

func (b *builder) extension(name, value string) *Problem {
	if value == "" {
		return nil
	}
	if b.event.Extensions == nil {
		b.event.Extensions = map[string]string{}
	}
	var out string
	if problem := text(&out, name, value, maxExtension); problem != nil {
		return problem
	}
	b.event.Extensions[name] = out
	return nil
}

// done is the event, where everything required is there.
func (b *builder) done() (Event, *Problem) {
	for _, name := range []string{"specversion", "id", "source", "type"} {
		if !b.seen[name] {
			return Event{}, refuse(Missing, name, "The CloudEvents attribute %q is required. Add it to the event.", name)
		}
	}
	return b.event, nil
}

func text(out *string, name, value string, limit int) *Problem {
	switch {
	case value == "":
		return refuse(Missing, name, "The attribute %q is empty. Give it a value, or leave it out where it is optional.", name)
	case len(value) > limit:
		return refuse(TooLong, name, "The attribute %q is longer than %d bytes.", name, limit)
	case !printable(value):
		return refuse(Invalid, name, "The attribute %q holds control characters, line breaks or unreadable characters. Remove them.", name)
	default:
		*out = value
		return nil
	}
}

func version(out *string, value string) *Problem {
	if value != SpecVersion {
		return refuse(Invalid, "specversion", `The attribute "specversion" must be the string "1.0".`)
	}
	*out = value
	return nil
}

func instant(out *time.Time, name, value string) *Problem {
	var t time.Time
	err := t.UnmarshalText([]byte(strings.ToUpper(value)))
	if err != nil || timestamppb.New(t).CheckValid() != nil {
		return refuse(Invalid, name, `The attribute %q is not a time as RFC 3339 writes it, such as "2026-03-01T09:00:00Z".`, name)
	}
	*out = t.UTC()
	return nil
}

func contentType(out *string, value string) *Problem {
	if !IsJSON(value) {
		return refuse(Invalid, "datacontenttype", "The data must be JSON. Send it as application/json.")
	}
	return text(out, "datacontenttype", value, maxID)
}

// IsJSON tells whether a media type says JSON: application/json or anything+json,
// in UTF-8.
func IsJSON(mediaType string) bool {
	kind, params, err := mime.ParseMediaType(mediaType)
	if err != nil || !UTF8(params) {
		return false
	}
	return kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json")
}

// UTF8 tells whether the parameters of a media type leave the text in UTF-8.
func UTF8(params map[string]string) bool {
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "us-ascii")
}

func attributeName(name string) bool {
	return name != "" && len(name) <= maxAttrName && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9')
	})
}

// canonical is a JSON value of an extension in the string form that the
// CloudEvents type system gives it; ok is false where there is none.
func canonical(v any) (text string, ok bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatInt(int64(v), 10), v == float64(int64(v))
	default:
		return "", false
	}
}
