package provider

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/services/ingest/directory"
)

// search answers POST .search (RFC 7644 section 3.4.3).
func (p Provider) search(ctx context.Context, a Ask, kinds ...scim.Kind) (Reply, error) {
	if !scim.IsMediaType(a.ContentType) {
		return Reply{}, errMediaType
	}
	values, err := scim.SearchValues(a.Body, false)
	if err != nil {
		return Reply{}, err
	}
	return p.list(ctx, values, kinds...)
}

// list answers a query. Without sortBy the order is that in which resources were
// made, kind by kind, so that pages do not shift while others are added.
func (p Provider) list(ctx context.Context, values map[string][]string, kinds ...scim.Kind) (Reply, error) {
	q, err := scim.QueryOf(values, StandardPage)
	if err != nil {
		return Reply{}, err
	}
	q.Count = min(q.Count, MaxPage)
	places, err := p.found(ctx, q, kinds)
	if err != nil {
		return Reply{}, err
	}
	mark := markOf(q, kinds)
	if q.CursorSaid {
		if q.Start, err = mark.start(q, places); err != nil {
			return Reply{}, err
		}
	}
	from, to := q.Cut(len(places))
	held, err := p.Directory.Read(ctx, places[from:to])
	if err != nil {
		return Reply{}, fmt.Errorf("read a page: %w", err)
	}
	page := make([]scim.Resource, len(held))
	for i, r := range held {
		page[i] = q.Selection.Of(p.view(r))
	}
	body := scim.Listing(page, len(places), q.Start)
	if q.CursorSaid {
		delete(body, "startIndex")
		if to < len(places) && to > from {
			body["nextCursor"] = mark.after(places[to-1], to)
		}
	}
	return Reply{Status: http.StatusOK, Body: body}, nil
}

// found are the places of everything that is asked for, in its order.
func (p Provider) found(ctx context.Context, q scim.Query, kinds []scim.Kind) ([]directory.Place, error) {
	var out []directory.Place
	var all []scim.Resource
	keep, err := scim.SelectionOf([]string{"meta.resourceType," + q.SortBy}, nil)
	if err != nil {
		return nil, err
	}
	for _, kind := range kinds {
		if q.Filter == nil && q.SortBy == "" {
			ids, err := p.Directory.IDs(ctx, kind)
			if err != nil {
				return nil, err
			}
			for _, id := range ids {
				out = append(out, directory.Place{Kind: kind, ID: id})
			}
			continue
		}
		found, err := p.Directory.Find(ctx, kind, q.Filter, func(r directory.Resource) scim.Resource { return keep.Of(r.View()) })
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	q.Sort(all)
	for _, r := range all {
		kind := scim.Users
		if r.Text("meta.resourceType") == scim.Groups.ResourceType() {
			kind = scim.Groups
		}
		out = append(out, directory.Place{Kind: kind, ID: r.ID()})
	}
	return out, nil
}

// mark is a cursor (RFC 9865): the last resource that was shown, so that those
// which come and go in front of it shift nothing; of a sorted list, how many were.
type mark struct {
	Query string    `json:"q"`
	Kind  scim.Kind `json:"k,omitempty"`
	ID    string    `json:"i,omitempty"`
	Shown int       `json:"n,omitempty"`

	sorted bool
	kinds  []scim.Kind
}

// markOf is the cursor before the first page of a query. Another query's cursor
// is none of it.
func markOf(q scim.Query, kinds []scim.Kind) mark {
	filter := ""
	if q.Filter != nil {
		filter = q.Filter.String()
	}
	sum := sha256.Sum256(fmt.Append(nil, kinds, "\x00", filter, "\x00", q.SortBy, "\x00", q.Descending))
	return mark{Query: hex.EncodeToString(sum[:8]), sorted: q.SortBy != "", kinds: kinds}
}

func (m mark) after(last directory.Place, shown int) string {
	if m.sorted {
		m.Shown = shown
	} else {
		m.Kind, m.ID = last.Kind, last.ID
	}
	text, err := json.Marshal(m)
	if err != nil {
		return "" // texts and a number always encode
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// start is where the page begins that a query's cursor asks for, from 1.
func (m mark) start(q scim.Query, places []directory.Place) (int, error) {
	if q.Cursor == "" {
		return 1, nil
	}
	var given mark
	text, err := base64.RawURLEncoding.DecodeString(q.Cursor)
	if err == nil {
		err = json.Unmarshal(text, &given)
	}
	if err != nil || given.Query != m.Query || given.Shown < 0 {
		return 0, refuse(http.StatusBadRequest, scim.InvalidCursor, "The cursor is none that was given for this query.")
	}
	if m.sorted {
		return given.Shown + 1, nil
	}
	i := slices.IndexFunc(places, func(place directory.Place) bool {
		a, b := slices.Index(m.kinds, place.Kind), slices.Index(m.kinds, given.Kind)
		return a > b || a == b && place.ID > given.ID
	})
	if i < 0 {
		i = len(places)
	}
	return i + 1, nil
}
