package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/scim"
)

// Behaviour is how a vendor bends SCIM, as data: each field is one quirk, and
// the zero value is a strict provider as the RFCs have it. Fields combine
// freely; a value that Validate does not know behaves as the zero value.
type Behaviour struct {
	// Vendor holds what is insisted on or missing besides.
	Vendor
	// UserAgentRequired refuses requests without a User-Agent with 403.
	UserAgentRequired bool `json:"user_agent_required,omitempty"`
	// SchemasRequired refuses a PATCH that does not name its message schema. A
	// wrong schema is refused anyway.
	SchemasRequired bool `json:"schemas_required,omitempty"`
	// ErrorShape of refusals: "" or scim; problem (RFC 9457); errors (a list of
	// objects); html.
	ErrorShape string `json:"error_shape,omitempty"`
	// ResourcesKey replaces the name "Resources" in lists.
	ResourcesKey string `json:"resources_key,omitempty"`

	// Paging is "" or index; cursor (RFC 9865, startIndex is ignored); none
	// (everything in one answer whatever is asked); repeats (the first page
	// again and again); endless (made-up resources for ever).
	Paging string `json:"paging,omitempty"`
	// PageDefault is the size of a page when count is not given. Default: PageMax.
	PageDefault int `json:"page_default,omitempty"`
	// PageOver is "" or clamp; refuse: a count above PageMax is a 400.
	PageOver string `json:"page_over,omitempty"`
	// FilterOps and FilterAttributes are what filters may use; empty means all.
	// Attributes compare without case, dotted paths as a whole.
	FilterOps        []string `json:"filter_ops,omitempty"`
	FilterAttributes []string `json:"filter_attributes,omitempty"`
	// FilterUnsupported is what any other filter gives: "" or refuse (400);
	// empty; everything.
	FilterUnsupported string `json:"filter_unsupported,omitempty"`
	// Visibility is how long a new resource stays invisible to filters.
	Visibility time.Duration `json:"visibility,omitempty"`

	// CreateStatus of a POST that made something. Default 201.
	CreateStatus int `json:"create_status,omitempty"`
	// OnExisting is what a POST of a taken name gives: "" or 409; 409-bare
	// (without scimType); 412; link (200 and the resource that has it).
	OnExisting string `json:"on_existing,omitempty"`
	// ReactivateBy is "" or active; create: with link, a POST that says active
	// makes the user that has the name active.
	ReactivateBy string `json:"reactivate_by,omitempty"`
	// DuplicateUserName takes a userName that somebody has.
	DuplicateUserName bool `json:"duplicate_user_name,omitempty"`
	// UniqueGroupNames refuses a displayName that another group has.
	UniqueGroupNames bool `json:"unique_group_names,omitempty"`
	// FoldUserName stores userName in lower case.
	FoldUserName bool `json:"fold_user_name,omitempty"`

	NoPatch bool `json:"no_patch,omitempty"`
	NoPut   bool `json:"no_put,omitempty"`
	// PatchMaxOps is the most operations in a PATCH; 0 is no limit.
	PatchMaxOps int `json:"patch_max_ops,omitempty"`
	// PatchSuccess is "" or 200 (the resource); 204; empty ("{}" with 200).
	PatchSuccess string `json:"patch_success,omitempty"`
	// IgnoredPaths are attributes that a PATCH or PUT silently leaves alone;
	// "*" is all of them.
	IgnoredPaths []string `json:"ignored_paths,omitempty"`

	// MembersHidden leaves members out of every answer.
	MembersHidden bool `json:"members_hidden,omitempty"`
	// MembersMax is the most members a request may name; 0 is no limit.
	MembersMax int `json:"members_max,omitempty"`
	// UnknownMembers is what a member that does not exist gives: "" or refuse
	// (400); missing (404); drop; take.
	UnknownMembers string `json:"unknown_members,omitempty"`

	// DeleteMeans is "" or delete; deactivate (the user stays, inactive).
	DeleteMeans string `json:"delete_means,omitempty"`
	// DeactivateMeans is "" or soft; gone (the user is deleted).
	DeactivateMeans string `json:"deactivate_means,omitempty"`
}

// Validate reports every value that means nothing, at once.
func (b Behaviour) Validate() error {
	var problems []error
	oneOf := func(name, value string, known ...string) {
		if value != "" && !slices.Contains(known, value) {
			problems = append(problems, fmt.Errorf("%s: %q is none of %s", name, value, strings.Join(known, ", ")))
		}
	}
	b.validate(oneOf)
	oneOf("error_shape", b.ErrorShape, "scim", "problem", "errors", "html")
	oneOf("paging", b.Paging, "index", "cursor", "none", "repeats", "endless")
	oneOf("page_over", b.PageOver, "clamp", "refuse")
	oneOf("filter_unsupported", b.FilterUnsupported, "refuse", "empty", "everything")
	oneOf("on_existing", b.OnExisting, "409", "409-bare", "412", "link")
	oneOf("reactivate_by", b.ReactivateBy, "active", "create")
	oneOf("patch_success", b.PatchSuccess, "200", "204", "empty")
	oneOf("unknown_members", b.UnknownMembers, "refuse", "missing", "drop", "take")
	oneOf("delete_means", b.DeleteMeans, "delete", "deactivate")
	oneOf("deactivate_means", b.DeactivateMeans, "soft", "gone")
	for _, op := range b.FilterOps {
		oneOf("filter_ops", op, filterWords...)
	}
	return errors.Join(problems...)
}

// refusal is the answer to a filter that the provider does not support, if it
// is one; everything tells that it is to be ignored.
func (b Behaviour) refusal(f scim.Filter, kinds ...scim.Kind) (p *reply, everything bool) {
	words, attributes := usedBy(f)
	why := ""
	for _, w := range words {
		if len(b.FilterOps) > 0 && !slices.Contains(b.FilterOps, w) {
			why = "the operator " + w + " is not supported"
		}
	}
	for _, a := range attributes {
		if strings.EqualFold(a, "password") {
			refused := failure(http.StatusBadRequest, scim.InvalidFilter, "password cannot be searched for")
			return &refused, false
		}
		if !b.searchable(a, kinds) {
			why = "filters by " + a + " are not supported"
		}
		if len(b.FilterAttributes) > 0 && !slices.ContainsFunc(b.FilterAttributes, func(k string) bool { return strings.EqualFold(k, a) }) {
			why = "filters by " + a + " are not supported"
		}
	}
	switch {
	case why == "":
		return nil, false
	case b.FilterUnsupported == "everything":
		return nil, true
	case b.FilterUnsupported == "empty":
		none := reply{status: http.StatusOK, body: b.page(nil, 0, 1)}
		return &none, false
	}
	refused := failure(http.StatusBadRequest, scim.InvalidFilter, why)
	return &refused, false
}

var filterWords = []string{"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le", "pr", "and", "or", "not"}

// usedBy gives the operators and the attributes of a filter, read off its
// canonical text with the quoted values taken out.
func usedBy(f scim.Filter) (words, attributes []string) {
	quoted, escaped := false, false
	text := strings.Map(func(r rune) rune {
		switch {
		case escaped:
			escaped = false
		case quoted && r == '\\':
			escaped = true
		case r == '"':
			quoted = !quoted
			return ' '
		case !quoted && strings.ContainsRune("[]()", r):
			return ' '
		case !quoted:
			return r
		}
		return -1
	}, f.String())
	value := false
	for _, w := range strings.Fields(text) {
		switch {
		case slices.Contains(filterWords, w):
			words = append(words, w)
			value = w != "and" && w != "or" && w != "not" && w != "pr"
		case value && (w == "true" || w == "false" || w == "null" || strings.ContainsAny(w[:1], "-0123456789")):
			value = false
		default:
			attributes = append(attributes, w)
			value = false
		}
	}
	return words, attributes
}

// page is a list response (RFC 7644 section 3.4.2).
func (b Behaviour) page(resources []any, total, start int) map[string]any {
	out := scim.Listing(resources, total, start)
	if b.ResourcesKey != "" && b.ResourcesKey != "Resources" {
		out[b.ResourcesKey] = out["Resources"]
		delete(out, "Resources")
	}
	return out
}

// shape writes a refusal as this vendor would.
func (b Behaviour) shape(p reply) reply {
	e, ok := p.body.(*scim.Error)
	if !ok {
		return p
	}
	switch b.ErrorShape {
	case "problem":
		p.contentType = "application/problem+json"
		p.body = map[string]any{"title": http.StatusText(e.Status), "status": e.Status, "detail": e.Detail}
	case "errors":
		p.body = map[string]any{"errors": []any{map[string]any{"code": e.Status, "description": e.Detail}}}
	case "html":
		p.body, p.contentType = nil, "text/html"
		p.raw = "<html><h1>" + http.StatusText(e.Status) + "</h1></html>"
	}
	return p
}

// ignores tells whether a PATCH of this path is silently dropped.
func (b Behaviour) ignores(path string) bool {
	return slices.ContainsFunc(b.IgnoredPaths, func(ignored string) bool {
		if ignored == "*" || strings.EqualFold(ignored, path) {
			return true
		}
		return len(path) > len(ignored) && strings.EqualFold(path[:len(ignored)], ignored) && strings.ContainsAny(path[len(ignored):len(ignored)+1], ".[:")
	})
}
