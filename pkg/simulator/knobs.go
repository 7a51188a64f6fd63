package simulator

import "github.com/joinery/joinery/pkg/profile"

// FromKnobs is the behaviour that a profile tells of: what the vendor refuses,
// this provider refuses. What no knob says, it does as the RFCs have it.
func FromKnobs(k profile.Knobs) Behaviour {
	b := Behaviour{
		UserAgentRequired: k.UserAgent, SchemasRequired: true, ErrorShape: k.ErrorShape, ResourcesKey: k.ResourcesKey,
		Paging: k.PageStyle, PageOver: k.PageOver, FilterUnsupported: k.FilterOther, Visibility: k.Visibility,
		CreateStatus: k.CreateStatus, OnExisting: k.OnExisting, UniqueGroupNames: k.UniqueGroups, FoldUserName: k.FoldUserName,
		NoPatch: k.Update == "put", PatchMaxOps: k.PatchMaxOps, PatchSuccess: answer(k.PatchAnswer), IgnoredPaths: k.IgnoredPaths,
		MembersHidden: k.MembersHidden, MembersMax: k.MembersMax, UnknownMembers: k.UnknownMembers,
		DeleteMeans: k.DeleteMeans, DeactivateMeans: k.DisableMeans, ReactivateBy: k.Reactivate,
	}
	if k.ContentType != "" {
		b.ContentType = k.ContentType
	}
	b.NoDiscovery, b.DiscoveryPath, b.NoETag = k.Discovery == "none", k.ConfigPath, k.ETag == "no"
	b.PageMax, b.BulkMax, b.NoExcluded = k.PageMax, k.BulkMaxOps, k.Excluded == "unsupported"
	b.UserFilters, b.GroupFilters, b.FilterNever, b.UserNameAs = k.UserFilters, k.GroupFilters, k.FilterRefused, k.UserNameAs
	b.CreateForbids, b.Unsupported, b.Required = k.CreateForbids, k.Unsupported, k.Required
	b.SingleValued, b.Immutable, b.CreateInactive = k.SingleValued, k.Immutable, k.CreateInactive
	b.ActiveOnly, b.PutActiveAs, b.PatchBody = k.Update == "active-only", k.PutActiveAs, k.PatchBody
	b.PatchForm, b.OpTitle, b.PatchOps = k.PatchForm, k.OpCase == "title", k.PatchOps
	b.NoValuePaths, b.BoolStrings, b.PatchAlone = k.ValuePaths == "unsupported", k.BoolStrings, k.Alone
	b.NoDisable, b.NoDelete = k.DisableBy == "delete", k.DeleteMissing
	b.NoSearch = k.SearchBy == "get"
	b.NoGroups, b.NoGroupCreate = k.Groups == "no", k.GroupCreate == "unsupported"
	b.NoGroupRename, b.NoGroupDelete = k.GroupRename == "unsupported", k.GroupDelete == "unsupported"
	b.EmptyGroups, b.MembersAdd = k.GroupMembers == "ignored", k.MembersForm
	b.MembersRemove, b.MembersDisplay = k.MembersRemove, k.MembersDisplay
	return b
}

// answer is the knob's word in the simulator's.
func answer(knob string) string {
	if knob == "none" {
		return "204"
	}
	return knob
}
