package scim

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The scimType keywords of RFC 7644 section 3.12.
const (
	InvalidFilter = "invalidFilter"
	TooMany       = "tooMany"
	Uniqueness    = "uniqueness"
	Mutability    = "mutability"
	InvalidSyntax = "invalidSyntax"
	InvalidPath   = "invalidPath"
	NoTarget      = "noTarget"
	InvalidValue  = "invalidValue"
	InvalidVers   = "invalidVers"
	Sensitive     = "sensitive"
	// InvalidCursor is of RFC 9865 section 2.1.
	InvalidCursor = "invalidCursor"
)

// Error is what a service provider says when it refuses (RFC 7644 section
// 3.12). Detail is its own words, which may hold personal values: Error leaves
// it out.
type Error struct {
	Status     int
	ScimType   string
	Detail     string
	Attributes []string
}

// Error names the status, the keyword and the attributes, never values.
func (e *Error) Error() string {
	s := fmt.Sprintf("the target answered %d", e.Status)
	if e.ScimType != "" {
		s += " " + e.ScimType
	}
	if len(e.Attributes) > 0 {
		s += " about " + strings.Join(e.Attributes, ", ")
	}
	return s
}

func invalid(scimType, detail string) *Error {
	return &Error{Status: 400, ScimType: scimType, Detail: detail}
}

// MarshalJSON writes the error document, with the status as text as the RFC asks.
func (e *Error) MarshalJSON() ([]byte, error) {
	doc := map[string]any{"schemas": []string{ErrorSchema}, "status": strconv.Itoa(e.Status)}
	if e.ScimType != "" {
		doc["scimType"] = e.ScimType
	}
	if e.Detail != "" {
		doc["detail"] = e.Detail
	}
	return json.Marshal(doc)
}

// maxDetail bounds what is kept of a server's words.
const maxDetail = 1024

var (
	knownTypes = []string{
		InvalidFilter, TooMany, Uniqueness, Mutability, InvalidSyntax, InvalidPath, NoTarget,
		InvalidValue, InvalidVers, Sensitive, InvalidCursor,
	}
	quotedName = regexp.MustCompile(`["'\x60]([A-Za-z][A-Za-z0-9_.:-]{1,80})["'\x60]`)
)

// DecodeError reads an error document in any of the shapes vendors send: SCIM,
// problem+json, "errors" objects and lists, plain text. It always gives an error.
func DecodeError(status int, body []byte) *Error {
	e := &Error{Status: status}
	doc, err := Parse(body)
	if err != nil {
		e.Detail = clip(string(body))
		return e
	}
	for _, name := range []string{"errors", "Errors", "error"} {
		if _, v, ok := field(doc, name); ok {
			if inner := list(v); len(inner) > 0 {
				if m, isMap := inner[0].(map[string]any); isMap {
					doc = m
				}
			}
		}
	}
	e.ScimType = canonicalType(doc.text("scimType"))
	for _, name := range []string{"detail", "description", "message", "title", "error_description"} {
		if s := doc.text(name); s != "" {
			e.Detail = clip(s)
			break
		}
	}
	e.Attributes = attributesIn(e.Detail)
	return e
}

// canonicalType keeps only keywords of the RFC: the text is the server's.
func canonicalType(s string) string {
	for _, known := range knownTypes {
		if strings.EqualFold(s, known) {
			return known
		}
	}
	return ""
}

func clip(s string) string {
	if len(s) > maxDetail {
		return s[:maxDetail]
	}
	return s
}

// attributesIn finds the names of known attributes in a server's words; values
// are never taken for names.
func attributesIn(detail string) []string {
	var out []string
	add := func(name string) {
		if IsAttribute(name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, m := range quotedName.FindAllStringSubmatch(detail, 16) {
		add(m[1])
	}
	for _, word := range strings.FieldsFunc(detail, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '.'
	}) {
		add(strings.Trim(word, "."))
	}
	return out
}

// As gives the SCIM error in a chain, or nil.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
