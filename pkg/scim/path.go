package scim

import "strings"

// Path is an attribute path as PATCH and mappings use it (RFC 7644 section
// 3.5.2): attr, attr.sub, attr[filter], attr[filter].sub, each behind an
// optional schema URN.
type Path struct {
	URN    string
	Attr   string
	Filter Filter
	Sub    string
}

// maxPath bounds a path; the longest honest one is a URN and a filter.
const maxPath = 2048

// ParsePath reads a path. A URN alone names the whole extension.
func ParsePath(s string) (Path, error) {
	if s == "" || len(s) > maxPath {
		return Path{}, invalid(InvalidPath, "the path is empty or too long")
	}
	var p Path
	rest := s
	if strings.HasPrefix(strings.ToLower(s), "urn:") {
		p.URN, rest = splitURN(s)
		if rest == "" && p.URN == s {
			return Path{Attr: p.URN}, nil
		}
	}
	attr, tail := cutName(rest)
	if attr == "" {
		return Path{}, invalid(InvalidPath, "an attribute name is missing")
	}
	p.Attr = attr
	if strings.HasPrefix(tail, "[") {
		f, after, err := bracketed(tail)
		if err != nil {
			return Path{}, err
		}
		p.Filter, tail = f, after
	}
	if strings.HasPrefix(tail, ".") {
		p.Sub, tail = cutName(tail[1:])
		if p.Sub == "" {
			return Path{}, invalid(InvalidPath, "a sub-attribute name is missing")
		}
	}
	if tail != "" {
		return Path{}, invalid(InvalidPath, "there is something after the path")
	}
	return p, nil
}

// splitURN divides "urn:...:2.0:User:department" into the URN and the rest. The
// attribute follows the last colon before any bracket; a URN that ends a known
// schema stands alone.
func splitURN(s string) (urn, rest string) {
	for _, known := range []string{UserSchema, EnterpriseSchema, GroupSchema} {
		if strings.EqualFold(s, known) {
			return s, ""
		}
		if len(s) > len(known) && strings.EqualFold(s[:len(known)], known) && (s[len(known)] == ':' || s[len(known)] == '.') {
			return s[:len(known)], s[len(known)+1:]
		}
	}
	head := s
	if i := strings.IndexByte(s, '['); i >= 0 {
		head = s[:i]
	}
	i := strings.LastIndexByte(head, ':')
	rest = s[i+1:]
	// "...:2.0:User" names a schema, not an attribute.
	if name := strings.ToLower(rest); name == "user" || name == "group" {
		return s, ""
	}
	return s[:i], rest
}

// cutName takes an attribute name (RFC 7643 section 2.1, and the "$ref" of
// section 2.4) off the front.
func cutName(s string) (name, rest string) {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || (i == 0 && c == '$')
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '_' && c != '$') {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// bracketed reads "[filter]" off the front, minding quoted brackets.
func bracketed(s string) (Filter, string, error) {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ']' && !quoted:
			f, err := ParseFilter(s[1:i])
			if err != nil {
				return nil, "", invalid(InvalidPath, "the filter in the path is wrong")
			}
			return f, s[i+1:], nil
		}
	}
	return nil, "", invalid(InvalidPath, "a bracket is not closed")
}

// String is the path in its text form.
func (p Path) String() string {
	s := p.Attr
	if p.URN != "" {
		s = p.URN + ":" + s
	}
	if p.Filter != nil {
		s += "[" + p.Filter.String() + "]"
	}
	if p.Sub != "" {
		s += "." + p.Sub
	}
	return s
}
