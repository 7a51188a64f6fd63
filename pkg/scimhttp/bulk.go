package scimhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/scim"
)

// Done is how one operation of a bulk request ended, or of the single request
// that stood for it.
type Done struct {
	// Err is marked by pkg/fault as a single answer would be; nil is success. An
	// operation of which the answer says nothing has failed: a POST with
	// fault.Unknown, because it may have been done.
	Err error
	// ID is that of the resource, where the answer tells it.
	ID      string
	Version string
}

// Bounds on bulk requests, where the target names none or larger ones: an answer
// to more takes longer than a request may.
const (
	maxBulk     = 1000
	maxBulkSize = 1 << 20
)

// ErrNotReported: the answer to a bulk request does not say how the operation
// ended.
var ErrNotReported = errors.New("the target does not say how the operation ended")

// ErrNotSent: the operation was not sent, because one before it failed or made
// nothing to refer to.
var ErrNotSent = errors.New("the operation was not sent, because of one before it")

// Bulk carries out operations, in bulk requests where the target has them and by
// single requests where not, and gives the end of each in the same order.
// stopAtError leaves out what comes after the first failure, as far as the target
// does. The operations must pass scim.CheckBulk, else each fails.
//
//	the answer is    then
//	200              each operation has its own end
//	413              each half goes by itself
//	404, 405, 501    everything goes by single requests, and that is learned
//	anything else    that is the end of each operation
//
// Whether there are bulk requests, and how large they may be, is what Discover
// read last, unless the profile forbids them; before Discover there are none.
func (c *Client) Bulk(ctx context.Context, ops []scim.BulkCall, stopAtError bool) []Done {
	if err := scim.CheckBulk(ops); err != nil {
		return all(ops, fault.Mark(fault.Permanent, err))
	}
	b := bulk{client: c, stop: stopAtError, ids: map[string]string{}, ends: map[string]Done{}}
	b.run(ctx, ops)
	out := make([]Done, 0, len(ops))
	for _, o := range ops {
		out = append(out, b.ends[o.ID])
	}
	return out
}

// bulkLimits are the most operations and bytes of a bulk request; 0 operations
// where there are none.
func (c *Client) bulkLimits() (most, size int) {
	said, k := c.said.Load(), c.options.Knobs
	if said == nil || !said.Bulk || k.Bulk == "no" || c.lessons.Knows(bulkKnob, "no") {
		return 0, 0
	}
	least := func(limit int, others ...int) int {
		for _, n := range others {
			if n > 0 {
				limit = min(limit, n)
			}
		}
		return limit
	}
	return least(maxBulk, said.MaxOperations, k.BulkMaxOps), least(maxBulkSize, said.MaxPayload)
}

// bulk is a call of Bulk at work.
type bulk struct {
	client *Client
	stop   bool
	failed bool
	// ids are of what was made, and ends of what was done, by bulkId.
	ids  map[string]string
	ends map[string]Done
	// later are operations that refer to what is not made yet.
	later []scim.BulkCall
}

func (b *bulk) end(o scim.BulkCall, d Done) {
	b.ends[o.ID] = d
	b.failed = b.failed || d.Err != nil
	if o.Method == http.MethodPost && d.Err == nil && d.ID != "" {
		b.ids[o.ID] = d.ID
	}
}

// run carries out operations, those that wait for others after them.
func (b *bulk) run(ctx context.Context, ops []scim.BulkCall) {
	for waiting := ops; len(waiting) > 0; {
		ended := len(b.ends)
		b.later = nil
		most, size := b.client.bulkLimits()
		b.each(ctx, scim.SplitBulk(waiting, max(most, 1), size))
		if waiting = b.later; len(b.ends) == ended {
			for _, o := range waiting {
				b.end(o, Done{Err: fault.Mark(fault.Waiting, ErrNotSent)})
			}
			return
		}
	}
}

// each sends what is ready of each part; the rest is for later.
func (b *bulk) each(ctx context.Context, parts [][]scim.BulkCall) {
	for _, part := range parts {
		if b.stop && b.failed {
			for _, o := range part {
				b.end(o, Done{Err: fault.Mark(fault.Transient, ErrNotSent)})
			}
			continue
		}
		ready, waiting := scim.ReadyBulk(part, b.ids)
		b.later = append(b.later, waiting...)
		if len(ready) > 0 {
			b.send(ctx, ready)
		}
	}
}

func (b *bulk) send(ctx context.Context, ops []scim.BulkCall) {
	most, _ := b.client.bulkLimits()
	switch {
	case len(ops) == 1:
		b.end(ops[0], b.client.one(ctx, ops[0]))
		return
	case most == 0: // learned on the way
		b.each(ctx, scim.SplitBulk(ops, 1, 0))
		return
	}
	failOnErrors := 0
	if b.stop {
		failOnErrors = 1
	}
	a, err := b.client.do(ctx, request{method: http.MethodPost, kind: "Bulk", path: "/Bulk", body: scim.BulkRequest(ops, failOnErrors), limit: maxList})
	switch a.status {
	case http.StatusRequestEntityTooLarge:
		b.each(ctx, scim.SplitBulk(ops, (len(ops)+1)/2, 0))
		return
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		b.client.lessons.Learn(ctx, bulkKnob, "no", fmt.Sprintf("POST /Bulk: %d", a.status))
		b.each(ctx, scim.SplitBulk(ops, 1, 0))
		return
	}
	if err == nil {
		err = b.read(ops, a)
	}
	if err != nil {
		b.lost(ops, err)
	}
}

// read takes the ends from an answer.
func (b *bulk) read(ops []scim.BulkCall, a answer) error {
	results, err := scim.PairBulk(ops, a.body)
	if err != nil {
		return fault.Mark(fault.Unknown, err)
	}
	for i, o := range ops {
		b.end(o, doneOf(o, results[i]))
	}
	return nil
}

// doneOf judges one result as the answer to a single request would be.
func doneOf(o scim.BulkCall, r scim.BulkEnd) Done {
	if !r.Reported {
		return Done{Err: fault.Mark(unanswered(o.Method), ErrNotReported)}
	}
	d := Done{ID: idAt(r.Location, o.Path), Version: r.Version}
	d.Err = classify(o.Method, answer{status: r.Status, header: http.Header{}, body: r.Response})
	if d.Err == nil && o.Method == http.MethodPost && d.ID == "" {
		// Made, but not said what: as where a single answer has neither.
		if made, err := scim.Parse(r.Response); err == nil {
			d.ID = made.ID()
		}
	}
	return d
}

// idAt is the id in a location of a resource that a path is about.
func idAt(location, path string) string {
	u, err := url.Parse(location)
	if err != nil || location == "" {
		return ""
	}
	kind := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 2)[0]
	_, id, found := strings.Cut(u.EscapedPath(), "/"+kind+"/")
	id, err = url.PathUnescape(strings.TrimRight(id, "/"))
	if !found || err != nil || strings.Contains(id, "/") {
		return ""
	}
	return id
}

// lost ends operations whose request failed as a whole. What is not a POST may
// be repeated, although the request was one.
func (b *bulk) lost(ops []scim.BulkCall, err error) {
	for _, o := range ops {
		said := err
		if fault.Is(err, fault.Unknown) && o.Method != http.MethodPost {
			said = fault.Mark(fault.Transient, err)
		}
		b.end(o, Done{Err: said})
	}
}

// one carries out an operation by a request of its own.
func (c *Client) one(ctx context.Context, o scim.BulkCall) Done {
	kind, _, _ := strings.Cut(strings.TrimPrefix(o.Path, "/"), "/")
	var body any
	if o.Data != nil {
		body = o.Data
	}
	a, err := c.do(ctx, request{method: o.Method, kind: scim.Kind(kind), path: o.Path, etag: o.Version, body: body})
	if err != nil {
		return Done{Err: err}
	}
	r, err := a.resource()
	if err != nil {
		return Done{Err: fault.Mark(unanswered(o.Method), err)}
	}
	id := r.ID()
	if id == "" {
		id = idAt(a.header.Get("Location"), o.Path)
	}
	return Done{ID: id, Version: r.Version()}
}

func all(ops []scim.BulkCall, err error) []Done {
	out := make([]Done, len(ops))
	for i := range out {
		out[i].Err = err
	}
	return out
}
