package scim

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// BulkOperation is one operation of a bulk request (RFC 7644 section 3.7), with
// the ids in the place of its references.
type BulkOperation struct {
	Method, ID, Path, Version string
	// Data is the body; "null" where there is none.
	Data json.RawMessage

	data   any
	answer map[string]any // nil: not done yet
}

// BulkResult is how an operation ended.
type BulkResult struct {
	Status            int
	Location, Version string
	// Made is the id of what a POST made.
	Made string
	// Refusal is the body of an answer that is no success.
	Refusal any
}

// Bulk is a bulk request at work.
type Bulk struct {
	ops    []*BulkOperation
	ids    map[string]string // by bulkId, of what was made
	errors int
	most   int // failOnErrors; 0 is no limit
}

// ParseBulk reads a bulk request of at most limit operations. The error is an
// *Error.
func ParseBulk(body []byte, limit int) (*Bulk, error) {
	doc, err := Parse(body)
	if err != nil {
		return nil, invalid(InvalidSyntax, err.Error())
	}
	if schemas, _ := doc.Get("schemas"); !Names(schemas, BulkSchema) {
		return nil, invalid(InvalidSyntax, "schemas does not name "+BulkSchema)
	}
	v, _ := doc.Get("Operations")
	raw, ok := v.([]any)
	if !ok || len(raw) == 0 {
		return nil, invalid(InvalidSyntax, "Operations is missing or empty")
	}
	if len(raw) > limit {
		return nil, &Error{Status: 413, Detail: fmt.Sprintf("Operations must not be more than %d", limit)}
	}
	b := &Bulk{ids: map[string]string{}}
	if n, said := doc.Get("failOnErrors"); said {
		text, _ := n.(json.Number)
		if b.most, err = strconv.Atoi(text.String()); err != nil || b.most < 1 {
			return nil, invalid(InvalidValue, "failOnErrors must be a positive number")
		}
	}
	for i, e := range raw {
		op, err := bulkOperationOf(e)
		if err != nil {
			return nil, invalid(InvalidSyntax, fmt.Sprintf("Operations[%d]: %s", i, err))
		}
		b.ops = append(b.ops, op)
	}
	return b, nil
}

func bulkOperationOf(e any) (*BulkOperation, error) {
	m, ok := e.(map[string]any)
	if !ok {
		return nil, errors.New("must be an object")
	}
	r := Resource(m)
	op := &BulkOperation{Method: strings.ToUpper(r.text("method")), ID: r.text("bulkId"), Path: r.text("path"), Version: r.text("version")}
	op.data, _ = r.Get("data")
	switch {
	case !slices.Contains([]string{"POST", "PUT", "PATCH", "DELETE"}, op.Method):
		return nil, errors.New("method must be POST, PUT, PATCH or DELETE")
	case op.Method == "POST" && op.ID == "":
		return nil, errors.New("a POST needs a bulkId")
	case !strings.HasPrefix(op.Path, "/Users") && !strings.HasPrefix(op.Path, "/Groups"):
		return nil, errors.New("path must be below /Users or /Groups")
	}
	return op, nil
}

// Run does every operation by calling do, and gives the answer to the request.
// Operations that refer to a bulkId wait until it is made, wherever in the
// request it stands.
func (b *Bulk) Run(do func(BulkOperation) BulkResult) map[string]any {
	for b.pass(do) {
		continue
	}
	b.giveUp()
	answers := []any{}
	for _, op := range b.ops {
		if op.answer != nil {
			answers = append(answers, op.answer)
		}
	}
	return map[string]any{"schemas": []string{BulkReplySchema}, "Operations": answers}
}

// pass does every operation that can be done, and tells whether there was one.
func (b *Bulk) pass(do func(BulkOperation) BulkResult) bool {
	progress := false
	for _, op := range b.ops {
		if b.ended() {
			return false
		}
		if op.answer != nil {
			continue
		}
		path, okPath := b.resolved(op.Path)
		data, okData := b.resolved(op.data)
		if okPath && okData {
			b.do(op, path.(string), data, do)
			progress = true
		}
	}
	return progress
}

// ended: there were as many errors as the client bears.
func (b *Bulk) ended() bool { return b.most > 0 && b.errors >= b.most }

// giveUp answers operations whose references were never made.
func (b *Bulk) giveUp() {
	for _, op := range b.ops {
		if op.answer == nil && !b.ended() {
			e := &Error{Status: 409, ScimType: InvalidValue, Detail: "a bulkId that it refers to was not made"}
			b.note(op, BulkResult{Status: e.Status, Refusal: e})
		}
	}
}

func (b *Bulk) do(op *BulkOperation, path string, data any, do func(BulkOperation) BulkResult) {
	body, err := json.Marshal(data)
	if err != nil {
		e := invalid(InvalidSyntax, "data cannot be read")
		b.note(op, BulkResult{Status: e.Status, Refusal: e})
		return
	}
	result := do(BulkOperation{Method: op.Method, ID: op.ID, Path: path, Version: op.Version, Data: body})
	if op.Method == "POST" && result.Made != "" {
		b.ids[op.ID] = result.Made
	}
	b.note(op, result)
}

// note writes down how an operation ended. Bodies come along only where it
// failed.
func (b *Bulk) note(op *BulkOperation, result BulkResult) {
	op.answer = map[string]any{"method": op.Method, "status": strconv.Itoa(result.Status)}
	for name, value := range map[string]string{"bulkId": op.ID, "location": result.Location, "version": result.Version} {
		if value != "" {
			op.answer[name] = value
		}
	}
	if result.Status >= 400 {
		b.errors++
		op.answer["response"] = result.Refusal
	}
}

// resolved puts ids in the place of references, or tells that one is missing.
func (b *Bulk) resolved(v any) (any, bool) {
	switch v := v.(type) {
	case string:
		before, name, refers := strings.Cut(v, "bulkId:")
		if !refers || before != "" && !strings.HasPrefix(before, "/") {
			return v, true
		}
		id, made := b.ids[name]
		return before + id, made
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			r, ok := b.resolved(e)
			if !ok {
				return nil, false
			}
			out[i] = r
		}
		return out, true
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			r, ok := b.resolved(e)
			if !ok {
				return nil, false
			}
			out[name] = r
		}
		return out, true
	}
	return v, true
}
