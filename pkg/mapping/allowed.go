package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"github.com/joinery/joinery/pkg/scim"
)

// allowed are the attributes that a target may have: nil allows all.
type allowed []scim.Path

// allowedIn reads the allow-list.
func allowedIn(spec Spec) (list allowed, problems []Problem) {
	for i, path := range spec.Allow {
		p, _, wrong := known(path)
		if wrong != "" {
			problems = append(problems, Problem{Field: fmt.Sprintf("attributes.allow[%d]", i), Message: wrong})
			continue
		}
		list = append(list, p)
	}
	return list, problems
}

// refuses says why a path may not be written. An attribute in the list allows
// what is under it; an extension allows all of its attributes.
func (list allowed) refuses(p scim.Path) string {
	within := func(a scim.Path) bool {
		switch {
		case a.String() == p.String() || strings.EqualFold(a.Attr, p.URN):
			return true
		case !strings.EqualFold(a.URN, p.URN) || !strings.EqualFold(a.Attr, p.Attr) || a.Sub != "":
			return false
		case a.Filter == nil:
			return true
		default:
			return strings.HasPrefix(p.String(), a.String()+".")
		}
	}
	if len(list) == 0 || slices.ContainsFunc(list, within) {
		return ""
	}
	return fmt.Sprintf("%s is not in attributes.allow: this target may not have it", p)
}

// reading is what an expression reads of a person.
type reading struct {
	// attributes are read by name; whole tells that the person is also used in
	// another way, so that any attribute could be read.
	attributes []string
	whole      bool
}

// readingOf finds what an expression reads of the variable.
func readingOf(a *ast.AST, variable string) (r reading) {
	named := map[int64]bool{} // the uses of the variable that name an attribute
	isPerson := func(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == variable }
	note := func(of ast.Expr, name string) {
		named[of.ID()] = true
		r.attributes = append(r.attributes, name)
	}
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			if s := e.AsSelect(); isPerson(s.Operand()) {
				note(s.Operand(), s.FieldName())
			}
		case ast.CallKind: // identity["x"] and identity.?x
			c := e.AsCall()
			if args := c.Args(); len(args) == 2 && strings.Contains(" _[_] _?._ _[?_] ", " "+c.FunctionName()+" ") &&
				isPerson(args[0]) && args[1].Kind() == ast.LiteralKind {
				note(args[0], str(args[1].AsLiteral()))
			}
		}
	}))
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		r.whole = r.whole || isPerson(e) && !named[e.ID()]
	}))
	slices.Sort(r.attributes)
	r.attributes = slices.Compact(r.attributes)
	return r
}

// checkSensitive reports what a rule reads and the target may not know. withheld
// are attributes of people by class.
func checkSensitive(field string, e *expression, withheld map[string][]string) (problems []Problem) {
	if e == nil || len(withheld) == 0 {
		return nil
	}
	if e.reads.whole {
		return []Problem{{Field: field, Message: "the rule uses the person as a whole: where attributes are sensitive each is read by name, as in identity.email"}}
	}
	for _, class := range slices.Sorted(maps.Keys(withheld)) {
		for _, name := range withheld[class] {
			if slices.Contains(e.reads.attributes, name) {
				problems = append(problems, Problem{Field: field, Message: fmt.Sprintf(
					"identity.%s is sensitive (%s): where this target may have it, write attributes: { sensitive: [%s] }", name, class, class)})
			}
		}
	}
	return problems
}

// checkAttributes reports rules that write or read what the target may not have.
func checkAttributes(spec Spec, rules []rule) []Problem {
	list, problems := allowedIn(spec)
	for _, r := range rules {
		if r.to.path.Attr == "" { // reported already
			continue
		}
		if why := list.refuses(r.to.path); why != "" {
			problems = append(problems, Problem{Field: r.name + ".to", Message: why})
		}
		problems = append(problems, checkSensitive(r.name+".from", r.from, spec.Withheld)...)
		for i, candidate := range r.unique {
			problems = append(problems, checkSensitive(fmt.Sprintf("%s.unique[%d]", r.name, i), candidate, spec.Withheld)...)
		}
	}
	return problems
}
