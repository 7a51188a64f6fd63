package simulator

import (
	"encoding/json"
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
		"patch":   supported(!s.options.NoPatch),
		"bulk":    map[string]any{"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
		"filter":  map[string]any{"supported": true, "maxResults": s.options.PageMax},
		"sort":    supported(false), "etag": supported(true), "changePassword": supported(false),
		"authenticationSchemes": []map[string]any{{
			"type": "oauthbearertoken", "name": "Bearer token", "description": "A token in the Authorization header",
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

// control serves what a test in another process needs to see and do.
func (s *Server) control(w http.ResponseWriter, r *http.Request) {
	show := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /_sim/requests":
		show(s.Requests())
	case "GET /_sim/commits":
		show(s.Commits())
	case "GET /_sim/stats":
		show(s.Stats())
	case "DELETE /_sim/faults":
		s.Heal()
		w.WriteHeader(http.StatusNoContent)
	case "POST /_sim/faults":
		f, err := ParseFault(r.FormValue("fault"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.Inject(f)
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "there are requests, commits, stats (GET) and faults (POST fault=..., DELETE)", http.StatusNotFound)
	}
}
