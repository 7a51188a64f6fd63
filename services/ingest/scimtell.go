package ingest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/secevent"
	"github.com/joinery/joinery/services/ingest/directory"
)

// teller tells the facts of a directory as events of its source. The event of a
// user says the same as a security event token of RFC 9967 does, so that one rule
// serves both doors:
//
//	event.data.kind        joined, changed, disabled, enabled, left
//	event.data.person      id, externalId, userName, uri, and format: scim
//	event.data.attributes  the user as attributes of the person; of the manager
//	                       also key, the identity key
//	event.data.payload     data: the user as it is
//
// Every event of a user who stays is the whole user. Those about groups have
// data.group, and of the rules nothing is asked.
type teller struct {
	service *Service
	source  Source
	base    string
	// person is the identity key of the user with an id, or "".
	person func(ctx context.Context, id string) (string, error)
}

// Judge implements directory.Teller.
func (t *teller) Judge(ctx context.Context, f directory.Fact) (string, error) {
	now := time.Now()
	e, err := t.event(ctx, f)
	if err != nil {
		return "", err
	}
	src := t.source.Events
	src.Rules = scimRules{Rules: secevent.Rules{Rules: src.Rules}}
	canonical, err := src.Interpret(e, now)
	if err == nil {
		err = unstorable(canonical, now)
	}
	if problems := event.ProblemsOf(err); len(problems) > 0 {
		return "", refusedFact(problems[0])
	}
	return canonical.GetIdentityKey(), err
}

// refusedFact is what the identity provider is told of a user whom the source's
// rules cannot read.
func refusedFact(p *event.Problem) error {
	e := &scim.Error{Status: http.StatusBadRequest, ScimType: scim.InvalidValue, Detail: p.Detail}
	if p.Field != "" {
		e.Detail = p.Field + ": " + p.Detail
	}
	if p.Code == tooLarge {
		e.Status, e.ScimType = http.StatusRequestEntityTooLarge, ""
	}
	return e
}

// Tell implements directory.Teller.
func (t *teller) Tell(ctx context.Context, facts []directory.Fact) error {
	rules := scimRules{Rules: secevent.Rules{Rules: t.source.Events.Rules}, persons: map[string]string{}}
	events := make([]event.Event, len(facts))
	for i, f := range facts {
		e, err := t.event(ctx, f)
		if err != nil {
			return err
		}
		events[i], rules.persons[e.ID] = e, f.Person
	}
	src := t.source
	src.Events.Rules = rules
	_, err := t.service.accept(ctx, &src, events, time.Now())
	if len(facts) == 1 && wasTold(err) {
		return nil
	}
	return err
}

// wasTold: the event is stored, and said something else because the source's
// rules were others then.
func wasTold(err error) bool {
	problems := event.ProblemsOf(err)
	return len(problems) == 1 && problems[0].Code == reused
}

// event is a fact as an event of the source.
func (t *teller) event(ctx context.Context, f directory.Fact) (event.Event, error) {
	e := event.Event{
		ID: f.ID, Source: t.base, SpecVersion: event.SpecVersion, Type: typeOf(f.What), Subject: cmp.Or(f.User.ID, f.Group), Time: f.At,
		Extensions: map[string]string{"sequence": strconv.FormatInt(f.Version, 10)},
	}
	data := map[string]any{"kind": f.What, "attributes": map[string]any{}, "payload": map[string]any{}}
	if f.Group != "" {
		group := map[string]any{"key": f.Group}
		if f.GroupName != "" {
			group["name"] = f.GroupName
		}
		data["group"], e.Data = group, data
		return e, nil
	}
	resource, err := plain(f.User)
	if err != nil {
		return e, err
	}
	person := map[string]any{"format": "scim", "uri": t.base + "/Users/" + f.User.ID, "id": f.User.ID}
	for _, name := range []string{"externalId", "userName"} {
		if v := f.User.Body.Text(name); v != "" {
			person[name] = v
		}
	}
	data["person"] = person
	if f.What != directory.Left {
		e.Extensions["joineryfull"] = "true"
		attributes := secevent.Attributes(resource)
		if err := t.nameManager(ctx, attributes); err != nil {
			return e, err
		}
		data["attributes"], data["payload"] = attributes, map[string]any{"data": resource}
	}
	e.Data = data
	return e, nil
}

// nameManager adds, where the manager is a user here, whose id means nothing
// elsewhere, the manager's identity key.
func (t *teller) nameManager(ctx context.Context, attributes map[string]any) error {
	manager, _ := attributes["manager"].(map[string]any)
	id, _ := manager["value"].(string)
	if id == "" {
		return nil
	}
	key, err := t.person(ctx, id)
	if err != nil || key == "" {
		return err
	}
	manager = maps.Clone(manager)
	manager["key"], attributes["manager"] = key, manager
	return nil
}

// plain is a user as events carry it: under their bounds, and with their kinds of
// values.
func plain(r directory.Resource) (map[string]any, error) {
	text, err := json.Marshal(r.Body)
	if err != nil {
		return nil, fmt.Errorf("encode a user: %w", err)
	}
	if r.Body == nil {
		return map[string]any{}, nil
	}
	document, err := event.Document(text)
	if problems := event.ProblemsOf(err); len(problems) > 0 {
		return nil, refusedFact(problems[0])
	}
	out, ok := document.(map[string]any)
	if err == nil && !ok {
		err = errors.New("a user is no object")
	}
	return out, err
}

// typeOf is the type of an event: of RFC 9967 where it has one.
func typeOf(what string) string {
	const prefix = "urn:ietf:params:scim:event:prov:"
	switch what {
	case directory.Joined:
		return prefix + "create:full"
	case directory.Changed:
		return prefix + "put:full"
	case directory.Disabled:
		return prefix + "deactivate"
	case directory.Enabled:
		return prefix + "activate"
	case directory.Left:
		return prefix + "delete"
	}
	return "joinery.scim." + what
}

// scimRules read the events of a directory. Whom they are about was made out when
// the change was judged, and stays: a rule that changes meanwhile must not send
// an ending to somebody else.
type scimRules struct {
	secevent.Rules
	// persons are the identity keys, by the id of the event; an event that is
	// judged has none yet.
	persons map[string]string
}

// Key implements event.Rules.
func (r scimRules) Key(e map[string]any) (string, error) {
	id, _ := e["id"].(string)
	if person := r.persons[id]; person != "" {
		return person, nil
	}
	return r.Rules.Key(e)
}

// Kind implements event.Rules.
func (r scimRules) Kind(e map[string]any) (string, bool, error) {
	if data, _ := e["data"].(map[string]any); data["group"] != nil {
		kind, _ := data["kind"].(string)
		return kind, true, nil
	}
	return r.Rules.Kind(e)
}

// Attributes implements event.Rules.
func (r scimRules) Attributes(e map[string]any) (map[string]any, bool, error) {
	if data, _ := e["data"].(map[string]any); data["group"] != nil {
		return map[string]any{}, true, nil
	}
	return r.Rules.Attributes(e)
}
