package simulator

import (
	"net/http"

	"github.com/joinery/joinery/pkg/scim"
)

// discovery serves what RFC 7644 section 4 asks for.
func (s *Server) discovery(endpoint, id string) reply {
	switch endpoint {
	case "ServiceProviderConfig":
		return reply{status: http.StatusOK, body: s.providerConfig()}
	case "ResourceTypes":
		return listing(scim.ResourceTypeDocuments(), id)
	}
	return listing(scim.SchemaDocuments(), id)
}

func listing(all []map[string]any, id string) reply {
	if id == "" {
		return reply{status: http.StatusOK, body: scim.Listing(all, len(all), 1)}
	}
	for _, one := range all {
		if one["id"] == id {
			return reply{status: http.StatusOK, body: one}
		}
	}
	return failure(http.StatusNotFound, "", "there is no "+id)
}

func (s *Server) providerConfig() map[string]any {
	document := scim.ServiceProviderConfig{
		Patch: !s.bent.NoPatch, Bulk: s.options.Bulk > 0, Filter: true, Sort: true, ETag: !s.bent.NoETag,
		MaxResults: s.options.PageMax, MaxOperations: s.options.Bulk, MaxPayload: maxBody,
	}.Document()
	document["pagination"] = map[string]any{
		"cursor": s.bent.Paging == "cursor", "index": s.bent.Paging != "cursor" && s.bent.Paging != "none",
	}
	return document
}
