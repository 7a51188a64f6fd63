package identity

import "time"

// Ownership says how an account came to be ours. Accounts without it are
// strangers and are never changed.
type Ownership string

// The ways an account becomes ours.
const (
	Created Ownership = "created"
	Adopted Ownership = "adopted"
	// Seen: an account matches that was neither made nor taken over. It is not
	// linked, and never changed.
	Seen Ownership = "seen"
)

// Grouped is the Kind of a ledger that is a group's.
const Grouped = "group"

// Account is the ledger of one (target, identity) pair; the value of bucket
// ACCOUNTS. Every write is a compare-and-swap, which is what fences workers
// that were overtaken.
type Account struct {
	// Kind is "" for a person's account, and Grouped for a group.
	Kind     string `json:"kind,omitempty"`
	Target   string `json:"target"`
	Identity string `json:"identity"`
	// RemoteID and Version are the resource's id and ETag in the target.
	RemoteID string `json:"remote_id,omitempty"`
	// Former is the id of the account that was linked before this one.
	Former    string    `json:"former_id,omitempty"`
	Version   string    `json:"version,omitempty"`
	Ownership Ownership `json:"ownership,omitempty"`
	// Stranger is the id of the account that was seen, while it is not ours.
	Stranger string `json:"stranger_id,omitempty"`
	// State is what the target was last made to show: present, disabled,
	// absent, or "" before the first success.
	State string `json:"state,omitempty"`
	// Applied is the revision that the target was last made to show. It never
	// goes backwards.
	Applied uint64 `json:"applied,omitempty"`
	// Finished is the newest revision with a recorded outcome.
	Finished uint64 `json:"finished,omitempty"`
	// Begun is the newest revision for which a change was begun: nothing older may
	// be sent any more, even while that one is still failing.
	Begun uint64 `json:"begun,omitempty"`
	// Uncertain means that a change was begun and did not end well, so that the
	// target must be read before what was sent is believed.
	Uncertain bool `json:"uncertain,omitempty"`
	// Sent is the resource as it was sent, not as it was echoed.
	Sent map[string]any `json:"sent,omitempty"`
	// Intent is a call that was begun and whose end is not recorded yet.
	Intent *Intent `json:"intent,omitempty"`
	// Attempts and FirstFailure count the current run of failures.
	Attempts     int       `json:"attempts,omitempty"`
	FirstFailure time.Time `json:"first_failure,omitzero"`
	LastFailure  string    `json:"last_failure,omitempty"`
	// Case is the open case on the review desk.
	Case string `json:"case,omitempty"`
	// Admitted is the newest revision whose taking away a guard let through, or a
	// person approved; Held the newest that waits for one, in the batch named.
	Admitted uint64 `json:"admitted,omitempty"`
	Held     uint64 `json:"held,omitempty"`
	Batch    string `json:"batch,omitempty"`
	// Waiting are the identities whose accounts this one refers to and which
	// are not in the target yet.
	Waiting []string `json:"waiting,omitempty"`
	// Refers are the identities that this account refers to, with the ids in the
	// target that they had when it was sent.
	Refers map[string]string `json:"refers,omitempty"`
	// Confirmed is when the target, read back, last showed a leaver disabled.
	Confirmed time.Time `json:"confirmed,omitzero"`
	// Left is when the account was disabled, and Checks how often the target has
	// been read again since and still showed it so.
	Left   time.Time `json:"left,omitzero"`
	Checks int       `json:"checks,omitempty"`
	// Mapping is the version of the target's mapping that made what was last
	// applied.
	Mapping   string    `json:"mapping,omitempty"`
	Outcome   Outcome   `json:"outcome,omitzero"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
}

// Intent is written before a call that changes the target, so that after a
// crash or a lost answer the target is searched before anything is repeated.
type Intent struct {
	ID        string `json:"id"`
	Operation string `json:"operation"`
	Revision  uint64 `json:"revision"`
	// Worker is who has the call under way; "" once it is known to have ended,
	// however it ended.
	Worker string    `json:"worker,omitempty"`
	At     time.Time `json:"at"`
}

// Outcome is the last recorded outcome of an account.
type Outcome struct {
	Result    string    `json:"result"`
	Operation string    `json:"operation,omitempty"`
	Event     string    `json:"event,omitempty"`
	Command   string    `json:"command,omitempty"`
	Revision  uint64    `json:"revision,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Requests  int32     `json:"requests,omitempty"`
	Changed   []string  `json:"changed,omitempty"`
	At        time.Time `json:"at"`
}

// Ours tells whether Joinery may change or delete the account.
func (a *Account) Ours() bool { return a.Ownership != "" && a.RemoteID != "" }

// AccountKey is the key of a pair in bucket ACCOUNTS.
func AccountKey(target, id string) string { return target + "." + id }
