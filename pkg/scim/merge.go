package scim

import "slices"

// Merge is what a resource may show where it was sent one state and then, to an
// unknown end, another: all attributes and all elements of either, with the values
// of the later where both have one. As what was sent before, it makes Diff take
// back whatever of the two is not desired any more.
func Merge(earlier, later Resource) Resource {
	return mergeObjects(earlier, later)
}

func mergeObjects(earlier, later map[string]any) map[string]any {
	out := make(map[string]any, len(earlier)+len(later))
	for _, name := range union(earlier, later) {
		_, a, _ := field(earlier, name)
		_, b, _ := field(later, name)
		out[name] = mergeValues(a, b)
	}
	return out
}

func mergeValues(a, b any) any {
	switch {
	case !present(b):
		return clone(a)
	case !present(a):
		return clone(b)
	case isList(a) && isList(b):
		return mergeElements(list(a), list(b))
	case isObject(a) && isObject(b):
		return mergeObjects(object(a), object(b))
	}
	return clone(b)
}

// mergeElements merges elements that Diff takes for the same one, and keeps all
// others. Lists of simple values are compared as a whole, so the later counts.
func mergeElements(a, b []any) []any {
	var out []any
	for _, e := range b {
		m, ok := e.(map[string]any)
		if !ok {
			return slices.Clone(b)
		}
		key, value := elementKey(m)
		out = append(out, mergeObjects(elementWith(a, key, value), m))
	}
	for _, e := range a {
		m, ok := e.(map[string]any)
		if !ok {
			return slices.Clone(b)
		}
		if key, value := elementKey(m); elementWith(b, key, value) == nil {
			out = append(out, clone(m))
		}
	}
	return out
}
