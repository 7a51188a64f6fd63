package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
)

// bulkOperation is one operation of a bulk request (RFC 7644 section 3.7).
type bulkOperation struct {
	method, bulkID, path, version string
	data                          any
	answer                        map[string]any // nil: not done yet
}

// bulkRun is one bulk request at work.
type bulkRun struct {
	server *Server
	ops    []*bulkOperation
	ids    map[string]string // by bulkId, of what was made
	errors int
	most   int // failOnErrors; 0 is no limit
}

// bulk does what a bulk request holds. Operations that refer to a bulkId wait
// until it is made, wherever in the request it stands.
func (s *Server) bulk(a ask) reply {
	switch {
	case s.options.Bulk == 0:
		return failure(http.StatusNotImplemented, "", "bulk requests are not supported")
	case a.method != http.MethodPost:
		return failure(http.StatusMethodNotAllowed, "", "a bulk request is a POST")
	case !speaksJSON(a.contentType):
		return failure(http.StatusUnsupportedMediaType, "", "the Content-Type must be application/scim+json")
	}
	run, err := s.bulkRun(a.body)
	if err != nil {
		return failed(err)
	}
	for run.pass() {
		continue
	}
	run.giveUp()
	answers := []any{}
	for _, op := range run.ops {
		if op.answer != nil {
			answers = append(answers, op.answer)
		}
	}
	return reply{status: http.StatusOK, body: map[string]any{
		"schemas": []string{scim.BulkReplySchema}, "Operations": answers,
	}}
}

func (s *Server) bulkRun(body []byte) (*bulkRun, error) {
	doc, err := parsed(body)
	if err != nil {
		return nil, err
	}
	if schemas, _ := doc.Get("schemas"); !names(schemas, scim.BulkSchema) {
		return nil, bad(scim.InvalidSyntax, "schemas does not name "+scim.BulkSchema)
	}
	v, _ := doc.Get("Operations")
	raw, ok := v.([]any)
	if !ok || len(raw) == 0 {
		return nil, bad(scim.InvalidSyntax, "Operations is missing or empty")
	}
	if len(raw) > s.options.Bulk {
		return nil, &scim.Error{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("Operations must not be more than %d", s.options.Bulk)}
	}
	run := &bulkRun{server: s, ids: map[string]string{}}
	if n, said := doc.Get("failOnErrors"); said {
		text, _ := n.(json.Number)
		if run.most, err = strconv.Atoi(text.String()); err != nil || run.most < 1 {
			return nil, bad(scim.InvalidValue, "failOnErrors must be a positive number")
		}
	}
	for i, e := range raw {
		op, err := bulkOperationOf(e)
		if err != nil {
			return nil, bad(scim.InvalidSyntax, fmt.Sprintf("Operations[%d]: %s", i, err))
		}
		run.ops = append(run.ops, op)
	}
	return run, nil
}

func bulkOperationOf(e any) (*bulkOperation, error) {
	m, ok := e.(map[string]any)
	if !ok {
		return nil, errors.New("must be an object")
	}
	text := func(name string) string {
		v, _ := scim.Resource(m).Get(name)
		s, _ := v.(string)
		return s
	}
	op := &bulkOperation{method: strings.ToUpper(text("method")), bulkID: text("bulkId"), path: text("path"), version: text("version")}
	op.data, _ = scim.Resource(m).Get("data")
	switch {
	case !slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, op.method):
		return nil, errors.New("method must be POST, PUT, PATCH or DELETE")
	case op.method == http.MethodPost && op.bulkID == "":
		return nil, errors.New("a POST needs a bulkId")
	case !strings.HasPrefix(op.path, "/Users") && !strings.HasPrefix(op.path, "/Groups"):
		return nil, errors.New("path must be below /Users or /Groups")
	}
	return op, nil
}

// pass does every operation that can be done, and tells whether there was one.
func (run *bulkRun) pass() bool {
	progress := false
	for _, op := range run.ops {
		if run.ended() {
			return false
		}
		if op.answer != nil {
			continue
		}
		path, okPath := run.resolved(op.path)
		data, okData := run.resolved(op.data)
		if okPath && okData {
			run.do(op, path.(string), data)
			progress = true
		}
	}
	return progress
}

// ended: there were as many errors as the caller bears.
func (run *bulkRun) ended() bool { return run.most > 0 && run.errors >= run.most }

// giveUp answers operations whose references were never made.
func (run *bulkRun) giveUp() {
	for _, op := range run.ops {
		if op.answer == nil && !run.ended() {
			run.note(op, failure(http.StatusConflict, scim.InvalidValue, "a bulkId that it refers to was not made"))
		}
	}
}

func (run *bulkRun) do(op *bulkOperation, path string, data any) {
	body, err := json.Marshal(data)
	if err != nil {
		run.note(op, failed(err))
		return
	}
	p := run.server.route(ask{method: op.method, path: path, ifMatch: op.version, body: body})
	if r, ok := p.body.(scim.Resource); ok && op.method == http.MethodPost {
		run.ids[op.bulkID] = r.ID()
	}
	run.note(op, p)
}

// note writes down how an operation ended. Bodies come along only where it
// failed.
func (run *bulkRun) note(op *bulkOperation, p reply) {
	op.answer = map[string]any{"method": op.method, "status": strconv.Itoa(p.status)}
	for name, value := range map[string]string{"bulkId": op.bulkID, "location": p.header["Location"], "version": p.header["ETag"]} {
		if value != "" {
			op.answer[name] = value
		}
	}
	if p.status >= http.StatusBadRequest {
		run.errors++
		op.answer["response"] = p.body
	}
}

// resolved puts ids in the place of references, or tells that one is missing.
func (run *bulkRun) resolved(v any) (any, bool) {
	switch v := v.(type) {
	case string:
		before, name, refers := strings.Cut(v, "bulkId:")
		if !refers || before != "" && !strings.HasPrefix(before, "/") {
			return v, true
		}
		id, made := run.ids[name]
		return before + id, made
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			r, ok := run.resolved(e)
			if !ok {
				return nil, false
			}
			out[i] = r
		}
		return out, true
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			r, ok := run.resolved(e)
			if !ok {
				return nil, false
			}
			out[name] = r
		}
		return out, true
	}
	return v, true
}
