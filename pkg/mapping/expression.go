package mapping

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/joinery/joinery/pkg/spelling"
)

// The bounds of an expression, when it is compiled and when it is evaluated.
const (
	// MaxExpression is its length in characters.
	MaxExpression = 10_000
	// maxDepth is how deep calls and parentheses nest.
	maxDepth = 64
	// maxCost is what one evaluation may cost in CEL's units, roughly the
	// operations done and a tenth of the characters gone through: a filter and a
	// map over 5,000 groups cost about 280,000. What reaches the limit has taken
	// about a tenth of a second.
	maxCost = 500_000
	// maxMemory is how many elements and characters an evaluation may hold.
	maxMemory = 4 << 20
	// maxRegex is the size of a compiled regular expression.
	maxRegex = 1_000
)

// language compiles expressions over one variable, a map of anything.
type language struct {
	env      *cel.Env
	variable string
}

func newLanguage(variable string) (*language, error) {
	env, err := cel.NewEnv(append(library(),
		cel.Variable(variable, cel.MapType(cel.StringType, cel.DynType)),
		cel.CrossTypeNumericComparisons(true),
		cel.EnableIdentifierEscapeSyntax(),
		cel.ParserExpressionSizeLimit(MaxExpression),
		cel.ParserRecursionLimit(maxDepth),
		cel.RegexProgramSizeLimit(maxRegex),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateComprehensionNestingLimit(4), literals{},
		),
	)...)
	if err != nil {
		return nil, fmt.Errorf("prepare the expression language: %w", err)
	}
	return &language{env: env, variable: variable}, nil
}

// expression is one compiled expression.
type expression struct {
	text    string
	result  *cel.Type
	program cel.Program
	reads   reading
}

// compile type-checks an expression whose result must be of one of the wanted
// types, or of a type known only when it is evaluated. It gives every mistake.
func (l *language) compile(field, text string, wanted ...*cel.Type) (*expression, []Problem) {
	if strings.TrimSpace(text) == "" {
		return nil, []Problem{{Field: field, Message: field[strings.LastIndexByte(field, '.')+1:] + " is missing: an expression is needed"}}
	}
	checked, issues := l.env.Compile(text)
	if issues.Err() != nil {
		return nil, l.problems(field, text, issues.Errors())
	}
	if result := checked.OutputType(); !fits(result, wanted) {
		return nil, []Problem{{Field: field, Message: fmt.Sprintf(
			"the expression gives %s where %s is needed", nameOf(result), namesOf(wanted))}}
	}
	program, err := l.env.Program(checked,
		cel.CostLimit(maxCost), cel.CostTracking(size{}), cel.MemoryLimit(maxMemory))
	if err != nil {
		return nil, []Problem{{Field: field, Message: fmt.Sprintf("the expression cannot be planned: %v", err)}}
	}
	return &expression{text: strings.TrimSpace(text), result: checked.OutputType(), program: program, reads: readingOf(checked.NativeRep(), l.variable)}, nil
}

// problems translates what the compiler found. It finds an error more than
// once where a macro repeats it.
func (l *language) problems(field, text string, found []*cel.Error) []Problem {
	lines := strings.Split(text, "\n")
	var out []Problem
	for _, e := range found {
		p := Problem{Field: field, Message: explain(e.Message)}
		if line := e.Location.Line(); line >= 1 && line <= len(lines) {
			p.Line, p.Column = line, e.Location.Column()+1
			l.unknownName(&p, []rune(lines[line-1]))
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// explain is a compiler's message in words for the author of a rule.
func explain(message string) string {
	if rest, ok := strings.CutPrefix(message, "Syntax error: "); ok {
		rest, _, _ = strings.Cut(rest, " expecting ")
		rest = strings.ReplaceAll(rest, "mismatched input '<EOF>'", "the expression ends too early")
		rest = strings.ReplaceAll(rest, "no viable alternative at input", "cannot make sense of")
		return "syntax error: " + rest
	}
	return strings.ReplaceAll(message, "dyn", "any")
}

// unknownName says of a name that does not exist what it was probably meant to
// be. The compiler places an unknown function at its bracket.
func (l *language) unknownName(p *Problem, line []rune) {
	rest, ok := strings.CutPrefix(p.Message, "undeclared reference to '")
	if !ok {
		return
	}
	name, _, _ := strings.Cut(rest, "'")
	names := slices.Sorted(maps.Keys(l.env.Functions()))
	names = slices.DeleteFunc(names, func(n string) bool { return strings.ContainsAny(n, "_@!-") })
	hint := spelling.DidYouMean(name, append(names, l.variable))
	if at := p.Column - 1; at < len(line) && line[at] == '(' {
		p.Column = max(p.Column-len([]rune(name)), 1)
		p.Message = fmt.Sprintf("there is no function %q%s", name, hint)
		return
	}
	if hint == "" {
		hint = fmt.Sprintf(" (an attribute is read as %s.%s, a text stands in quotes)", l.variable, name)
	}
	p.Message = fmt.Sprintf("nothing is called %q here%s", name, hint)
}

// fits tells whether a result can be of a wanted type. No wanted type at all
// means that any will do.
func fits(result *cel.Type, wanted []*cel.Type) bool {
	if result.Kind() == types.OpaqueKind && result.TypeName() == "optional_type" {
		result = result.Parameters()[0]
	}
	if len(wanted) == 0 || result.Kind() == types.DynKind || result.Kind() == types.NullTypeKind {
		return true
	}
	return slices.ContainsFunc(wanted, func(w *cel.Type) bool { return w.Kind() == result.Kind() })
}

func namesOf(wanted []*cel.Type) string {
	names := make([]string, len(wanted))
	for i, t := range wanted {
		names[i] = nameOf(t)
	}
	return strings.Join(slices.Compact(names), " or ")
}

// nameOf is the name of a type for the author of a rule.
func nameOf(t *cel.Type) string {
	switch t.Kind() {
	case types.BoolKind:
		return "true or false"
	case types.StringKind:
		return "a text"
	case types.IntKind, types.UintKind, types.DoubleKind:
		return "a number"
	case types.ListKind:
		return "a list"
	case types.MapKind:
		return "a map"
	case types.TimestampKind:
		return "a time"
	case types.DurationKind:
		return "a duration"
	case types.BytesKind:
		return "bytes"
	default:
		return strings.ReplaceAll(t.String(), "dyn", "any")
	}
}

// eval is the value of the expression, or nil where it has none: an attribute
// that it reads is missing, or its result is null. The error never holds a
// value, only one of a few fixed reasons, unless it is unwrapped.
func (e *expression) eval(variable string, value map[string]any) (ref.Val, error) {
	out, _, err := e.program.Eval(map[string]any{variable: value})
	switch {
	case err != nil && missing(err):
		return nil, nil
	case err != nil:
		return nil, &evalError{cause: err}
	}
	if o, ok := out.(*types.Optional); ok {
		if !o.HasValue() {
			return nil, nil
		}
		out = o.GetValue()
	}
	if out.Type() == types.NullType {
		return nil, nil
	}
	return out, nil
}

// evalError hides what CEL says, which can quote values, behind a reason.
type evalError struct{ cause error }

func (e *evalError) Error() string { return reasonOf(e.cause.Error()) }

// detail is what CEL says. It is for operators' own test data alone.
func detail(err error) string {
	if hidden := (*evalError)(nil); errors.As(err, &hidden) {
		return hidden.cause.Error()
	}
	return err.Error()
}

// reasons holds what CEL's messages begin with or contain, and what may be
// said of them.
var reasons = []struct{ sign, reason string }{
	{"no such overload", "an operation does not suit the type of its value"},
	{"no matching overload", "an operation does not suit the type of its value"},
	{"unsupported", "an operation does not suit the type of its value"},
	{"conversion error", "a value cannot be converted"},
	{"cannot convert", "a value cannot be converted"},
	{"index out of range", "a position lies outside a text"},
	{"division by zero", "division by zero"},
	{"modulus by zero", "division by zero"},
	{"overflow", "a number is too large"},
	{"cost limit exceeded", "the expression is too expensive for this value"},
	{"memory limit", "the expression needs too much memory for this value"},
}

func reasonOf(message string) string {
	for _, r := range reasons {
		if strings.Contains(message, r.sign) {
			return r.reason
		}
	}
	return "the expression fails for this value"
}

// literals checks arguments that are written as literals: a date layout and a
// country never depend on the person, so a wrong one is wrong for everybody.
type literals struct{}

// Name is the name by which CEL knows the check.
func (literals) Name() string { return "joinery.validator.literals" }

// Validate reports each literal that no value can make right.
func (literals) Validate(_ *cel.Env, _ cel.ValidatorConfig, a *ast.AST, issues *cel.Issues) {
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		call := e.AsCall()
		args := call.Args()
		if call.IsMemberFunction() {
			args = append([]ast.Expr{call.Target()}, args...)
		}
		for at, arg := range args {
			if at == 0 || arg.Kind() != ast.LiteralKind || arg.AsLiteral().Type() != types.StringType {
				continue
			}
			why := wrongMoment(call.FunctionName(), at, str(arg.AsLiteral()))
			if at == 1 {
				why = wrongLiteral(call.FunctionName(), str(arg.AsLiteral()))
			}
			if why != "" {
				issues.ReportErrorAtID(arg.ID(), "%s", why)
			}
		}
	}))
}

func wrongLiteral(function, value string) string {
	switch function {
	case "date", "parseDate":
		if _, ok := dateLayout(value); !ok {
			return fmt.Sprintf("%q is not a date layout: write one like \"dd.MM.yyyy\"", value)
		}
	case "e164":
		if _, ok := nationOf(value); !ok {
			return fmt.Sprintf("%q is not a country: write a code like \"DE\"", value)
		}
	case "country":
		if _, ok := (nation{}).in(value); !ok {
			return fmt.Sprintf("%q is not a form of a country: write \"alpha2\", \"alpha3\" or \"name\"", value)
		}
	}
	return ""
}
