package dispatcher

import (
	"context"
	"errors"
	"fmt"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
)

// control is a userName that nobody has: asking for it costs the target little
// and shows whether it answers us, as the big identity providers test a
// connection.
const control = "joinery-control-request"

// checked is a provider with a control request.
type checked struct{ Provider }

// Check tells whether the target answers, knows us, and is where we think it
// is. A target that merely dislikes the question answers all three.
func (c checked) Check(ctx context.Context) error {
	_, err := c.Find(ctx, scim.Users, "userName", control)
	if errors.Is(err, scimhttp.ErrNotAsked) {
		return c.list(ctx)
	}
	switch fault.KindOf(err) {
	case fault.Permanent, fault.Unsupported, fault.Conflict:
		return nil
	case fault.NotFound:
		return c.place(ctx, err)
	default:
		return err
	}
}

// list is the control request of a target that cannot be searched by userName:
// the beginning of a list.
func (c checked) list(ctx context.Context) error {
	for _, err := range c.List(ctx, scim.Users) {
		return err
	}
	return nil
}

// place tells a target that says 404 for "nobody has that name" from an address
// where there is no service provider at all.
func (c checked) place(ctx context.Context, missing error) error {
	_, err := c.Discover(ctx)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Unsupported) {
		return fault.Mark(fault.TargetDown, fmt.Errorf("the users endpoint is not where the configuration says: %w", missing))
	}
	return err
}

// counted counts the requests of one pursuit.
type counted struct {
	Provider
	requests *int32
}

func (c counted) Find(ctx context.Context, kind scim.Kind, attr, value string) ([]scim.Resource, error) {
	*c.requests++
	return c.Provider.Find(ctx, kind, attr, value)
}

func (c counted) Get(ctx context.Context, kind scim.Kind, id string) (scim.Resource, error) {
	*c.requests++
	return c.Provider.Get(ctx, kind, id)
}

func (c counted) Create(ctx context.Context, kind scim.Kind, r scim.Resource) (scim.Resource, error) {
	*c.requests++
	return c.Provider.Create(ctx, kind, r)
}

func (c counted) Patch(ctx context.Context, kind scim.Kind, id, etag string, ops []scim.Operation) (scim.Resource, error) {
	*c.requests++
	return c.Provider.Patch(ctx, kind, id, etag, ops)
}

func (c counted) Replace(ctx context.Context, kind scim.Kind, id, etag string, r scim.Resource) (scim.Resource, error) {
	*c.requests++
	return c.Provider.Replace(ctx, kind, id, etag, r)
}

func (c counted) Delete(ctx context.Context, kind scim.Kind, id, etag string) error {
	*c.requests++
	return c.Provider.Delete(ctx, kind, id, etag)
}
