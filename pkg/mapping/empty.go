package mapping

import (
	"fmt"
	"strings"
)

// What becomes of an attribute for which a rule gives nothing.
const (
	// Retract takes back what Joinery sent before, and leaves alone what others
	// wrote.
	Retract = "retract"
	// Clear takes the attribute away, whoever wrote it.
	Clear = "clear"
	// Leave keeps the attribute as the account has it.
	Leave = "leave"
)

// checkEmpty reports an unknown word, and attributes that no account can lack.
func (r *rule) checkEmpty() []Problem {
	switch path := strings.ToLower(r.to.String()); {
	case r.empty != "" && r.empty != Retract && r.empty != Clear && r.empty != Leave:
		return []Problem{{Field: r.name + ".empty", Message: fmt.Sprintf("%q is not allowed here: write retract, clear or leave", r.empty)}}
	case (r.empty == Clear || r.empty == Leave) && (path == "username" || path == "active"):
		return []Problem{{Field: r.name + ".empty", Message: fmt.Sprintf("an account always has %s: it cannot be empty", r.to)}}
	default:
		return nil
	}
}

// omit notes an attribute for which the rule gives nothing.
func (r rule) omit(result *Result) error {
	path := r.to.String()
	switch r.empty {
	case Clear:
		result.Cleared = append(result.Cleared, path)
	case Leave:
		result.Left = append(result.Left, path)
	default:
		return nil
	}
	result.Rules[path] = r.why + " (empty: " + r.empty + ")"
	return nil
}
