package event

// Document reads a JSON document as strictly as an event is read, within the
// same bounds: nil, bool, float64, string, []any or map[string]any. It fails with
// a *Problem. It is for doors whose events are not CloudEvents.
func Document(data []byte) (any, error) { return document(data) }

// Refuse is a problem found outside this package: a refusal of the sender's
// event at a field, with what to do about it.
func Refuse(code Code, field, detail string) *Problem {
	return &Problem{Code: code, Field: field, Detail: detail}
}

// Printable tells whether a text has no control characters and nothing that was
// lost on its way, so that it can be shown, logged and stored as it is.
func Printable(s string) bool { return printable(s) }
