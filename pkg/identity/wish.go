package identity

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Wish is what one target should show for one person, as of a revision. It is
// stored with the person, so that a command can be built again at any time: by
// a redelivered event, a replay, or reconciliation.
type Wish struct {
	Wish     string            `json:"wish"` // present, disabled, absent or unmanaged
	Resource map[string]any    `json:"resource,omitempty"`
	Rules    map[string]string `json:"rules,omitempty"`
	Mapping  string            `json:"mapping,omitempty"`
	// References are attributes that name another person's account in the same
	// target: attribute path to identity id.
	References map[string]string `json:"references,omitempty"`
	// Cleared are attribute paths that the account must not have, and Left those
	// that stay as it has them.
	Cleared []string `json:"cleared,omitempty"`
	Left    []string `json:"left,omitempty"`
	// Revision of the person when the wish last changed.
	Revision uint64             `json:"revision"`
	Lane     joineryv1.Lane     `json:"lane"`
	Cause    joineryv1.Cause    `json:"cause"`
	Event    string             `json:"event"`
	Source   string             `json:"source,omitempty"`
	Since    time.Time          `json:"since"`
	Trigger  *joineryv1.Trigger `json:"trigger,omitempty"`
	// Because is why the person has the account, or has it no more.
	Because Because `json:"because,omitzero"`
	// Groups are the groups that the account should be in, sorted; Made names those
	// that the target's rules make, and Quit are those it was in before.
	Groups []string          `json:"groups,omitempty"`
	Made   map[string]string `json:"made,omitempty"`
	Quit   []string          `json:"quit,omitempty"`
	// Earlier are the wishes this one replaced, oldest first.
	Earlier []Earlier `json:"earlier,omitempty"`
}

// Earlier names a replaced wish.
type Earlier struct {
	Revision uint64 `json:"revision"`
	Event    string `json:"event"`
}

// MaxEarlier bounds the list of replaced wishes in a command.
const MaxEarlier = 32

// The names of wishes in JSON.
const (
	Present  = "present"
	Disabled = "disabled"
	Absent   = "absent"
	// Unmanaged leaves the account as it is, whatever it is.
	Unmanaged = "unmanaged"
)

var wishes = map[string]joineryv1.Wish{
	Present:   joineryv1.Wish_WISH_PRESENT,
	Disabled:  joineryv1.Wish_WISH_DISABLED,
	Absent:    joineryv1.Wish_WISH_ABSENT,
	Unmanaged: joineryv1.Wish_WISH_UNMANAGED,
}

// Same tells whether two wishes ask for the same account.
func (w Wish) Same(o Wish) bool {
	if w.Wish != o.Wish {
		return false
	}
	return w.Wish != Present || (reflect.DeepEqual(w.Resource, o.Resource) && maps.Equal(w.References, o.References) &&
		slices.Equal(w.Cleared, o.Cleared) && slices.Equal(w.Left, o.Left) && slices.Equal(w.Groups, o.Groups))
}

// Replacing is w with the trail of the wish it takes the place of.
func (w Wish) Replacing(old Wish) Wish {
	for _, id := range slices.Concat(old.Quit, old.Groups) {
		if !slices.Contains(w.Groups, id) && !slices.Contains(w.Quit, id) {
			w.Quit = append(w.Quit, id)
			if name, ok := old.Made[id]; ok {
				w.Made = withName(w.Made, id, name)
			}
		}
	}
	w.Earlier = append(slices.Clone(old.Earlier), Earlier{Revision: old.Revision, Event: old.Event})
	if extra := len(w.Earlier) - MaxEarlier; extra > 0 {
		w.Earlier = w.Earlier[extra:]
	}
	return w
}

func withName(made map[string]string, id, name string) map[string]string {
	made = maps.Clone(made)
	if made == nil {
		made = map[string]string{}
	}
	made[id] = name
	return made
}

// CommandID is the deterministic id of the command for a wish.
func CommandID(target, id string, revision uint64) string {
	return fmt.Sprintf("%s:%s:%d", target, id, revision)
}

// Command is the provisioning command for the wish that the record holds for
// target.
func (r *Record) Command(target string, now time.Time) (*joineryv1.ProvisioningCommand, error) {
	w, ok := r.Wishes[target]
	if !ok {
		return nil, fmt.Errorf("no wish for target %s", target)
	}
	resource, err := structpb.NewStruct(w.Resource)
	if err != nil {
		return nil, fmt.Errorf("encode the desired resource for target %s", target)
	}
	return &joineryv1.ProvisioningCommand{
		Id: CommandID(target, r.ID, w.Revision), Target: target, Identity: r.ID,
		Revision: w.Revision, Lane: w.Lane, Wish: wishes[w.Wish],
		Resource: resource, Rules: maps.Clone(w.Rules), References: maps.Clone(w.References),
		EventId: w.Event, Cause: w.Cause, Trigger: w.Trigger, Source: w.Source,
		IssuedAt: timestamppb.New(now), Earlier: w.earlier(),
		Mapping: w.Mapping, Cleared: slices.Clone(w.Cleared), Left: slices.Clone(w.Left),
	}, nil
}

// Again makes, of a command, another one for the same wish: under its own event
// and id, for a cause, and to be compared with what the target shows. It may take
// the place of the first where that still waits, and so ends it with itself.
func Again(c *joineryv1.ProvisioningCommand, cause joineryv1.Cause, event, id string) {
	c.Earlier = append(c.Earlier, &joineryv1.EarlierCommand{Revision: c.GetRevision(), EventId: c.GetEventId()})
	if extra := len(c.Earlier) - MaxEarlier; extra > 0 {
		c.Earlier = c.Earlier[extra:]
	}
	c.Cause, c.EventId, c.Id, c.Verify = cause, event, id, true
}

func (w Wish) earlier() []*joineryv1.EarlierCommand {
	out := make([]*joineryv1.EarlierCommand, 0, len(w.Earlier))
	for _, e := range w.Earlier {
		out = append(out, &joineryv1.EarlierCommand{Revision: e.Revision, EventId: e.Event})
	}
	return out
}

// LaneName is the name of a lane in subjects, metrics and listings.
func LaneName(l joineryv1.Lane) string {
	switch l {
	case joineryv1.Lane_LANE_URGENT:
		return "urgent"
	case joineryv1.Lane_LANE_BULK:
		return "bulk"
	default:
		return "normal"
	}
}

// ResultName is the short name of a result ("dead_lettered").
func ResultName(r joineryv1.Result) string {
	return strings.ToLower(strings.TrimPrefix(r.String(), "RESULT_"))
}
