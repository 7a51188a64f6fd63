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
		return listing(s.resourceTypes(), id, "id")
	}
	schemas := []map[string]any{}
	for _, schema := range []scim.Schema{scim.UserAttributes(), scim.EnterpriseAttributes(), scim.GroupAttributes()} {
		schemas = append(schemas, map[string]any{
			"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"},
			"id":      schema.ID, "name": schema.Name, "description": schema.Description, "attributes": schema.Attributes,
		})
	}
	return listing(schemas, id, "id")
}

func listing(all []map[string]any, id, key string) reply {
	if id == "" {
		return reply{status: http.StatusOK, body: map[string]any{
			"schemas": []string{scim.ListSchema}, "totalResults": len(all), "startIndex": 1,
			"itemsPerPage": len(all), "Resources": all,
		}}
	}
	for _, one := range all {
		if one[key] == id {
			return reply{status: http.StatusOK, body: one}
		}
	}
	return failure(http.StatusNotFound, "", "there is no "+id)
}

func (s *Server) providerConfig() map[string]any {
	supported := func(yes bool) map[string]any { return map[string]any{"supported": yes} }
	return map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"},
		"patch":   supported(!s.bent.NoPatch),
		"bulk":    map[string]any{"supported": s.options.Bulk > 0, "maxOperations": s.options.Bulk, "maxPayloadSize": maxBody},
		"filter":  map[string]any{"supported": true, "maxResults": s.options.PageMax},
		"sort":    supported(true), "etag": supported(!s.bent.NoETag), "changePassword": supported(false),
		"pagination": map[string]any{"cursor": s.bent.Paging == "cursor", "index": s.bent.Paging != "cursor" && s.bent.Paging != "none"},
		"authenticationSchemes": []map[string]any{{
			"primary": true, "type": "oauthbearertoken", "name": "Bearer token", "description": "A token in the Authorization header",
		}},
	}
}

func (s *Server) resourceTypes() []map[string]any {
	return []map[string]any{
		{
			"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"}, "id": "User", "name": "User",
			"endpoint": "/Users", "schema": scim.UserSchema,
			"schemaExtensions": []map[string]any{{"schema": scim.EnterpriseSchema, "required": false}},
		},
		{
			"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"}, "id": "Group", "name": "Group",
			"endpoint": "/Groups", "schema": scim.GroupSchema,
		},
	}
}
