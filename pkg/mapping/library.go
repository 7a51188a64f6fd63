package mapping

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
)

// errNothing is the result of a function that has none for its argument. It
// counts like an attribute that is missing: it passes through an expression
// until coalesce, default or present takes it.
var errNothing = errors.New("no such value")

// maxArguments bounds the arguments of coalesce.
const maxArguments = 8

// library is everything expressions may call. All of it is deterministic: no
// clock, no chance, nothing from outside.
func library() []cel.EnvOption {
	text, number, moment := cel.StringType, cel.IntType, cel.TimestampType
	return append(moments(), []cel.EnvOption{
		ext.Strings(), ext.Lists(), ext.Encoders(), ext.Bindings(), cel.OptionalTypes(), ext.Regex(), ext.Math(),
		method("lower", []*cel.Type{text}, text, onText(strings.ToLower)),
		method("upper", []*cel.Type{text}, text, onText(strings.ToUpper)),
		method("normalize", []*cel.Type{text}, text, onText(normalize)),
		method("proper", []*cel.Type{text}, text, onText(proper)),
		method("slug", []*cel.Type{text}, text, onText(slug)),
		method("digits", []*cel.Type{text}, text, onText(digits)),
		method("hex", []*cel.Type{text}, text, onText(func(t string) string { return hex.EncodeToString([]byte(t)) })),
		method("locale", []*cel.Type{text}, text, callLocale),
		method("truth", []*cel.Type{text}, cel.BoolType, callTruth),
		method("mid", []*cel.Type{text, number, number}, text, callMid),
		method("pad", []*cel.Type{text, number, text}, text, callPad),
		method("left", []*cel.Type{text, number}, text, callLeft),
		method("right", []*cel.Type{text, number}, text, callRight),
		method("before", []*cel.Type{text, text}, text, callBefore),
		method("after", []*cel.Type{text, text}, text, callAfter),
		method("word", []*cel.Type{text, number}, text, callWord),
		method("country", []*cel.Type{text}, text, callCountry),
		method("country", []*cel.Type{text, text}, text, callCountry),
		method("e164", []*cel.Type{text, text}, text, callE164),
		method("date", []*cel.Type{text}, text, callDate),
		method("date", []*cel.Type{text, text}, text, callDate),
		method("date", []*cel.Type{moment}, text, callDate),
		method("date", []*cel.Type{moment, text}, text, callDate),
		method("parseDate", []*cel.Type{text, text}, moment, callParseDate),
		choice("coalesce", 1, maxArguments, firstPresent),
		choice("default", 2, 2, firstPresent),
		cel.Function("present", cel.Overload("present_any", []*cel.Type{cel.DynType}, cel.BoolType,
			cel.OverloadIsNonStrict(), cel.FunctionBinding(callPresent))),
	}...)
}

// method declares a function that is called on its first argument, or with it:
// identity.name.proper() and proper(identity.name) are the same.
func method(name string, args []*cel.Type, result *cel.Type, call func(...ref.Val) ref.Val) cel.EnvOption {
	id := name
	for _, a := range args {
		id += "_" + a.String()
	}
	return cel.Function(name,
		cel.Overload(id, args, result, cel.FunctionBinding(call)),
		cel.MemberOverload("member_"+id, args, result, cel.FunctionBinding(call)))
}

// choice declares a function that takes missing values as arguments.
func choice(name string, fewest, most int, call func(...ref.Val) ref.Val) cel.EnvOption {
	value := cel.TypeParamType("A")
	var overloads []cel.FunctionOpt
	for n := fewest; n <= most; n++ {
		overloads = append(overloads, cel.Overload(fmt.Sprintf("%s_%d", name, n),
			slices.Repeat([]*cel.Type{value}, n), value,
			cel.OverloadIsNonStrict(), cel.FunctionBinding(call)))
	}
	return cel.Function(name, overloads...)
}

func onText(f func(string) string) func(...ref.Val) ref.Val {
	return func(args ...ref.Val) ref.Val { return types.String(f(str(args[0]))) }
}

// str and num read arguments whose types the overloads guarantee.
func str(v ref.Val) string { s, _ := v.Value().(string); return s }
func num(v ref.Val) int64  { n, _ := v.Value().(int64); return n }

// orNothing is the text, or nothing where the function has no result.
func orNothing(text string, ok bool) ref.Val {
	if !ok {
		return types.WrapErr(errNothing)
	}
	return types.String(text)
}

func callLeft(args ...ref.Val) ref.Val  { return types.String(left(str(args[0]), num(args[1]))) }
func callRight(args ...ref.Val) ref.Val { return types.String(right(str(args[0]), num(args[1]))) }
func callBefore(args ...ref.Val) ref.Val {
	return types.String(before(str(args[0]), str(args[1])))
}
func callAfter(args ...ref.Val) ref.Val { return orNothing(after(str(args[0]), str(args[1]))) }
func callWord(args ...ref.Val) ref.Val  { return orNothing(word(str(args[0]), num(args[1]))) }

func callMid(args ...ref.Val) ref.Val {
	return types.String(mid(str(args[0]), num(args[1]), num(args[2])))
}

func callPad(args ...ref.Val) ref.Val {
	return orNothing(pad(str(args[0]), num(args[1]), str(args[2])))
}
func callLocale(args ...ref.Val) ref.Val { return orNothing(locale(str(args[0]))) }

func callTruth(args ...ref.Val) ref.Val {
	yes, ok := truth(str(args[0]))
	if !ok {
		return types.WrapErr(errNothing)
	}
	return types.Bool(yes)
}

func callCountry(args ...ref.Val) ref.Val {
	form := "alpha2"
	if len(args) == 2 {
		form = str(args[1])
	}
	n, ok := nationOf(str(args[0]))
	if !ok {
		return types.WrapErr(errNothing)
	}
	return orNothing(n.in(form))
}

func callE164(args ...ref.Val) ref.Val {
	home, ok := nationOf(str(args[1]))
	if !ok {
		return types.WrapErr(errNothing)
	}
	return orNothing(e164(str(args[0]), home))
}

func callDate(args ...ref.Val) ref.Val {
	layout := "yyyy-MM-dd"
	if len(args) == 2 {
		layout = str(args[1])
	}
	golang, ok := dateLayout(layout)
	if !ok {
		return types.WrapErr(errNothing)
	}
	t, ok := args[0].Value().(time.Time)
	if !ok {
		t, ok = instant(str(args[0]))
	}
	if !ok {
		return types.WrapErr(errNothing)
	}
	return types.String(t.Format(golang))
}

func callParseDate(args ...ref.Val) ref.Val {
	golang, ok := dateLayout(str(args[1]))
	if !ok {
		return types.WrapErr(errNothing)
	}
	t, err := time.Parse(golang, strings.TrimSpace(str(args[0])))
	if err != nil || t.Year() < 1 {
		return types.WrapErr(errNothing)
	}
	return types.Timestamp{Time: t}
}

// firstPresent is the first argument that says something. An argument that
// failed for another reason than a missing value is the result.
func firstPresent(args ...ref.Val) ref.Val {
	for _, v := range args {
		if err, failed := v.(*types.Err); failed && !missing(err) {
			return v
		}
		if says(v) {
			return unwrapped(v)
		}
	}
	return types.WrapErr(errNothing)
}

func callPresent(args ...ref.Val) ref.Val {
	if err, failed := args[0].(*types.Err); failed && !missing(err) {
		return args[0]
	}
	return types.Bool(says(args[0]))
}

// says tells whether a value is more than missing, null, an empty text or an
// empty list.
func says(v ref.Val) bool {
	switch v := v.(type) {
	case *types.Err, types.Null, *types.Unknown:
		return false
	case *types.Optional:
		return v.HasValue() && says(v.GetValue())
	case types.String:
		return v != ""
	case traits.Lister:
		return v.Size() != types.IntZero
	default:
		return true
	}
}

func unwrapped(v ref.Val) ref.Val {
	if o, ok := v.(*types.Optional); ok && o.HasValue() {
		return o.GetValue()
	}
	return v
}

// missing tells whether an evaluation failed because something it read is not
// there: an attribute, an element, or the result of a function that had none.
// CEL has no error type for the first two, but their texts are part of its
// conformance tests.
func missing(err error) bool {
	return errors.Is(err, errNothing) ||
		strings.HasPrefix(err.Error(), "no such key: ") ||
		strings.HasPrefix(err.Error(), "index out of bounds: ")
}

// size charges the library's functions for the text they go through, as CEL
// charges its own.
type size struct{}

// CallCost is nil for functions that have a price already.
func (size) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	switch function {
	case "lower", "upper", "normalize", "proper", "slug", "digits", "left", "right", "before", "after",
		"word", "country", "e164", "date", "parseDate", "hex", "locale", "truth", "mid", "pad", "dateAdd", "dateDiff":
		cost := uint64(1)
		for _, a := range args {
			cost += uint64(len(str(a))) / 10
		}
		return &cost
	default:
		return nil
	}
}
