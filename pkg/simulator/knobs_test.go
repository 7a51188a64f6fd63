package simulator_test

import (
	"testing"

	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
)

// knobbed is a provider with a knob, holding the users ann and bo and the group
// eng (000003) with ann.
func knobbed(t *testing.T, k profile.Knobs) *simulator.Server {
	t.Helper()
	s := behaves(t, simulator.FromKnobs(k))
	eng := scim.Resource{"schemas": []any{scim.GroupSchema}, "displayName": "eng", "members": []any{map[string]any{"value": "000001"}}}
	if err := s.Seed(scim.Groups, eng); err != nil {
		t.Fatal(err)
	}
	return s
}

// Each knob, and what one request gives at a provider without and with it.
func TestEachKnobMakesItsDifference(t *testing.T) {
	const (
		title   = `{"op":"replace","path":"title","value":"Lead"}`
		off     = `{"op":"replace","path":"active","value":false}`
		rename  = `{"op":"replace","path":"displayName","value":"ops"}`
		adding  = `{"op":"add","path":"members","value":[{"value":"000002"}]}`
		leaving = `{"op":"remove","path":"members","value":[{"value":"000001"}]}`
		ann     = "/Users/000001"
		eng     = "/Groups/000003"
		emails  = `{"schemas":["` + scim.UserSchema + `"],"userName":"cy","emails":[{"value":"a@x.example"},{"value":"b@x.example"}]}`
	)
	byName := "/Users?filter=userName+eq+%22ann%22"
	for name, row := range map[string]struct {
		knobs              profile.Knobs
		method, path, body string
		without, with      string
	}{
		"request.content_type":         {profile.Knobs{ContentType: "application/json"}, "POST", "/Users", user("cy"), "201 cy", "415"},
		"request.user_agent_required":  {profile.Knobs{UserAgent: true}, "GET", ann, "", "200 ann", "403"},
		"discovery":                    {profile.Knobs{Discovery: "none"}, "GET", "/ServiceProviderConfig", "", "200", "404"},
		"discovery.path":               {profile.Knobs{ConfigPath: "ServiceProviderConfigs"}, "GET", "/ServiceProviderConfigs", "", "404", "200"},
		"filter.user_name_as":          {profile.Knobs{UserNameAs: "email"}, "GET", "/Users?filter=email+eq+%22ann%22", "", "200 []", "200 [ann]"},
		"filter.user_attrs":            {profile.Knobs{UserFilters: []string{"externalId"}}, "GET", byName, "", "200 [ann]", "400 invalidFilter"},
		"filter.group_attrs":           {profile.Knobs{GroupFilters: []string{"externalId"}}, "GET", "/Groups?filter=displayName+eq+%22eng%22", "", "200 [eng]", "400 invalidFilter"},
		"filter.refused":               {profile.Knobs{FilterRefused: []string{"userName"}}, "GET", byName, "", "200 [ann]", "400 invalidFilter"},
		"filter.unsupported empty":     {profile.Knobs{FilterRefused: []string{"userName"}, FilterOther: "empty"}, "GET", byName, "", "200 [ann]", "200 []"},
		"filter.unsupported all":       {profile.Knobs{FilterRefused: []string{"userName"}, FilterOther: "everything"}, "GET", byName, "", "200 [ann]", "200 [ann bo]"},
		"page.style":                   {profile.Knobs{PageStyle: "none"}, "GET", "/Users?startIndex=2&count=1", "", "200 [bo]", "200 [ann bo]"},
		"page.max_count":               {profile.Knobs{PageMax: 1}, "GET", "/Users", "", "200 [ann bo]", "200 [ann]"},
		"page.over_max":                {profile.Knobs{PageMax: 10, PageOver: "refuse"}, "GET", "/Users?count=11", "", "200 [ann bo]", "400 invalidValue"},
		"query.excluded_attributes":    {profile.Knobs{Excluded: "unsupported"}, "GET", ann + "?excludedAttributes=title", "", "200 ann", "400"},
		"create.on_existing":           {profile.Knobs{OnExisting: "409-bare"}, "POST", "/Users", user("ann"), "409 uniqueness", "409"},
		"create.status":                {profile.Knobs{CreateStatus: 200}, "POST", "/Users", user("cy"), "201 cy", "200 cy"},
		"user.create_forbids":          {profile.Knobs{CreateForbids: []string{"emails"}}, "POST", "/Users", emails, "201 cy", "400 invalidValue"},
		"user.required":                {profile.Knobs{Required: []string{"name.givenName"}}, "POST", "/Users", user("cy"), "201 cy", "400 invalidValue"},
		"user.unsupported":             {profile.Knobs{Unsupported: []string{"emails"}}, "POST", "/Users", emails, "201 cy", "400 invalidValue"},
		"user.immutable":               {profile.Knobs{Immutable: []string{"title"}}, "PATCH", ann, patch(title), "200 ann", "400 mutability"},
		"user.username_folded":         {profile.Knobs{FoldUserName: true}, "POST", "/Users", user("CY"), "201 CY", "201 cy"},
		"user.single_valued":           {profile.Knobs{SingleValued: []string{"emails"}}, "POST", "/Users", emails, "201 cy", "400 invalidValue"},
		"update.style put":             {profile.Knobs{Update: "put"}, "PATCH", ann, patch(title), "200 ann", "501"},
		"update.style active-only":     {profile.Knobs{Update: "active-only"}, "PATCH", ann, patch(title), "200 ann", "400 invalidPath"},
		"active-only lets active":      {profile.Knobs{Update: "active-only"}, "PATCH", ann, patch(off), "200 ann", "200 ann"},
		"active-only, PUT":             {profile.Knobs{Update: "active-only"}, "PUT", ann, user("ann"), "200 ann", "405"},
		"patch.form":                   {profile.Knobs{PatchForm: "pathless"}, "PATCH", ann, patch(title), "200 ann", "400 invalidPath"},
		"patch.max_ops":                {profile.Knobs{PatchMaxOps: 1}, "PATCH", ann, patch(title, off), "200 ann", "400 tooMany"},
		"patch.op_case":                {profile.Knobs{OpCase: "title"}, "PATCH", ann, patch(title), "200 ann", "400 invalidSyntax"},
		"patch.ops":                    {profile.Knobs{PatchOps: []string{"add"}}, "PATCH", ann, patch(title), "200 ann", "400 invalidSyntax"},
		"patch.value_paths":            {profile.Knobs{ValuePaths: "unsupported"}, "PATCH", ann, patch(`{"op":"add","path":"emails[type eq \"work\"].value","value":"a@x.example"}`), "200 ann", "400 invalidPath"},
		"patch.bool_strings":           {profile.Knobs{BoolStrings: true}, "PATCH", ann, patch(off), "200 ann", "400 invalidValue"},
		"patch.alone":                  {profile.Knobs{Alone: []string{"active"}}, "PATCH", ann, patch(title, off), "200 ann", "400 invalidSyntax"},
		"patch.alone without a path":   {profile.Knobs{Alone: []string{"active"}}, "PATCH", ann, patch(`{"op":"replace","value":{"active":false,"title":"x"}}`), "200 ann", "400 invalidSyntax"},
		"patch.answer none":            {profile.Knobs{PatchAnswer: "none"}, "PATCH", ann, patch(title), "200 ann", "204"},
		"patch.answer empty":           {profile.Knobs{PatchAnswer: "empty"}, "PATCH", ann, patch(title), "200 ann", "200"},
		"disable.by":                   {profile.Knobs{DisableBy: "delete"}, "PATCH", ann, patch(off), "200 ann", "400 mutability"},
		"delete.unsupported":           {profile.Knobs{DeleteMissing: true}, "DELETE", ann, "", "204", "405"},
		"create.inactive":              {profile.Knobs{CreateInactive: "refuse"}, "POST", "/Users", user("cy"), "201 cy", "400 invalidValue"},
		"group.supported":              {profile.Knobs{Groups: "no"}, "GET", eng, "", "200 eng", "404"},
		"group.create":                 {profile.Knobs{GroupCreate: "unsupported"}, "POST", "/Groups", group("g"), "201 g", "405"},
		"group.rename":                 {profile.Knobs{GroupRename: "unsupported"}, "PATCH", eng, patch(rename), "200 ops", "400 mutability"},
		"group.delete":                 {profile.Knobs{GroupDelete: "unsupported"}, "DELETE", eng, "", "204", "405"},
		"group.unique_names":           {profile.Knobs{UniqueGroups: true}, "POST", "/Groups", group("eng"), "201 eng", "409 uniqueness"},
		"members.add_form pathless":    {profile.Knobs{MembersForm: "pathless"}, "PATCH", eng, patch(adding), "200 eng", "400 invalidSyntax"},
		"members.add_form bare":        {profile.Knobs{MembersForm: "bare"}, "PATCH", eng, patch(adding), "200 eng", "400 invalidSyntax"},
		"members.add_form wrapped":     {profile.Knobs{MembersForm: "wrapped"}, "PATCH", eng, patch(adding), "200 eng", "400 invalidSyntax"},
		"an array without a path":      {profile.Knobs{MembersForm: "bare"}, "PATCH", eng, patch(`{"op":"add","value":[{"value":"000002"}]}`), "400 invalidValue", "200 eng"},
		"members.remove_form":          {profile.Knobs{MembersRemove: "array"}, "PATCH", eng, patch(`{"op":"remove","path":"members[value eq \"000001\"]"}`), "200 eng", "400 invalidSyntax"},
		"members.remove_form, array":   {profile.Knobs{MembersRemove: "array"}, "PATCH", eng, patch(leaving), "200 eng", "200 eng"},
		"members.max_per_request":      {profile.Knobs{MembersMax: 1}, "POST", "/Groups", group("g", "000001", "000002"), "201 g", "400 tooMany"},
		"members.need_display":         {profile.Knobs{MembersDisplay: true}, "PATCH", eng, patch(adding), "200 eng", "400 invalidValue"},
		"members.need_display, create": {profile.Knobs{MembersDisplay: true}, "POST", "/Groups", group("g", "000001"), "201 g", "400 invalidValue"},
		"members.unknown":              {profile.Knobs{UnknownMembers: "missing"}, "PATCH", eng, patch(`{"op":"add","path":"members","value":[{"value":"9"}]}`), "400 invalidValue", "404"},
	} {
		for k, want := range map[*profile.Knobs]string{{}: row.without, &row.knobs: row.with} {
			status, r, _ := call(t, knobbed(t, *k), row.method, row.path, row.body)
			if got := gist(t, status, r); got != want {
				t.Errorf("%s: %s, not %s: %v", name, got, want, r)
			}
		}
	}
}

// What a request leaves behind, where its answer looks the same.
func TestEachKnobLeavesItsMark(t *testing.T) {
	for name, row := range map[string]struct {
		knobs              profile.Knobs
		method, path, body string
		read, attr         string
		without, with      any
	}{
		"put.active_as, absent": {profile.Knobs{PutActiveAs: []string{"enabled"}}, "PUT", "/Users/000001", user("ann"), "/Users/000001", "active", nil, false},
		"put.active_as":         {profile.Knobs{PutActiveAs: []string{"enabled"}}, "PUT", "/Users/000001", `{"schemas":["` + scim.UserSchema + `"],"userName":"ann","title":"x","enabled":false}`, "/Users/000001", "active", true, false},
		"patch.body":            {profile.Knobs{PatchBody: "resource"}, "PATCH", "/Users/000001", patch(`{"op":"replace","path":"title","value":"Lead"}`), "/Users/000001", "active", true, false},
		"patch.body, a user":    {profile.Knobs{PatchBody: "resource"}, "PATCH", "/Users/000001", `{"active":true}`, "/Users/000001", "active", true, true},
		"patch.ignored":         {profile.Knobs{IgnoredPaths: []string{"title"}}, "PATCH", "/Users/000001", patch(`{"op":"replace","path":"title","value":"Lead"}`), "/Users/000001", "title", "Lead", "Rep"},
		"disable.means":         {profile.Knobs{DisableMeans: "gone"}, "PATCH", "/Users/000001", patch(`{"op":"replace","path":"active","value":false}`), "/Users/000001", "active", false, nil},
		"delete.means":          {profile.Knobs{DeleteMeans: "deactivate"}, "DELETE", "/Users/000001", "", "/Users/000001", "active", nil, false},
		"group.create_members":  {profile.Knobs{GroupMembers: "ignored"}, "POST", "/Groups", group("g", "000001"), "/Groups/000004", "members.value", []any{"000001"}, nil},
		"members.hidden":        {profile.Knobs{MembersHidden: true}, "GET", "/Groups/000003", "", "/Groups/000003", "members.value", []any{"000001"}, nil},
		"etag":                  {profile.Knobs{ETag: "no"}, "GET", "/Users/000001", "", "/Users/000001", "meta.version", `W/"1"`, nil},
		"patch.bool_strings":    {profile.Knobs{BoolStrings: true}, "PATCH", "/Users/000001", patch(`{"op":"replace","value":{"active":"False"}}`), "/Users/000001", "active", true, false},
	} {
		for k, want := range map[*profile.Knobs]any{{}: row.without, &row.knobs: row.with} {
			s := knobbed(t, *k)
			call(t, s, row.method, row.path, row.body)
			_, r, _ := call(t, s, "GET", row.read, "")
			value, _ := r.Get(row.attr)
			same(t, name, want, value)
		}
	}
}

func TestEveryProfileIsABehaviour(t *testing.T) {
	all, err := profile.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all.All() {
		if err := simulator.FromKnobs(p.Knobs).Validate(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
}
