package identity

import (
	"fmt"
	"strings"
	"time"
)

// Because is why a target shows what it shows for a person: the rule that gives
// the account, the approval that does, or what ended it.
type Because struct {
	// Rule is the target's assign rule, where it gives the account, or no longer does.
	Rule string `json:"rule,omitempty"`
	// Grant is the event that granted the account, where only that gives it.
	Grant   string    `json:"grant,omitempty"`
	Mandate Mandate   `json:"mandate,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	// Ended tells that the account is no longer due.
	Ended bool `json:"ended,omitempty"`
	// State is where the person stood, and Event what put them there.
	State State  `json:"state,omitempty"`
	Event string `json:"event,omitempty"`
}

// String is the reason on one line.
func (b Because) String() string {
	switch {
	case b.Grant != "":
		return "granted by " + b.Grant + b.Mandate.String() + until(b.Expires)
	case b.Ended && b.State != Active:
		return strings.TrimSpace(fmt.Sprintf("%s since %s", b.State, b.Event))
	case b.Ended:
		return "no longer assigned: " + b.Rule
	case b.Rule != "":
		return "assigned: " + b.Rule
	default:
		return ""
	}
}

func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " until " + t.Format(time.RFC3339)
}

// String says who asked, and why, in brackets; nothing where nobody did.
func (m Mandate) String() string {
	var parts []string
	for _, part := range [][2]string{{"request ", m.Request}, {"approved by ", m.Approver}, {"by ", m.Actor}, {"", m.Reason}} {
		if part[1] != "" {
			parts = append(parts, part[0]+part[1])
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
