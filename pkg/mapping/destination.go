package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/spelling"
	"google.golang.org/protobuf/types/known/structpb"
)

// What is wrong with a value, in words that never repeat it.
var (
	errNotBool   = errors.New("the value is neither true nor false")
	errNotText   = errors.New("the value is not a text")
	errNotNumber = errors.New("the value is not a number")
	errNotWhole  = errors.New("the value is not a whole number")
	errNotList   = errors.New("the value is not a list, but the attribute has several values")
	errNotMap    = errors.New("the value is not a map, but the attribute has sub-attributes")
	errNotJSON   = errors.New("the value cannot be written as JSON")
)

// destination is an attribute that a rule writes.
type destination struct {
	path scim.Path
	// kind is the attribute's SCIM type; "" where nothing is known about it.
	kind string
	// list tells whether a list of values is written.
	list bool
}

// String is the canonical path: names in the spelling of their schema, the core
// URN left out.
func (d destination) String() string { return d.path.String() }

// destinationOf reads the path a rule writes. wrong says why no rule can write it.
func destinationOf(to string, ref bool) (d destination, wrong string) {
	p, a, wrong := known(to)
	if wrong != "" {
		return d, wrong
	}
	d = destination{path: p, kind: a.Type, list: a.Multi && p.Filter == nil && p.Sub == ""}
	if p.Sub != "" || a.Type == "" {
		d.kind = subType(a, p.Sub)
	}
	if wrong := d.shape(a); wrong != "" {
		return d, wrong
	}
	if ref {
		return d.reference(a)
	}
	return d, ""
}

// known reads a path and finds its attribute.
func known(path string) (scim.Path, scim.Attribute, string) {
	if strings.TrimSpace(path) == "" {
		return scim.Path{}, scim.Attribute{}, "the path is missing: name a SCIM attribute"
	}
	p, err := scim.ParsePath(strings.TrimSpace(path))
	if err != nil {
		why := err.Error()
		if said := scim.As(err); said != nil {
			why = said.Detail
		}
		return p, scim.Attribute{}, fmt.Sprintf("%q is not a SCIM path: %s", path, why)
	}
	a, p, wrong := attributeOf(p)
	return p, a, wrong
}

// CheckMatch says why accounts cannot be searched by a path, or "".
func CheckMatch(path string) string {
	p, a, wrong := known(path)
	switch {
	case wrong != "":
		return wrong
	case p.Filter != nil:
		return "an account is searched by an attribute, without a filter: write " + scim.Path{URN: p.URN, Attr: p.Attr, Sub: p.Sub}.String()
	case a.Type == "complex" && p.Sub == "":
		return fmt.Sprintf("%s has sub-attributes: name one, as in %s.%s", a.Name, a.Name, firstOf(a.Sub))
	default:
		return ""
	}
}

func firstOf(sub []scim.Attribute) string {
	if len(sub) == 0 {
		return "value"
	}
	return sub[0].Name
}

// reserved holds the attributes that no rule may write, and why.
func reserved(name string) string {
	switch strings.ToLower(name) {
	case "id", "meta":
		return "is written by the service provider"
	case "groups":
		return "follows from the members of groups: use the rules under groups"
	case "schemas":
		return "is written by Joinery"
	default:
		return ""
	}
}

// attributeOf finds the attribute of a path, and gives the path in the spelling
// of its schema.
func attributeOf(p scim.Path) (scim.Attribute, scim.Path, string) {
	core := strings.EqualFold(p.URN, scim.UserSchema)
	if core {
		p.URN = ""
	}
	switch {
	case strings.HasPrefix(strings.ToLower(p.Attr), "urn:"):
		if strings.EqualFold(p.Attr, scim.UserSchema) {
			return scim.Attribute{}, p, "the core schema is not an attribute: name one of its attributes"
		}
		return scim.Attribute{Name: p.Attr, Type: "complex"}, p, ""
	case p.URN != "" && !strings.EqualFold(p.URN, scim.EnterpriseSchema):
		return scim.Attribute{Name: p.Attr}, p, ""
	}
	var pool []scim.Attribute
	if p.URN == "" {
		if why := reserved(p.Attr); why != "" {
			return scim.Attribute{}, p, p.Attr + " " + why
		}
		pool = append(scim.UserAttributes().Attributes, scim.Attribute{Name: "externalId", Type: "string", Mutability: "readWrite"})
	}
	if !core {
		pool = append(pool, scim.EnterpriseAttributes().Attributes...)
	}
	i := slices.IndexFunc(pool, func(a scim.Attribute) bool { return strings.EqualFold(a.Name, p.Attr) })
	if i < 0 {
		return scim.Attribute{}, p, fmt.Sprintf("a SCIM user has no attribute %q%s", p.Attr, spelling.DidYouMean(p.Attr, namesIn(pool)))
	}
	p.Attr = pool[i].Name
	if enterprise(p.Attr) && !core {
		p.URN = scim.EnterpriseSchema
	}
	return spelledSub(pool[i], p)
}

func enterprise(name string) bool {
	return slices.Contains(namesIn(scim.EnterpriseAttributes().Attributes), name)
}

// spelledSub puts the sub-attribute of a path in the spelling of its schema.
func spelledSub(a scim.Attribute, p scim.Path) (scim.Attribute, scim.Path, string) {
	if p.Sub == "" {
		return a, p, ""
	}
	if len(a.Sub) == 0 {
		return a, p, fmt.Sprintf("%s has no sub-attributes", a.Name)
	}
	i := slices.IndexFunc(a.Sub, func(s scim.Attribute) bool { return strings.EqualFold(s.Name, p.Sub) })
	if i < 0 {
		return a, p, fmt.Sprintf("%s has no sub-attribute %q%s", a.Name, p.Sub, spelling.DidYouMean(p.Sub, namesIn(a.Sub)))
	}
	if a.Sub[i].Mutability == "readOnly" {
		return a, p, fmt.Sprintf("%s.%s is written by the service provider", a.Name, a.Sub[i].Name)
	}
	p.Sub = a.Sub[i].Name
	return a, p, ""
}

func namesIn(pool []scim.Attribute) []string {
	names := make([]string, len(pool))
	for i, a := range pool {
		names[i] = a.Name
	}
	return names
}

func subType(a scim.Attribute, name string) string {
	for _, s := range a.Sub {
		if s.Name == name {
			return s.Type
		}
	}
	return ""
}

// shape says why a path of the right names cannot be written.
func (d destination) shape(a scim.Attribute) string {
	p := d.path
	switch {
	case a.Multi && p.Filter == nil && p.Sub != "":
		return fmt.Sprintf("%s has several values: say which, as in %s[type eq \"work\"].%s", a.Name, a.Name, p.Sub)
	case !a.Multi && a.Type != "" && p.Filter != nil:
		return fmt.Sprintf("%s has one value: it cannot be filtered", a.Name)
	}
	var sample any = "x"
	if p.Filter != nil && p.Sub == "" {
		sample = map[string]any{}
	}
	if err := (scim.Resource{}).Set(p.String(), sample); err != nil {
		return fmt.Sprintf("%s cannot be written: the filter must be made of equalities, as in [type eq \"work\"]", p)
	}
	return ""
}

// reference is the place of another account's id: the value of a complex
// attribute such as manager.
func (d destination) reference(a scim.Attribute) (destination, string) {
	if d.kind == "complex" && !d.list && subType(a, "value") != "" {
		d.path.Sub, d.kind = "value", "string"
	}
	if d.list || (d.kind != "string" && d.kind != "") {
		return d, fmt.Sprintf("%s cannot refer to a person", d.path)
	}
	return d, ""
}

// claim notes what a rule writes, and reports another that writes it too, or a
// part of it.
func (d destination) claim(taken map[string]string, rule string) []Problem {
	key := strings.ToLower(d.String())
	whole := key
	if d.path.Sub != "" {
		whole = strings.TrimSuffix(key, "."+strings.ToLower(d.path.Sub))
	}
	for _, other := range slices.Sorted(maps.Keys(taken)) {
		by := taken[other]
		if other == key || other == whole || strings.HasPrefix(other, key+".") || strings.HasPrefix(other, key+"[") ||
			strings.HasPrefix(whole, other+"[") || strings.HasPrefix(other, key+":") || strings.HasPrefix(key, other+":") {
			return []Problem{{Field: rule + ".to", Message: fmt.Sprintf("%s is written by %s already", d, by)}}
		}
	}
	taken[key] = rule
	return nil
}

// accepts is the types that an expression for the destination may have.
func (d destination) accepts(ref bool) []*cel.Type {
	text := []*cel.Type{cel.StringType, cel.IntType, cel.UintType, cel.DoubleType}
	switch {
	case ref:
		return text
	case d.list:
		return []*cel.Type{cel.ListType(cel.DynType)}
	}
	switch d.kind {
	case "string", "reference":
		return text
	case "dateTime":
		return []*cel.Type{cel.StringType, cel.TimestampType}
	case "binary":
		return []*cel.Type{cel.StringType, cel.BytesType}
	case "boolean":
		return []*cel.Type{cel.BoolType, cel.StringType}
	case "integer", "decimal":
		return []*cel.Type{cel.IntType, cel.UintType, cel.DoubleType}
	case "complex":
		return []*cel.Type{cel.MapType(cel.StringType, cel.DynType)}
	default:
		return nil
	}
}

// convert is the value as the attribute's type writes it; nil where it is empty.
func (d destination) convert(v ref.Val) (any, error) {
	if d.list {
		return listed(v)
	}
	switch d.kind {
	case "string", "reference":
		return text(v)
	case "boolean":
		return boolean(v)
	case "integer":
		return integer(v)
	case "decimal":
		return decimal(v)
	case "complex":
		if _, ok := v.(traits.Mapper); !ok {
			return nil, errNotMap
		}
	}
	return written(v)
}

func listed(v ref.Val) (any, error) {
	if _, ok := v.(traits.Lister); !ok {
		return nil, errNotList
	}
	return written(v)
}

// text is a text, or a number as its digits: HR systems send employee numbers
// as either.
func text(v ref.Val) (any, error) {
	switch v := v.Value().(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), finite(v)
	default:
		return nil, errNotText
	}
}

func finite(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return errNotNumber
	}
	return nil
}

func boolean(v ref.Val) (any, error) {
	switch v := v.Value().(type) {
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(v) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	}
	return nil, errNotBool
}

func integer(v ref.Val) (any, error) {
	switch v := v.Value().(type) {
	case int64:
		return json.Number(strconv.FormatInt(v, 10)), nil
	case uint64:
		return json.Number(strconv.FormatUint(v, 10)), nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) <= 1<<53 {
			return json.Number(strconv.FormatFloat(v, 'f', -1, 64)), nil
		}
	}
	return nil, errNotWhole
}

func decimal(v ref.Val) (any, error) {
	if f, ok := v.Value().(float64); ok {
		return json.Number(strconv.FormatFloat(f, 'f', -1, 64)), finite(f)
	}
	whole, err := integer(v)
	if err != nil {
		return nil, errNotNumber
	}
	return whole, nil
}

// written is any value as JSON has it. What is null or an empty list is left
// out of maps and lists, and is nil by itself.
func written(v ref.Val) (any, error) {
	out, err := plain(v)
	return tidy(out), err
}

// plain is any value as JSON has it: nil, bool, string, float64, []any or
// map[string]any.
func plain(v ref.Val) (any, error) {
	native, err := v.ConvertToNative(reflect.TypeFor[*structpb.Value]())
	if err != nil {
		return nil, errNotJSON
	}
	value, ok := native.(*structpb.Value)
	if !ok {
		return nil, errNotJSON
	}
	return value.AsInterface(), nil
}

func tidy(v any) any {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			v[i] = tidy(e)
		}
		if v = slices.DeleteFunc(v, func(e any) bool { return e == nil }); len(v) > 0 {
			return v
		}
		return nil
	case map[string]any:
		for name, e := range v {
			if v[name] = tidy(e); v[name] == nil {
				delete(v, name)
			}
		}
		if len(v) > 0 {
			return v
		}
		return nil
	default:
		return v
	}
}
