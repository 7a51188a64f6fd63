package scim

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// BulkCall is one operation of a bulk request (RFC 7644 section 3.7).
type BulkCall struct {
	// Method is POST, PUT, PATCH or DELETE.
	Method string
	// ID is the bulkId, by which its result is known: unique in a request.
	ID string
	// Path is below the endpoint: /Users, or /Users/id.
	Path string
	// Version is what If-Match would say; "" for none.
	Version string
	// Data is the body; nil for a DELETE. A text "bulkId:ID" in it, or as the id
	// in Path, stands for the id of what the operation of that ID makes.
	Data any
}

// MarshalJSON writes the operation as RFC 7644 has it.
func (o BulkCall) MarshalJSON() ([]byte, error) {
	m := map[string]any{"method": o.Method, "bulkId": o.ID, "path": o.Path}
	if o.Version != "" {
		m["version"] = o.Version
	}
	if o.Data != nil {
		m["data"] = o.Data
	}
	return json.Marshal(m)
}

// refPrefix marks a reference to a resource that the same request makes.
const refPrefix = "bulkId:"

// BulkRef stands for the id of what the operation of an ID makes.
func BulkRef(id string) string { return refPrefix + id }

// ErrBulk: operations that no bulk request can hold.
var ErrBulk = errors.New("these operations are no bulk request")

// CheckBulk tells whether the operations have an ID each, of its own, a method,
// a path, and references only to what a POST among them makes. The error wraps
// ErrBulk.
func CheckBulk(ops []BulkCall) error {
	made := map[string]bool{}
	for _, o := range ops {
		_, twice := made[o.ID]
		switch {
		case o.ID == "" || twice:
			return fmt.Errorf("%w: a bulkId is missing or used twice", ErrBulk)
		case o.Method != "POST" && o.Method != "PUT" && o.Method != "PATCH" && o.Method != "DELETE":
			return fmt.Errorf("%w: an operation has no method that a bulk request knows", ErrBulk)
		case !strings.HasPrefix(o.Path, "/"):
			return fmt.Errorf("%w: an operation has no path", ErrBulk)
		}
		made[o.ID] = o.Method == "POST"
	}
	for _, o := range ops {
		for _, id := range o.Refs() {
			if !made[id] {
				return fmt.Errorf("%w: an operation refers to what none of them makes", ErrBulk)
			}
		}
	}
	return nil
}

// Refs are the IDs of the operations to which one refers.
func (o BulkCall) Refs() []string {
	var out []string
	refs(o.Data, func(id string) { out = append(out, id) })
	for segment := range strings.SplitSeq(o.Path, "/") {
		refs(segment, func(id string) { out = append(out, id) })
	}
	return out
}

func refs(v any, visit func(id string)) {
	switch v := v.(type) {
	case string:
		if id, is := strings.CutPrefix(v, refPrefix); is {
			visit(id)
		}
	case []any:
		for _, e := range v {
			refs(e, visit)
		}
	case map[string]any:
		for _, e := range v {
			refs(e, visit)
		}
	case Resource:
		refs(map[string]any(v), visit)
	case []Operation:
		for _, op := range v {
			refs(op.Value, visit)
		}
	}
}

// Resolved is the operation with ids in the place of references. It is false
// where one is not known, and stays.
func (o BulkCall) Resolved(ids map[string]string) (BulkCall, bool) {
	all := true
	id := func(s string) string {
		ref, is := strings.CutPrefix(s, refPrefix)
		if !is {
			return s
		}
		made, known := ids[ref]
		if !known {
			all = false
			return s
		}
		return made
	}
	segments := strings.Split(o.Path, "/")
	for i := range segments {
		segments[i] = id(segments[i])
	}
	o.Path, o.Data = strings.Join(segments, "/"), resolved(o.Data, id)
	return o, all
}

func resolved(v any, id func(string) string) any {
	switch v := v.(type) {
	case string:
		return id(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = resolved(e, id)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			out[name] = resolved(e, id)
		}
		return out
	case Resource:
		return Resource(resolved(map[string]any(v), id).(map[string]any))
	case []Operation:
		out := make([]Operation, len(v))
		for i, op := range v {
			out[i] = Operation{Op: op.Op, Path: op.Path, Value: resolved(op.Value, id)}
		}
		return out
	}
	return v
}

// BulkRequest is the body of a bulk request. failOnErrors is after how many
// errors the service provider stops; 0 leaves it out: it never does.
func BulkRequest(ops []BulkCall, failOnErrors int) map[string]any {
	body := map[string]any{"schemas": []string{BulkSchema}, "Operations": ops}
	if failOnErrors > 0 {
		body["failOnErrors"] = failOnErrors
	}
	return body
}

// BulkEnd is how one operation ended.
type BulkEnd struct {
	// Reported: the answer says how it ended. Where it does not, the operation must
	// be taken for failed, and may have been done.
	Reported          bool
	Status            int
	Location, Version string
	// Response is the body that came with it, as it stood; nil for none.
	Response []byte
}

// PairBulk gives each operation its result, in the order of the operations. A
// result belongs to the operation of its bulkId; one without, as some service
// providers send where nothing was made, to the only operation of its method and
// location. What is reported twice, or without a status, is not reported. It
// fails where the answer is no bulk response.
func PairBulk(ops []BulkCall, body []byte) ([]BulkEnd, error) {
	doc, err := Parse(body)
	if err != nil {
		return nil, fmt.Errorf("read a bulk response: %w", ErrMalformed)
	}
	_, v, found := field(doc, "Operations")
	raw, isList := v.([]any)
	if !found || !isList {
		return nil, fmt.Errorf("read a bulk response: %w: there are no Operations", ErrMalformed)
	}
	results, seen := make([]BulkEnd, len(ops)), make([]int, len(ops))
	for _, e := range raw {
		m, _ := e.(map[string]any)
		i := whose(ops, Resource(m))
		if i < 0 {
			continue
		}
		if seen[i]++; seen[i] > 1 {
			results[i] = BulkEnd{}
			continue
		}
		results[i] = bulkEnd(m)
	}
	return results, nil
}

// whose is the operation to which a result belongs, or -1.
func whose(ops []BulkCall, result Resource) int {
	id, method, location := result.text("bulkId"), result.text("method"), result.text("location")
	at := -1
	for i, o := range ops {
		switch {
		case id != "":
			if o.ID == id {
				return i
			}
		case o.Method != "POST" && strings.EqualFold(o.Method, method) && location != "" && strings.HasSuffix(location, o.Path):
			if at >= 0 {
				return -1
			}
			at = i
		}
	}
	return at
}

func bulkEnd(m map[string]any) BulkEnd {
	_, v, _ := field(m, "status")
	status := statusOf(v)
	if status == 0 {
		return BulkEnd{}
	}
	r := BulkEnd{Reported: true, Status: status, Location: Resource(m).text("location"), Version: Resource(m).text("version")}
	if _, response, has := field(m, "response"); has && response != nil {
		r.Response, _ = json.Marshal(response) // it was JSON before
	}
	return r
}

// statusOf reads a status: text as RFC 7644 has it, a number, or the object of
// its drafts.
func statusOf(v any) int {
	if m, is := v.(map[string]any); is {
		_, v, _ = field(m, "code")
	}
	text := fmt.Sprint(v)
	n, err := strconv.Atoi(text)
	if err != nil || n < 100 || n > 599 {
		return 0
	}
	return n
}

// SplitBulk divides operations, in order, into requests of at most most operations
// and size bytes, neither of which is a limit where it is 0. An operation that is
// larger than a request is one by itself.
func SplitBulk(ops []BulkCall, most, size int) (out [][]BulkCall) {
	begin, held := 0, envelope
	for i, o := range ops {
		n := weight(o)
		if i > begin && (most > 0 && i-begin >= most || size > 0 && held+n > size) {
			out, begin, held = append(out, ops[begin:i]), i, envelope
		}
		held += n
	}
	if begin < len(ops) {
		out = append(out, ops[begin:])
	}
	return out
}

// envelope is more than a request takes without its operations, in bytes.
const envelope = 160

// weight is what an operation takes in a request, in bytes.
func weight(o BulkCall) int {
	data, _ := json.Marshal(o) // one that cannot be written is refused when it is sent
	return len(data) + 1
}

// ReadyBulk divides the operations of a request into those that can be in it, with
// the ids that are known in the place of references, and those that must wait:
// they refer to what none of them makes, or follow one that waits and is about
// the same resource.
func ReadyBulk(ops []BulkCall, ids map[string]string) (ready, waiting []BulkCall) {
	made, waits := map[string]bool{}, make([]bool, len(ops))
	for _, o := range ops {
		made[o.ID] = true
	}
	for again := true; again; {
		again = false
		blocked := map[string]bool{}
		for i, o := range ops {
			for _, id := range o.Refs() {
				_, known := ids[id]
				waits[i] = waits[i] || !known && !made[id]
			}
			waits[i] = waits[i] || o.Method != "POST" && blocked[o.Path]
			blocked[o.Path] = blocked[o.Path] || waits[i]
			if waits[i] && made[o.ID] {
				made[o.ID], again = false, true
			}
		}
	}
	for i, o := range ops {
		if waits[i] {
			waiting = append(waiting, o)
			continue
		}
		o, _ = o.Resolved(ids)
		ready = append(ready, o)
	}
	return ready, waiting
}
