package simulator

import (
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
)

// Vendor is what a vendor insists on and what it does not have, as data. The
// zero value insists on nothing but the RFCs.
type Vendor struct {
	// ContentType is the only media type of requests that is taken.
	ContentType string `json:"content_type,omitempty"`
	// NoDiscovery answers 404 for ServiceProviderConfig, Schemas and ResourceTypes.
	NoDiscovery bool `json:"no_discovery,omitempty"`
	// DiscoveryPath is where the ServiceProviderConfig is instead.
	DiscoveryPath string `json:"discovery_path,omitempty"`
	// NoETag gives no versions, and believes none.
	NoETag bool `json:"no_etag,omitempty"`
	// PageMax is the most resources in a page; it goes over Options.PageMax.
	PageMax int `json:"page_max,omitempty"`
	// BulkMax is the most operations in a bulk request, where there is bulk.
	BulkMax int `json:"bulk_max,omitempty"`
	// NoExcluded refuses excludedAttributes.
	NoExcluded bool `json:"no_excluded,omitempty"`

	// UserFilters and GroupFilters are the only attributes to search by; empty
	// is all. FilterNever are attributes by which no search works.
	UserFilters  []string `json:"user_filters,omitempty"`
	GroupFilters []string `json:"group_filters,omitempty"`
	FilterNever  []string `json:"filter_never,omitempty"`
	// NoSearch has no POST /.search.
	NoSearch bool `json:"no_search,omitempty"`
	// UserNameAs is the attribute that filters call the user name.
	UserNameAs string `json:"user_name_as,omitempty"`

	// CreateForbids, Unsupported, Required and SingleValued are paths of users:
	// refused when new, refused always, needed when new, and of one element.
	CreateForbids []string `json:"create_forbids,omitempty"`
	Unsupported   []string `json:"unsupported,omitempty"`
	Required      []string `json:"required,omitempty"`
	SingleValued  []string `json:"single_valued,omitempty"`
	// Immutable are paths of users that never change.
	Immutable []string `json:"immutable,omitempty"`
	// CreateInactive is "" or supported; refuse: a new user must say active: true.
	CreateInactive string `json:"create_inactive,omitempty"`

	// ActiveOnly refuses PUT of users, and PATCH of anything but active.
	ActiveOnly bool `json:"active_only,omitempty"`
	// PutActiveAs are names of which the first says what a PUT makes of active;
	// where it is absent the user is inactive afterwards.
	PutActiveAs []string `json:"put_active_as,omitempty"`
	// PatchBody is "" or operations; resource: the body of a PATCH is read as a
	// user, whatever it is.
	PatchBody string `json:"patch_body,omitempty"`
	// PatchForm is "" (any); pathless: of users, operations with a path are refused.
	PatchForm string `json:"patch_form,omitempty"`
	// OpTitle refuses operations in lower case.
	OpTitle bool `json:"op_title,omitempty"`
	// PatchOps are the only operations; empty is all.
	PatchOps []string `json:"patch_ops,omitempty"`
	// NoValuePaths refuses paths of users with a filter in brackets.
	NoValuePaths bool `json:"no_value_paths,omitempty"`
	// BoolStrings refuses JSON booleans in a PATCH.
	BoolStrings bool `json:"bool_strings,omitempty"`
	// PatchAlone are attributes that bear no other operation beside theirs.
	PatchAlone []string `json:"patch_alone,omitempty"`

	// NoDisable refuses active: false; NoDelete refuses DELETE of users.
	NoDisable bool `json:"no_disable,omitempty"`
	NoDelete  bool `json:"no_delete,omitempty"`

	// NoGroups has none; NoGroupCreate, NoGroupRename and NoGroupDelete leave
	// that to the application.
	NoGroups      bool `json:"no_groups,omitempty"`
	NoGroupCreate bool `json:"no_group_create,omitempty"`
	NoGroupRename bool `json:"no_group_rename,omitempty"`
	NoGroupDelete bool `json:"no_group_delete,omitempty"`
	// EmptyGroups makes every new group empty, whatever was sent.
	EmptyGroups bool `json:"empty_groups,omitempty"`
	// MembersAdd is "" (as the RFC has it); pathless (only an object without a
	// path); bare (only an array without one); wrapped (only the path members
	// with an object that has them).
	MembersAdd string `json:"members_add,omitempty"`
	// MembersRemove is "" (any); filter (only members[value eq "id"]); array
	// (only the path members with an array).
	MembersRemove string `json:"members_remove,omitempty"`
	// MembersDisplay needs display of every member that is added.
	MembersDisplay bool `json:"members_display,omitempty"`
}

func (v Vendor) validate(oneOf func(name, value string, known ...string)) {
	oneOf("create_inactive", v.CreateInactive, "supported", "refuse")
	oneOf("patch_body", v.PatchBody, "operations", "resource")
	oneOf("patch_form", v.PatchForm, "path", "pathless")
	oneOf("members_add", v.MembersAdd, "path", "pathless", "bare", "wrapped")
	oneOf("members_remove", v.MembersRemove, "filter", "array")
}

// absent refuses what the vendor does not have, or gives nil.
func (v Vendor) absent(a ask, kind, id string) *reply {
	status, why := 0, ""
	users, groups := kind == string(scim.Users), kind == string(scim.Groups)
	switch {
	case v.ContentType != "" && len(a.body) > 0 && !sameType(v.ContentType, a.contentType):
		status, why = http.StatusUnsupportedMediaType, "the Content-Type must be "+v.ContentType
	case v.NoDiscovery && slices.Contains([]string{"ServiceProviderConfig", "Schemas", "ResourceTypes"}, kind),
		v.DiscoveryPath != "" && kind == "ServiceProviderConfig", v.NoGroups && groups:
		status, why = http.StatusNotFound, "there is no such endpoint"
	case v.NoSearch && a.method == http.MethodPost && (kind == ".search" || id == ".search"):
		status, why = http.StatusNotImplemented, "there is no .search"
	case v.NoExcluded && a.query.Get("excludedAttributes") != "":
		status, why = http.StatusBadRequest, "excludedAttributes is not supported"
	case a.method == http.MethodPut && users && v.ActiveOnly,
		a.method == http.MethodDelete && (users && v.NoDelete || groups && v.NoGroupDelete),
		a.method == http.MethodPost && groups && id == "" && v.NoGroupCreate:
		status, why = http.StatusMethodNotAllowed, a.method+" is not supported"
	default:
		return nil
	}
	p := failure(status, "", why)
	return &p
}

func sameType(want, got string) bool {
	kind, _, err := mime.ParseMediaType(got)
	return err == nil && strings.EqualFold(kind, want)
}

// searchable tells whether a search by the attribute works.
func (v Vendor) searchable(attribute string, kinds []scim.Kind) bool {
	if among(v.FilterNever, attribute) {
		return false
	}
	for _, kind := range kinds {
		allowed := v.UserFilters
		if kind == scim.Groups {
			allowed = v.GroupFilters
		}
		if len(allowed) > 0 && !among(allowed, attribute) {
			return false
		}
	}
	return true
}

func among(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// meant is the filter with the vendor's word for userName understood.
func (v Vendor) meant(f scim.Filter) (scim.Filter, error) {
	word, rest, ok := strings.Cut(f.String(), " ")
	if v.UserNameAs == "" || !ok || !strings.EqualFold(word, v.UserNameAs) {
		return f, nil
	}
	return scim.ParseFilter("userName " + rest)
}

// welcome gives a new resource as the vendor takes it, or says why it does not.
func (v Vendor) welcome(kind scim.Kind, r scim.Resource) (scim.Resource, error) {
	if kind == scim.Groups {
		if v.EmptyGroups {
			r = r.Clone()
			r.Drop("members")
		}
		return r, v.displayed(r.Members())
	}
	for _, path := range v.Required {
		if _, ok := r.Get(path); !ok {
			return nil, bad(scim.InvalidValue, path+" is required")
		}
	}
	for _, path := range v.CreateForbids {
		if _, ok := r.Get(path); ok {
			return nil, bad(scim.InvalidValue, path+" is not allowed in a new user")
		}
	}
	if active, _ := r.Active(); v.CreateInactive == "refuse" && !active {
		return nil, bad(scim.InvalidValue, "a new user must say active: true")
	}
	return r, nil
}

// fits says why a user, new or changed, is not taken.
func (v Vendor) fits(kind scim.Kind, r scim.Resource) error {
	if kind != scim.Users {
		return nil
	}
	for _, path := range v.Unsupported {
		if _, ok := r.Get(path); ok {
			return bad(scim.InvalidValue, path+" is not supported")
		}
	}
	for _, path := range v.SingleValued {
		value, _ := r.Get(path)
		if elements, _ := value.([]any); len(elements) > 1 {
			return bad(scim.InvalidValue, path+" holds one element only")
		}
	}
	return nil
}

// keeps says why a change is not taken.
func (v Vendor) keeps(kind scim.Kind, current, next scim.Resource) error {
	if kind == scim.Groups {
		if v.NoGroupRename && current.Text("displayName") != next.Text("displayName") {
			return bad(scim.Mutability, "displayName cannot be changed")
		}
		return nil
	}
	for _, path := range v.Immutable {
		before, _ := current.Get(path)
		after, _ := next.Get(path)
		if fmt.Sprint(before) != fmt.Sprint(after) {
			return bad(scim.Mutability, path+" cannot be changed")
		}
	}
	was, _ := current.Active()
	if is, _ := next.Active(); v.NoDisable && was && !is {
		return bad(scim.Mutability, "active cannot be set to false")
	}
	return nil
}

// activated takes active of a PUT from the name under which the vendor reads it.
func (v Vendor) activated(next scim.Resource) error {
	if len(v.PutActiveAs) == 0 {
		return nil
	}
	value, _ := next.Get(v.PutActiveAs[0])
	active, isBool := value.(bool)
	if value != nil && !isBool {
		return bad(scim.InvalidValue, v.PutActiveAs[0]+" must be true or false")
	}
	for _, name := range append(slices.Clone(v.PutActiveAs), "active") {
		next.Drop(name)
	}
	next["active"] = active
	return nil
}

// readAsUser is what becomes of a user whose PATCH is read as the user itself:
// active is false unless it says otherwise.
func readAsUser(body, current scim.Resource) scim.Resource {
	next := current.Clone()
	active, _ := body.Active()
	next.Drop("active")
	next["active"] = active
	return next
}

// understood gives the operations of a PATCH as the RFC has them, or says why
// the vendor does not understand them.
func (v Vendor) understood(kind scim.Kind, ops []scim.Operation) ([]scim.Operation, error) {
	out := slices.Clone(ops)
	for i, op := range ops {
		verb := strings.ToLower(op.Op)
		switch {
		case v.OpTitle && op.Op == verb:
			return nil, bad(scim.InvalidSyntax, "op must be Add, Replace or Remove")
		case len(v.PatchOps) > 0 && !among(v.PatchOps, verb):
			return nil, bad(scim.InvalidSyntax, "the operation "+verb+" is not supported")
		}
		var err error
		if kind == scim.Groups {
			out[i], err = v.membership(op, verb)
		} else {
			out[i], err = v.userChange(op, len(ops))
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// userChange is an operation on a user, one of several.
func (v Vendor) userChange(op scim.Operation, several int) (scim.Operation, error) {
	names := touched(op)
	for _, name := range names {
		switch {
		case v.ActiveOnly && !among([]string{"active", "externalId", "id"}, name):
			return op, bad(scim.InvalidPath, name+" cannot be changed")
		case several > 1 && among(v.PatchAlone, name), len(names) > 1 && among(v.PatchAlone, name):
			return op, bad(scim.InvalidSyntax, name+" must be changed alone")
		}
	}
	switch {
	case v.PatchForm == "pathless" && op.Path != "":
		return op, bad(scim.InvalidPath, "operations must not have a path")
	case v.NoValuePaths && strings.Contains(op.Path, "["):
		return op, bad(scim.InvalidPath, "filters in paths are not supported")
	case v.BoolStrings:
		return unquoted(op)
	}
	return op, nil
}

// touched are the attributes that an operation names.
func touched(op scim.Operation) []string {
	if op.Path != "" {
		name, _, _ := strings.Cut(op.Path, "[")
		return []string{name}
	}
	var out []string
	m, _ := op.Value.(map[string]any)
	for name := range m {
		if !among([]string{"schemas", "meta"}, name) {
			out = append(out, name)
		}
	}
	return out
}

// unquoted turns the texts True and False into booleans, and refuses booleans.
func unquoted(op scim.Operation) (scim.Operation, error) {
	read := func(v any) (any, error) {
		text, _ := v.(string)
		switch {
		case strings.EqualFold(text, "true"), strings.EqualFold(text, "false"):
			return strings.EqualFold(text, "true"), nil
		}
		if _, isBool := v.(bool); isBool {
			return nil, bad(scim.InvalidValue, "a boolean must be written as True or False, in quotes")
		}
		return v, nil
	}
	var err error
	m, isMap := op.Value.(map[string]any)
	if !isMap {
		op.Value, err = read(op.Value)
		return op, err
	}
	out := map[string]any{}
	for name, value := range m {
		if out[name], err = read(value); err != nil {
			return op, err
		}
	}
	op.Value = out
	return op, nil
}

// membership is an operation on a group, in the vendor's form or refused.
func (v Vendor) membership(op scim.Operation, verb string) (scim.Operation, error) {
	wanted := func(ok bool, form string) error {
		if ok {
			return nil
		}
		return bad(scim.InvalidSyntax, "members must be given as "+form)
	}
	object, isObject := op.Value.(map[string]any)
	array, isArray := op.Value.([]any)
	inner, _ := scim.Resource(object).Get("members")
	onMembers := strings.EqualFold(op.Path, "members")
	var err error
	switch {
	case verb == "remove" && strings.HasPrefix(strings.ToLower(op.Path), "members"):
		switch v.MembersRemove {
		case "filter":
			err = wanted(strings.Contains(op.Path, "["), `the path members[value eq "id"]`)
		case "array":
			err = wanted(onMembers && isArray, "an array")
		}
		return op, err
	case verb != "add" || (!onMembers && inner == nil && !isArray):
		return op, nil
	}
	switch v.MembersAdd {
	case "pathless":
		err = wanted(op.Path == "" && isObject, "an object without a path")
	case "bare":
		err = wanted(op.Path == "" && isArray, "an array without a path")
		op.Path = "members"
	case "wrapped":
		err = wanted(onMembers && inner != nil, "an object with members")
		array, _ = inner.([]any)
		op.Value = inner
	}
	if err == nil {
		if list, ok := inner.([]any); ok {
			array = list
		}
		err = v.displayed(scim.Resource{"members": array}.Members())
	}
	return op, err
}

// displayed refuses members without a display where one is needed.
func (v Vendor) displayed(members []map[string]any) error {
	for _, m := range members {
		if display, _ := scim.Resource(m).Get("display"); v.MembersDisplay && display == nil {
			return bad(scim.InvalidValue, "members.display is required")
		}
	}
	return nil
}
