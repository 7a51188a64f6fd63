package deadletter

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// State is where a case stands.
type State string

// The states of a case.
//
//	open ──replay──▶ replayed ──outcome applied──▶ resolved
//	 ▲ │                │
//	 │ └──discard──▶ discarded
//	 └──────── a new dead letter for the same account, from any state
const (
	Open      State = "open"
	Replayed  State = "replayed"
	Discarded State = "discarded"
	Resolved  State = "resolved"
)

// Case is what a person must decide; the value of bucket CASES.
type Case struct {
	ID       string `json:"id"`
	State    State  `json:"state"`
	Cause    string `json:"cause"`
	Target   string `json:"target,omitempty"`
	Identity string `json:"identity,omitempty"`
	Event    string `json:"event,omitempty"`
	Revision uint64 `json:"revision,omitempty"`
	// Reason holds no personal attribute value.
	Reason     string   `json:"reason"`
	Status     int32    `json:"status,omitempty"`
	ScimType   string   `json:"scim_type,omitempty"`
	Attributes []string `json:"attributes,omitempty"`
	// Rules are the mapping rules that made the attributes named.
	Rules map[string]string `json:"rules,omitempty"`
	// RemoteID is the account in the target that matches and is not ours, which
	// can be adopted.
	RemoteID string    `json:"remote_id,omitempty"`
	Attempts int32     `json:"attempts"`
	OpenedAt time.Time `json:"opened_at"`
	Updated  time.Time `json:"updated_at"`
	TraceID  string    `json:"trace_id,omitempty"`
	Replays  uint32    `json:"replays"`
	// Batch is what a guard holds together with this.
	Batch   string `json:"batch,omitempty"`
	History []Step `json:"history"`
	// Letter is the dead letter itself; it may hold personal attribute values.
	Letter json.RawMessage `json:"letter,omitempty"`
}

// Step is one entry in a case's history.
type Step struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Action string    `json:"action"`
	Note   string    `json:"note,omitempty"`
}

// maxHistory bounds a case's history; the audit trail holds all of it.
const maxHistory = 100

// ErrNothingToReplay: the case is about what only its source has.
var ErrNothingToReplay = errors.New("there is nothing here to send again: correct the rules or the data, and what is wished for then is sent by itself; a snapshot is sent again by its source, with the hash that the reason names")

// ErrNobodyToAdopt: the case is not about an account that could be taken over.
var ErrNobodyToAdopt = errors.New("only a case of cause stranger names an account that can be adopted")

// ErrDecided: the case is not open, so there is nothing to decide.
var ErrDecided = errors.New("the case is not open")

// filed is the case after another dead letter for the same account.
func (c Case) filed(d *joineryv1.DeadLetter) (Case, error) {
	letter, err := protojson.Marshal(d)
	if err != nil {
		return c, fmt.Errorf("encode a dead letter: %w", err)
	}
	at := d.GetAt().AsTime()
	if c.ID == "" {
		c.ID, c.OpenedAt = d.GetId(), at
	}
	cmd := d.GetCommand()
	c.State, c.Cause, c.Letter, c.Reason = Open, causeName(d.GetCause()), letter, d.GetReason()
	c.Target, c.Identity, c.Revision = cmd.GetTarget(), cmd.GetIdentity(), cmd.GetRevision()
	c.Event = cmd.GetEventId()
	if c.Event == "" {
		c.Event = d.GetEvent().GetId()
	}
	c.Status, c.ScimType, c.Attributes = d.GetStatus(), d.GetScimType(), d.GetAttributes()
	c.Attempts, c.TraceID, c.Batch = d.GetAttempts(), d.GetTraceId(), d.GetBatch()
	c.RemoteID = d.GetRemoteId()
	c.Rules = rulesFor(cmd.GetRules(), d.GetAttributes())
	return c.step(at, "dispatcher", "dead-lettered", d.GetReason()), nil
}

func rulesFor(rules map[string]string, attributes []string) map[string]string {
	out := map[string]string{}
	for _, a := range attributes {
		if rule, ok := rules[a]; ok {
			out[a] = rule
		}
	}
	return out
}

// replayed is the case after a person sent it again.
func (c Case) replayed(at time.Time, by, note string) (Case, error) {
	if c.State != Open && c.State != Replayed {
		return c, ErrDecided
	}
	if d, err := c.letter(); err == nil && c.Target == "" && d.GetEvent() == nil && (d.GetSubject() == "" || d.GetPayload() == nil) {
		return c, ErrNothingToReplay
	}
	c.State = Replayed
	c.Replays++
	return c.step(at, by, "replay", note), nil
}

// adopting is the case after a person gave the account that was in the way to the
// person it is about.
func (c Case) adopting(at time.Time, by, note string) (Case, error) {
	if c.State != Open {
		return c, ErrDecided
	}
	if c.RemoteID == "" {
		return c, ErrNobodyToAdopt
	}
	c.State = Replayed
	c.Replays++
	return c.step(at, by, "adopt", note), nil
}

// approved is the case after a person agreed to what a guard held.
func (c Case) approved(at time.Time, by, note string) (Case, error) {
	if c.State != Open {
		return c, ErrDecided
	}
	c.State = Replayed
	c.Replays++
	return c.step(at, by, "approve", note), nil
}

// discarded is the case after a person decided to leave it be.
func (c Case) discarded(at time.Time, by, note string) (Case, error) {
	if c.State != Open && c.State != Replayed {
		return c, ErrDecided
	}
	c.State = Discarded
	return c.step(at, by, "discard", note), nil
}

// resolved is the case after the account came right.
func (c Case) resolved(at time.Time, by, outcome string) (Case, bool) {
	if c.State != Open && c.State != Replayed {
		return c, false
	}
	c.State = Resolved
	return c.step(at, by, "resolved", outcome), true
}

func (c Case) step(at time.Time, by, action, note string) Case {
	c.Updated = at.UTC()
	c.History = append(c.History[:len(c.History):len(c.History)], Step{At: at.UTC(), By: by, Action: action, Note: note})
	if extra := len(c.History) - maxHistory; extra > 0 {
		c.History = c.History[extra:]
	}
	return c
}

// letter decodes the dead letter of the case.
func (c Case) letter() (*joineryv1.DeadLetter, error) {
	d := &joineryv1.DeadLetter{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(c.Letter, d); err != nil {
		return nil, fmt.Errorf("decode the dead letter of case %s: %w", c.ID, err)
	}
	return d, nil
}
