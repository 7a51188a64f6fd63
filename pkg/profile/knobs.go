package profile

import "time"

// Knobs are the ways in which service providers differ, as far as the client
// acts on them. The zero value is a provider as the RFCs have it. Each knob has
// a flat name, the same in a profile's file, under a target's quirks: and among
// what a target taught at run time.
type Knobs struct {
	// Requests.
	ContentType string `knob:"request.content_type" enum:"application/scim+json application/json" doc:"The media type of request bodies."`
	UserAgent   bool   `knob:"request.user_agent_required" doc:"Requests without a User-Agent are refused. Joinery always sends one."`
	Discovery   string `knob:"discovery" enum:"full none" doc:"none: there is no ServiceProviderConfig; a list of one user is the control request instead."`
	ConfigPath  string `knob:"discovery.path" doc:"The name of the endpoint for the ServiceProviderConfig, where it is another."`
	ETag        string `knob:"etag" enum:"advertised no" doc:"no: versions are neither sent nor believed."`

	// Searching and listing.
	UserNameAs    string        `knob:"filter.user_name_as" doc:"The attribute by which a user name is searched, where it is not userName."`
	UserFilters   []string      `knob:"filter.user_attrs" doc:"The attributes by which users can be searched with eq. Empty: all."`
	GroupFilters  []string      `knob:"filter.group_attrs" doc:"The attributes by which groups can be searched with eq. Empty: all."`
	FilterRefused []string      `knob:"filter.refused" doc:"Attributes by which a search does not work, although it should."`
	FilterOther   string        `knob:"filter.unsupported" enum:"refuse empty everything" doc:"What a search by another attribute gives: an error, nobody, or everybody."`
	SearchBy      string        `knob:"search.by" enum:"get post" doc:"post: look-ups with personal values go by POST /.search, which keeps them out of URLs."`
	Visibility    time.Duration `knob:"filter.visible_after" doc:"How long a new resource may stay invisible to searches."`
	PageStyle     string        `knob:"page.style" enum:"index cursor none" doc:"How lists are paged. none: everything comes at once."`
	PageMax       int           `knob:"page.max_count" doc:"The most resources in a page. 0: not known; 100 are asked for."`
	PageOver      string        `knob:"page.over_max" enum:"clamp refuse" doc:"What a larger count gives."`
	ResourcesKey  string        `knob:"list.resources_key" doc:"The name of the list of resources, where it is not Resources."`
	Excluded      string        `knob:"query.excluded_attributes" enum:"supported unsupported" doc:"Whether excludedAttributes may be asked for."`

	// Creating.
	OnExisting    string   `knob:"create.on_existing" enum:"409 409-bare 412 link" doc:"What a POST of a taken name gives. link: success, and the resource that has it."`
	CreateStatus  int      `knob:"create.status" doc:"The status of a POST that made something, where it is not 201."`
	CreateForbids []string `knob:"user.create_forbids" doc:"Attributes that a new user must not have."`
	Required      []string `knob:"user.required" doc:"Attributes that a user must have."`
	Unsupported   []string `knob:"user.unsupported" doc:"Attributes that are refused or dropped; they are never sent."`
	Immutable     []string `knob:"user.immutable" doc:"Attributes that cannot be changed once the user exists; a wish to change one is reported, not sent."`
	FoldUserName  bool     `knob:"user.username_folded" doc:"userName is stored in lower case; only the case differing is no difference."`
	SingleValued  []string `knob:"user.single_valued" doc:"Multi-valued attributes that hold one element only."`

	// Changing.
	Update       string   `knob:"update.style" enum:"patch put active-only" doc:"How users are changed. put: by reading, changing and replacing the whole. active-only: nothing but active can be changed."`
	PutActiveAs  []string `knob:"put.active_as" doc:"Names under which a PUT sends active as well."`
	PatchBody    string   `knob:"patch.body" enum:"operations resource" doc:"resource: a PATCH holds the user itself. Operations would be read as a user without active."`
	PatchForm    string   `knob:"patch.form" enum:"path pathless" doc:"path: each operation names its path. pathless: one operation whose value is an object."`
	PatchMaxOps  int      `knob:"patch.max_ops" doc:"The most operations in a PATCH; 0 is no limit."`
	OpCase       string   `knob:"patch.op_case" enum:"lower title" doc:"How op is written: replace, or Replace."`
	PatchOps     []string `knob:"patch.ops" doc:"The operations that exist. Empty: add, replace, remove."`
	ValuePaths   string   `knob:"patch.value_paths" enum:"supported unsupported" doc:"unsupported: a path such as emails[type eq \"work\"].value is refused; the whole attribute is replaced."`
	BoolStrings  bool     `knob:"patch.bool_strings" doc:"Booleans are sent as the strings True and False."`
	Alone        []string `knob:"patch.alone" doc:"Attributes that must travel in a PATCH of their own. active always does."`
	PatchAnswer  string   `knob:"patch.answer" enum:"resource none empty" doc:"What a PATCH gives: the resource, 204, or an empty object. It is read back where it gives none."`
	IgnoredPaths []string `knob:"patch.ignored" doc:"Paths of which a PATCH says yes and does nothing; they are changed by PUT."`

	// Leaving and coming back.
	DisableBy      string `knob:"disable.by" enum:"active delete" doc:"delete: active cannot be set; only DELETE ends access."`
	DisableMeans   string `knob:"disable.means" enum:"soft gone" doc:"gone: a user set inactive is removed, and answers 404."`
	DisableFinal   bool   `knob:"disable.irreversible" doc:"Setting active to false destroys what cannot be brought back. The target must say so: deprovision.irreversible: true."`
	DeleteMeans    string `knob:"delete.means" enum:"delete deactivate" doc:"deactivate: DELETE leaves the user there, inactive."`
	DeleteFinal    bool   `knob:"delete.irreversible" doc:"DELETE destroys what cannot be brought back. The target must say so: deprovision.irreversible: true."`
	DeleteMissing  bool   `knob:"delete.unsupported" doc:"There is no DELETE of users."`
	Reactivate     string `knob:"reactivate.by" enum:"active create" doc:"create: a user that left comes back by a POST."`
	CreateInactive string `knob:"create.inactive" enum:"supported refuse" doc:"refuse: a new user must say active: true; one that is wished inactive is set so by the next request."`

	// Groups.
	Groups         string `knob:"group.supported" enum:"yes no" doc:"no: there are no groups."`
	GroupCreate    string `knob:"group.create" enum:"supported unsupported" doc:"unsupported: groups are made in the application."`
	GroupRename    string `knob:"group.rename" enum:"supported unsupported" doc:"unsupported: displayName cannot be changed."`
	GroupDelete    string `knob:"group.delete" enum:"supported unsupported" doc:"unsupported: groups are removed in the application."`
	GroupMembers   string `knob:"group.create_members" enum:"taken ignored" doc:"ignored: a new group is empty whatever was sent; members are added afterwards."`
	UniqueGroups   bool   `knob:"group.unique_names" doc:"Two groups of one displayName are refused."`
	MembersForm    string `knob:"members.add_form" enum:"path pathless bare wrapped" doc:"How members are added: path members; an object without a path; an array without a path; path members and an object that has them."`
	MembersRemove  string `knob:"members.remove_form" enum:"filter array" doc:"How a member is removed: members[value eq \"id\"], or path members with an array."`
	MembersMax     int    `knob:"members.max_per_request" doc:"The most members that a request may name; 0 is no limit."`
	MembersDisplay bool   `knob:"members.need_display" doc:"A member needs display, the userName."`
	MembersHidden  bool   `knob:"members.hidden" doc:"Members cannot be read back; a ledger of what was sent stands for them."`
	UnknownMembers string `knob:"members.unknown" enum:"refuse missing drop take" doc:"What a member that does not exist gives: 400, 404, nothing, or a member all the same."`

	// Bulk and errors.
	Bulk       string `knob:"bulk" enum:"advertised no" doc:"no: bulk requests are not used, whatever is advertised."`
	BulkMaxOps int    `knob:"bulk.max_ops" doc:"The most operations in a bulk request. 0: as advertised."`
	ErrorShape string `knob:"error.shape" enum:"scim problem errors html" doc:"How refusals look. All are understood always."`

	// Rates.
	Rates []Rate `knob:"rate" doc:"The documented limits; in force where the target's file names none. All hold at once."`
}

// Rate is a documented limit.
type Rate struct {
	Requests int
	Per      time.Duration
}
