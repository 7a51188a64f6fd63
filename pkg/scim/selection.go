package scim

import (
	"maps"
	"slices"
	"strings"
)

// Selection is what attributes and excludedAttributes ask for (RFC 7644 section
// 3.9). The zero value asks for everything.
type Selection struct{ only, without tree }

// tree holds paths by lower-case names; a nil branch stands for all below it.
type tree map[string]tree

// SelectionOf reads the two parameters; each text may hold several names, with
// commas between them. The error is an *Error.
func SelectionOf(attributes, excluded []string) (Selection, error) {
	only, errOnly := treeOf(attributes)
	without, errWithout := treeOf(excluded)
	switch {
	case errOnly != nil || errWithout != nil:
		return Selection{}, invalid(InvalidPath, "attributes or excludedAttributes holds something that is no path")
	case only != nil && without != nil:
		return Selection{}, invalid(InvalidValue, "attributes and excludedAttributes exclude each other")
	}
	return Selection{only, without}, nil
}

func treeOf(lists []string) (tree, error) {
	var out tree
	for name := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		p, err := ParsePath(name)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = tree{}
		}
		path := []string{p.Attr, p.Sub}
		if p.URN != "" && !isCore(p.URN) {
			path = []string{p.URN, p.Attr, p.Sub}
		}
		out.plant(slices.DeleteFunc(path, func(s string) bool { return s == "" }))
	}
	return out, nil
}

func (t tree) plant(path []string) {
	name := strings.ToLower(path[0])
	branch, there := t[name]
	switch {
	case len(path) == 1 || there && branch == nil:
		t[name] = nil
	case !there:
		branch = tree{}
		t[name] = branch
		fallthrough
	default:
		branch.plant(path[1:])
	}
}

// Of takes out of a resource what was not asked for, and gives it; id and
// schemas always stay.
func (sel Selection) Of(r Resource) Resource {
	for name, v := range r {
		if strings.EqualFold(name, "id") || strings.EqualFold(name, "schemas") {
			continue
		}
		if sel.only != nil && !sel.only.keep(name, v) || sel.without != nil && sel.without.cut(name, v) {
			delete(r, name)
		}
	}
	return r
}

// keep tells whether a value stays, and takes out of it what does not.
func (t tree) keep(name string, v any) bool {
	branch, ok := t[strings.ToLower(name)]
	if ok && branch != nil {
		each(v, func(sub string, inner any) bool { return !branch.keep(sub, inner) })
	}
	return ok
}

// cut tells whether a value goes, and takes out of it what does.
func (t tree) cut(name string, v any) bool {
	branch, ok := t[strings.ToLower(name)]
	if ok && branch != nil {
		each(v, branch.cut)
		return false
	}
	return ok
}

// each visits the sub-attributes of an object, or of the elements of a list,
// and deletes those that drop says.
func each(v any, drop func(string, any) bool) {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, drop)
	case []any:
		for _, e := range v {
			if m, ok := e.(map[string]any); ok {
				maps.DeleteFunc(m, drop)
			}
		}
	}
}
