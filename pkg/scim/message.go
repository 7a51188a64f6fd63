package scim

import (
	"errors"
	"fmt"
)

// Page is one answer to a query (RFC 7644 section 3.4.2).
type Page struct {
	Resources []Resource
	// Total is totalResults, or -1 where the answer does not say.
	Total int
	// Next is the cursor of the next page (RFC 9865), or "".
	Next string
}

// ErrNotAList: the answer is no list of resources. It must not be read as an
// empty one.
var ErrNotAList = errors.New("the answer is not a list of resources")

// ParsePage reads a list response. Resources may be absent only where
// totalResults is 0 or the server gives none beyond the last page.
func ParsePage(data []byte) (Page, error) { return ParsePageOf(data, "Resources") }

// ParsePageOf is ParsePage for a server that has another name for Resources.
// The right name is understood as well.
func ParsePageOf(data []byte, key string) (Page, error) {
	doc, err := Parse(data)
	if err != nil {
		return Page{}, err
	}
	p := Page{Total: -1, Next: doc.text("nextCursor")}
	if _, v, ok := field(doc, "totalResults"); ok {
		n, isNumber := number(v)
		if !isNumber || n < 0 {
			return p, fmt.Errorf("%w: totalResults is not a count", ErrNotAList)
		}
		p.Total = int(n)
	}
	_, v, ok := field(doc, key)
	if !ok {
		_, v, ok = field(doc, "Resources")
	}
	if !ok || v == nil {
		if p.Total < 0 {
			return p, fmt.Errorf("%w: neither Resources nor totalResults", ErrNotAList)
		}
		return p, nil
	}
	elements, isList := v.([]any)
	if !isList {
		return p, fmt.Errorf("%w: Resources is not a list", ErrNotAList)
	}
	for _, e := range elements {
		m, isMap := e.(map[string]any)
		if !isMap {
			return p, fmt.Errorf("%w: a resource is not an object", ErrNotAList)
		}
		p.Resources = append(p.Resources, m)
	}
	return p, nil
}

// ServiceProviderConfig is what a service provider says it can do (RFC 7643
// section 5). What it does not say, it cannot.
type ServiceProviderConfig struct {
	Patch, Bulk, Filter, Sort, ETag bool
	MaxResults                      int
	MaxOperations                   int
	MaxPayload                      int
	Cursor                          bool
}

// ParseServiceProviderConfig reads the document leniently: vendors leave out
// what they do not support.
func ParseServiceProviderConfig(data []byte) (ServiceProviderConfig, error) {
	doc, err := Parse(data)
	if err != nil {
		return ServiceProviderConfig{}, err
	}
	supported := func(name string) bool {
		v, _ := doc.Get(name + ".supported")
		yes, _ := Resource{"active": v}.Active()
		return yes
	}
	count := func(path string) int {
		v, _ := doc.Get(path)
		n, _ := number(v)
		return int(n)
	}
	pagination, _ := doc.Get("pagination.cursor")
	cursor, _ := Resource{"active": pagination}.Active()
	return ServiceProviderConfig{
		Patch: supported("patch"), Bulk: supported("bulk"), Filter: supported("filter"),
		Sort: supported("sort"), ETag: supported("etag"), MaxResults: count("filter.maxResults"),
		MaxOperations: count("bulk.maxOperations"), MaxPayload: count("bulk.maxPayloadSize"), Cursor: cursor,
	}, nil
}
