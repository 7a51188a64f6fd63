package mapper_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/joinery/joinery/pkg/telemetry"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/mapper"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// persons is a bucket in memory.
type persons struct {
	records   map[string]identity.Record
	revisions map[string]uint64
	conflicts int // how many of the next puts lose their race
}

func (p *persons) Get(_ context.Context, key string) (identity.Record, uint64, error) {
	rec, ok := p.records[key]
	if !ok {
		return identity.Record{}, 0, stream.ErrNotFound
	}
	rec.Wishes, rec.Attributes = maps.Clone(rec.Wishes), cloneAttributes(rec.Attributes)
	return rec, p.revisions[key], nil
}

func cloneAttributes(in map[string]map[string]identity.Value) map[string]map[string]identity.Value {
	out := map[string]map[string]identity.Value{}
	for name, bySource := range in {
		out[name] = maps.Clone(bySource)
	}
	return out
}

func (p *persons) Put(_ context.Context, key string, rec identity.Record, rev uint64) (uint64, error) {
	if p.conflicts > 0 || p.revisions[key] != rev {
		p.conflicts--
		return 0, stream.ErrConflict
	}
	p.records[key], p.revisions[key] = rec, rev+1
	return rev + 1, nil
}

func (p *persons) Keys(context.Context, string) ([]string, error) {
	return slices.Sorted(maps.Keys(p.records)), nil
}

// post is what the mapper published.
type post struct {
	commands, outcomes, letters []string
	mended                      []string // targets
	wakes                       []time.Time
	failCommands                int
}

var errDown = errors.New("broker is down")

func (p *post) Command(_ context.Context, c *joineryv1.ProvisioningCommand) error {
	if p.failCommands > 0 {
		p.failCommands--
		return errDown
	}
	var earlier []string
	for _, e := range c.GetEarlier() {
		earlier = append(earlier, e.GetEventId())
	}
	p.commands = append(p.commands, strings.TrimSpace(fmt.Sprintf("%s %s r%d %s %s", c.GetTarget(), identity.LaneName(c.GetLane()),
		c.GetRevision(), strings.ToLower(strings.TrimPrefix(c.GetWish().String(), "WISH_")), strings.Join(earlier, ","))))
	return nil
}

func (p *post) Wake(_ context.Context, _ string, at time.Time) error {
	p.wakes = append(p.wakes, at)
	return nil
}

func (p *post) Outcome(_ context.Context, o *joineryv1.Outcome) error {
	p.outcomes = append(p.outcomes, o.GetEventId()+" "+identity.ResultName(o.GetResult()))
	p.mended = append(p.mended, o.GetMended()...)
	return nil
}

func (p *post) DeadLetter(_ context.Context, d *joineryv1.DeadLetter) error {
	p.letters = append(p.letters, d.GetCommand().GetTarget()+" "+d.GetReason())
	return nil
}

// engineers have an account; the mapping of somebody titled "broken" fails.
func engineers(p mapping.Person) (mapping.Result, error) {
	if p.Attributes["title"] == "broken" {
		return mapping.Result{}, errors.New("users[0]: failed")
	}
	if !p.Active || p.Attributes["department"] != "Engineering" {
		return mapping.Result{}, nil
	}
	return mapping.Result{Assigned: true, Resource: scim.Resource{"userName": p.Key, "title": p.Attributes["title"]}}, nil
}

func everybody(p mapping.Person) (mapping.Result, error) {
	return mapping.Result{Assigned: p.Active, Resource: scim.Resource{"userName": p.Key}}, nil
}

func live(desired func(mapping.Person) (mapping.Result, error)) mapper.Target {
	return mapper.Target{Desired: desired, Version: "1", Deprovision: "disable", Percent: 100}
}

type desk struct {
	*testing.T
	*mapper.Service
	persons *persons
	post    *post
}

func newDesk(t *testing.T, targets mapper.Targets) *desk {
	t.Helper()
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "mapper"})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{T: t, persons: &persons{records: map[string]identity.Record{}, revisions: map[string]uint64{}}, post: &post{}}
	d.Service = mapper.New(d.persons, d.post, targets, tel)
	return d
}

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func event(id, kind string, after time.Duration, attributes map[string]any) *joineryv1.LifecycleEvent {
	fields, err := structpb.NewStruct(attributes)
	if err != nil {
		panic(err)
	}
	return &joineryv1.LifecycleEvent{
		Id: id, Source: "hr", IdentityKey: "1001", OccurredAt: timestamppb.New(start.Add(after)), Attributes: fields,
		Kind: joineryv1.LifecycleKind(joineryv1.LifecycleKind_value["LIFECYCLE_KIND_"+strings.ToUpper(kind)]),
	}
}

func (d *desk) handle(events ...*joineryv1.LifecycleEvent) {
	d.Helper()
	for _, e := range events {
		if err := d.Handle(d.Context(), e); err != nil {
			d.Fatal(err)
		}
	}
}

func (d *desk) same(want, got []string) {
	d.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		d.Error(diff)
	}
}

var engineer = map[string]any{"department": "Engineering", "title": "Rep"}

func TestALifeBecomesCommands(t *testing.T) {
	d := newDesk(t, mapper.Targets{"acme": live(everybody), "git": live(engineers)})
	d.handle(
		event("e1", "joined", 0, map[string]any{"department": "Sales", "title": "Rep"}),
		event("e2", "changed", time.Hour, map[string]any{"department": "Engineering"}),
		event("e3", "changed", 2*time.Hour, map[string]any{"title": "Lead"}),
		event("e4", "changed", 3*time.Hour, map[string]any{"nickname": "x"}), // shown nowhere
		event("e5", "left", 4*time.Hour, nil),
		event("e6", "rehired", 5*time.Hour, nil),
	)
	d.same([]string{
		"acme normal r1 present",
		"git normal r2 present",
		"git normal r3 present e2",
		"acme urgent r5 disabled e1", "git urgent r5 disabled e2,e3",
		"acme normal r6 present e1,e5", "git normal r6 present e2,e3,e5",
	}, d.post.commands)
	d.same([]string{"e1 applied", "e2 applied", "e3 applied", "e4 applied", "e5 applied", "e6 applied"}, d.post.outcomes)
}

func TestARepeatedEventMakesNothingNew(t *testing.T) {
	d := newDesk(t, mapper.Targets{"acme": live(everybody)})
	d.handle(event("e1", "joined", 0, engineer), event("e2", "left", time.Hour, nil), event("e1", "joined", 0, engineer))
	d.same([]string{"acme normal r1 present", "acme urgent r2 disabled e1"}, d.post.commands)
	d.same([]string{"e1 applied", "e2 applied", "e1 superseded"}, d.post.outcomes)
	if rec := d.persons.records[identity.IDOf("1001")]; rec.Revision != 2 {
		t.Errorf("revision %d", rec.Revision)
	}
}

func TestAnEventWhoseCommandsWereNotStoredIssuesThemWhenItComesAgain(t *testing.T) {
	d := newDesk(t, mapper.Targets{"acme": live(everybody), "git": live(engineers)})
	d.post.failCommands = 1
	if err := d.Handle(t.Context(), event("e1", "joined", 0, engineer)); !errors.Is(err, errDown) {
		t.Fatal(err)
	}
	d.handle(event("e1", "joined", 0, engineer))
	d.same([]string{"acme normal r1 present", "git normal r1 present"}, d.post.commands)
}

func TestALostRaceIsFoldedAgain(t *testing.T) {
	d := newDesk(t, mapper.Targets{"acme": live(everybody)})
	d.persons.conflicts = 3
	d.handle(event("e1", "joined", 0, engineer))
	d.same([]string{"acme normal r1 present"}, d.post.commands)
}

func TestAFailingMappingStopsOneTargetOnly(t *testing.T) {
	d := newDesk(t, mapper.Targets{"acme": live(everybody), "git": live(engineers)})
	d.handle(event("e1", "joined", 0, map[string]any{"department": "Engineering", "title": "broken"}))
	d.same([]string{"acme normal r1 present"}, d.post.commands)
	d.same([]string{"git users[0]: failed"}, d.post.letters)
	d.same([]string{"e1 dead_lettered"}, d.post.outcomes)
}

func TestDeprovisioningFollowsTheTargetsPolicy(t *testing.T) {
	for policy, want := range map[string][]string{
		"disable": {"acme normal r1 present", "acme urgent r2 disabled e1"},
		"delete":  {"acme normal r1 present", "acme urgent r2 absent e1"},
		"none":    {"acme normal r1 present", "acme urgent r2 unmanaged e1"},
	} {
		target := live(everybody)
		target.Deprovision = policy
		d := newDesk(t, mapper.Targets{"acme": target})
		d.handle(event("e1", "joined", 0, engineer), event("e2", "left", time.Hour, nil))
		d.same(want, d.post.commands)
	}
}

func TestSimulatedTargetsAndThoseNotRolledOutGetNothing(t *testing.T) {
	simulated, nobody := live(everybody), live(everybody)
	simulated.Simulated, nobody.Percent = true, 0
	d := newDesk(t, mapper.Targets{"a": simulated, "b": nobody})
	d.handle(event("e1", "joined", 0, engineer))
	d.same(nil, d.post.commands)
}

func TestAChangedConfigurationIssuesOnlyWhatChanged(t *testing.T) {
	d := newDesk(t, mapper.Targets{"acme": live(everybody)})
	d.handle(event("e1", "joined", 0, engineer))
	affected, err := d.Recompute(t.Context(), mapper.Targets{"acme": live(everybody), "git": live(engineers)}, "config-1")
	if err != nil || affected != 1 {
		t.Fatal(affected, err)
	}
	d.same([]string{"acme normal r1 present", "git bulk r2 present"}, d.post.commands)
	if affected, err = d.Recompute(t.Context(), *new(mapper.Targets), "config-2"); err != nil || affected != 0 {
		t.Error("a target taken out of the configuration changes nobody:", affected, err)
	}
}

func TestAnEventAboutNobodyCanNeverBeHandled(t *testing.T) {
	d := newDesk(t, mapper.Targets{"acme": live(everybody)})
	e := event("e1", "joined", 0, nil)
	e.IdentityKey = ""
	if err := d.Handle(t.Context(), e); err == nil || errors.Is(err, errDown) {
		t.Error(err)
	}
}
