package scim

// Schema URNs of the discovery documents (RFC 7643 sections 5 to 7).
const (
	ConfigSchema       = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
	ResourceTypeSchema = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
	SchemaSchema       = "urn:ietf:params:scim:schemas:core:2.0:Schema"
)

// SchemaDocuments are the answers to /Schemas (RFC 7643 section 7), each with
// its id.
func SchemaDocuments() []map[string]any {
	var out []map[string]any
	for _, schema := range []Schema{UserAttributes(), EnterpriseAttributes(), GroupAttributes()} {
		out = append(out, map[string]any{
			"schemas": []string{SchemaSchema}, "id": schema.ID, "name": schema.Name,
			"description": schema.Description, "attributes": schema.Attributes,
		})
	}
	return out
}

// ResourceTypeDocuments are the answers to /ResourceTypes (RFC 7643 section 6),
// each with its id.
func ResourceTypeDocuments() []map[string]any {
	return []map[string]any{
		{
			"schemas": []string{ResourceTypeSchema}, "id": "User", "name": "User",
			"endpoint": "/Users", "schema": UserSchema,
			"schemaExtensions": []map[string]any{{"schema": EnterpriseSchema, "required": false}},
		},
		{
			"schemas": []string{ResourceTypeSchema}, "id": "Group", "name": "Group",
			"endpoint": "/Groups", "schema": GroupSchema,
		},
	}
}

// Document is the answer to /ServiceProviderConfig (RFC 7643 section 5), but for
// pagination. Callers authenticate with a bearer token.
func (c ServiceProviderConfig) Document() map[string]any {
	supported := func(yes bool) map[string]any { return map[string]any{"supported": yes} }
	return map[string]any{
		"schemas": []string{ConfigSchema},
		"patch":   supported(c.Patch),
		"bulk":    map[string]any{"supported": c.Bulk, "maxOperations": c.MaxOperations, "maxPayloadSize": c.MaxPayload},
		"filter":  map[string]any{"supported": c.Filter, "maxResults": c.MaxResults},
		"sort":    supported(c.Sort), "etag": supported(c.ETag), "changePassword": supported(false),
		"authenticationSchemes": []map[string]any{{
			"primary": true, "type": "oauthbearertoken", "name": "Bearer token", "description": "A token in the Authorization header",
		}},
	}
}
