package reconcile

import "time"

// RunState is where a run stands.
type RunState string

// The states of a run.
const (
	Requested   RunState = "requested"
	Running     RunState = "running"
	Done        RunState = "done"
	Failed      RunState = "failed"
	Implausible RunState = "implausible"
	Skipped     RunState = "skipped" // the target was paused or quarantined
)

// The modes of a run.
const (
	Report    = "report"
	Remediate = "remediate"
)

// Run is one reconciliation of one target; the value of bucket RUNS.
type Run struct {
	ID          string    `json:"id"`
	Target      string    `json:"target"`
	Mode        string    `json:"mode"`
	State       RunState  `json:"state"`
	RequestedBy string    `json:"requested_by"`
	Reason      string    `json:"reason,omitempty"`
	Force       bool      `json:"force,omitempty"`
	Worker      string    `json:"worker,omitempty"`
	RequestedAt time.Time `json:"requested_at"`
	StartedAt   time.Time `json:"started_at,omitzero"`
	UpdatedAt   time.Time `json:"updated_at,omitzero"`
	EndedAt     time.Time `json:"ended_at,omitzero"`
	Counts      Counts    `json:"counts"`
	Findings    []Finding `json:"findings"`
	// Truncated counts findings beyond MaxFindings.
	Truncated int    `json:"truncated,omitempty"`
	Repairs   int    `json:"repairs"`
	Error     string `json:"error,omitempty"`
}

// MaxFindings bounds the findings kept with a run; all are counted.
const MaxFindings = 500

// Add keeps a finding, up to the bound.
func (r *Run) Add(f Finding) {
	if len(r.Findings) >= MaxFindings {
		r.Truncated++
		return
	}
	r.Findings = append(r.Findings, f)
}

// Ended tells whether the run is over.
func (r *Run) Ended() bool { return r.State != Requested && r.State != Running }
