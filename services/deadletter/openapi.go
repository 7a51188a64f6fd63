package deadletter

import _ "embed"

// openAPI describes the API, for people who build on it.
//
//go:embed openapi.json
var openAPI []byte
