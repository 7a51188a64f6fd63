package identity

import (
	"slices"
)

// accesses is what was said of each access, by target and entitlement.
func (l life) accesses() map[[2]string][]Statement {
	out := map[[2]string][]Statement{}
	for _, s := range l.said {
		if s.meaning().track == access {
			key := [2]string{s.Target, s.Entitlement}
			out[key] = append(out[key], s)
		}
	}
	return out
}

// Grants are the accesses that are granted as of the record's moment, by target
// and entitlement. Whether a grant gives anything depends on the person's state.
func (r *Record) Grants() []Statement {
	l := r.life()
	var out []Statement
	for _, matter := range l.accesses() {
		s, ok := l.newest(matter)
		ended := !s.Expires.IsZero() && !r.AsOf.IsZero() && !s.Expires.After(r.AsOf)
		if ok && s.meaning().opens && !ended {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Statement) int { return slices.Compare(a.access(), b.access()) })
	return out
}

func (s Statement) access() []string { return []string{s.Target, s.Entitlement} }
