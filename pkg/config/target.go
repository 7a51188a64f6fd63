package config

import (
	"fmt"
	"time"
	_ "time/tzdata" // containers have no zones of their own

	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/rate"
)

// Target is a file of targets/: one application that has accounts.
type Target struct {
	Name         string         `yaml:"target" need:"true" doc:"The name of the target, which is also the file's."`
	Profile      string         `yaml:"profile" default:"scim2" doc:"The vendor profile that says how the target behaves."`
	Endpoint     string         `yaml:"endpoint" need:"true" doc:"The base URL of its SCIM 2.0 service, as in https://acme.example/scim/v2."`
	AllowPrivate bool           `yaml:"allow_private" doc:"Whether the endpoint may be in a private network or on this machine."`
	Auth         TargetAuth     `yaml:"auth" need:"true" doc:"How Joinery proves who it is; exactly one way."`
	Rate         []Rate         `yaml:"rate" max:"8" doc:"What the target allows; all hold at once. Without it, what the profile documents, or else 10 requests a second."`
	OffPeak      OffPeak        `yaml:"off_peak" doc:"When repairs and backfills may use the target. Without it, always."`
	Concurrency  int            `yaml:"concurrency" default:"8" min:"1" max:"256" doc:"Requests under way at once, of each replica."`
	Mode         string         `yaml:"mode" enum:"simulate live paused" default:"live" doc:"simulate: work everything out and send nothing. paused: keep commands until it is live."`
	Rollout      Rollout        `yaml:"rollout" doc:"Who takes part at all."`
	Assign       string         `yaml:"assign" need:"rule" expr:"true" doc:"CEL over identity: who has an account here."`
	Match        []string       `yaml:"match" default:"externalId userName" min:"1" max:"8" doc:"Attributes by which an existing account is found, in order."`
	Adopt        string         `yaml:"adopt" enum:"never exact ask" default:"exact" doc:"Whether an account that was there before and matches is taken over."`
	Deprovision  Deprovision    `yaml:"deprovision" doc:"What becomes of an account whose person is no longer assigned."`
	Guard        Guard          `yaml:"guard" doc:"How much may be taken from people before a person must agree."`
	Protected    []string       `yaml:"protected" max:"1000" doc:"Accounts that are never disabled, deleted or renamed, by userName, externalId or id: break-glass accounts, and the one that Joinery itself uses."`
	Attributes   Attributes     `yaml:"attributes" doc:"What of people the target may have."`
	Users        []Rule         `yaml:"users" need:"rule" max:"500" doc:"What an account looks like."`
	Groups       []GroupRule    `yaml:"groups" max:"500" doc:"Which groups exist."`
	Reconcile    Reconcile      `yaml:"reconcile" doc:"Reading the target and comparing it with what should be there."`
	Retry        Retry          `yaml:"retry" doc:"How failures are retried."`
	Tests        []Test         `yaml:"tests" max:"1000" doc:"Examples that joinery validate runs."`
	Quirks       map[string]any `yaml:"quirks" doc:"Settings of the profile that this target needs differently."`

	// Knobs are how the target behaves: its profile with its quirks over it.
	Knobs profile.Knobs
	// Mapping is the compiled assignment and rules.
	Mapping *mapping.Mapping
	// Version changes whenever the target's file does.
	Version string
}

// Rate is a limit that a target sets.
type Rate struct {
	Requests int           `yaml:"requests" need:"true" min:"1" max:"1000000" doc:"How many requests."`
	Per      time.Duration `yaml:"per" need:"true" min:"100ms" max:"744h" doc:"In which time."`
}

// OffPeak is a part of the day; it may span midnight.
type OffPeak struct {
	From string `yaml:"from" doc:"When it begins, as in 20:00."`
	To   string `yaml:"to" doc:"When it ends, as in 06:30."`
	Zone string `yaml:"zone" default:"UTC" doc:"The time zone, as in Europe/Berlin."`

	// Hours are the same, for use.
	Hours rate.OffPeak
}

// checkOffPeak reads the times of day.
func (t *Target) checkOffPeak(d *decoder) {
	o := &t.OffPeak
	if o.From == "" && o.To == "" {
		return
	}
	minute := func(name, text string) int {
		at, err := time.Parse("15:04", text)
		if err != nil {
			d.wrong("off_peak."+name, "off_peak.%s must be a time of day, as in 20:00", name)
		}
		return at.Hour()*60 + at.Minute()
	}
	o.Hours.From, o.Hours.To = minute("from", o.From), minute("to", o.To)
	zone, err := time.LoadLocation(o.Zone)
	if err != nil {
		d.wrong("off_peak.zone", "%q is not a time zone: write one as in Europe/Berlin", o.Zone)
	}
	o.Hours.Zone = zone
}

// Rollout is a share of all people, stable by identity.
type Rollout struct {
	Percent int `yaml:"percent" default:"100" min:"0" max:"100" doc:"The share of people for whom the target is managed at all."`
}

// Deprovision is what becomes of an account whose person is no longer assigned.
type Deprovision struct {
	Action       string        `yaml:"action" enum:"disable delete none" default:"disable" doc:"disable: set active to false. delete: remove the account. none: leave it alone."`
	DeleteAfter  time.Duration `yaml:"delete_after" min:"1m" max:"87600h" doc:"Delete a disabled account after this time. Without it, never."`
	Irreversible bool          `yaml:"irreversible" doc:"Whether deprovisioning may destroy what cannot be brought back, where the profile says that it does."`
}

// Guard is how much may happen before a person must agree.
type Guard struct {
	Deprovision Limit `yaml:"deprovision" doc:"Accounts disabled or deleted."`
	Membership  Limit `yaml:"membership" doc:"Memberships removed of people who keep their account."`
	Rename      Limit `yaml:"rename" doc:"Accounts whose userName or externalId changes."`
}

// Limit is a number and a share in a window; whichever is reached first holds.
type Limit struct {
	Max     int           `yaml:"max" default:"50" min:"1" max:"1000000" doc:"At most this many."`
	Percent int           `yaml:"percent" default:"10" min:"1" max:"100" doc:"At most this share of the target's accounts, but never fewer than 5 accounts; 100 leaves it to max."`
	Per     time.Duration `yaml:"per" default:"1h" min:"1m" max:"744h" doc:"In this time."`
}

// Rule gives one attribute its value.
type Rule struct {
	To   string `yaml:"to" need:"rule" doc:"The SCIM path to write, as in name.givenName or emails[type eq \"work\"].value."`
	From string `yaml:"from" expr:"true" doc:"CEL over identity: the value. Either this or unique is there."`
	Ref  string `yaml:"ref" enum:"identity" doc:"identity: the value is the key of another person, whose account in this target is meant."`
	// Unique and Counter make names that nobody else has.
	Unique  []string `yaml:"unique" expr:"true" max:"16" doc:"CEL over identity: candidates, the best first; the person keeps the first that nobody else in the target has."`
	Counter int      `yaml:"counter" min:"0" max:"999" doc:"Where every candidate is taken, 2 and up to this number are put behind the last one, in front of an @."`
	Empty   string   `yaml:"empty" enum:"retract clear leave" doc:"Where the rule gives nothing: retract (as without it) takes back what was sent before, clear takes the attribute away whoever wrote it, leave keeps what the account has."`
}

// GroupRule makes a group of the target: from a group of a source, or, with
// members, of people.
type GroupRule struct {
	DisplayName string `yaml:"displayName" need:"rule" expr:"true" doc:"CEL over group, or with members over identity: its name here."`
	When        string `yaml:"when" expr:"true" default:"true" doc:"CEL over group: for which groups of sources; the first rule that holds makes the group."`
	Members     string `yaml:"members" expr:"true" doc:"CEL over identity: who is in it."`
}

// Reconcile is how the target is compared with what should be there.
type Reconcile struct {
	Every   time.Duration `yaml:"every" default:"24h" min:"1m" max:"744h" doc:"How often."`
	Mode    string        `yaml:"mode" enum:"report remediate" default:"remediate" doc:"report: say what differs. remediate: put it right."`
	Unknown string        `yaml:"unknown" enum:"report disable" default:"report" doc:"What becomes of accounts that belong to nobody."`
}

// Retry is how failures are retried.
type Retry struct {
	Attempts   int           `yaml:"attempts" default:"12" min:"1" max:"1000" doc:"Attempts before a command becomes a case."`
	Backoff    time.Duration `yaml:"backoff" default:"1s" min:"10ms" max:"1h" doc:"The first wait between attempts; it doubles each time."`
	BackoffCap time.Duration `yaml:"backoff_cap" default:"15m" min:"10ms" max:"24h" doc:"The longest wait between attempts."`
	Throttle   time.Duration `yaml:"throttle" default:"30s" min:"1s" max:"1h" doc:"The pause after a 429 that names none."`
	Settle     time.Duration `yaml:"settle" default:"5s" min:"0s" max:"10m" doc:"How long the target may take to show what it has accepted."`
	Timeout    time.Duration `yaml:"timeout" default:"30s" min:"1s" max:"5m" doc:"How long one request may take."`
}

// Test is an example of what the rules should do.
type Test struct {
	Given    map[string]any `yaml:"given" doc:"The person: attributes, and key, active and state."`
	Want     map[string]any `yaml:"want" doc:"Attributes the account should have, by path; null for none."`
	Assigned *bool          `yaml:"assigned" doc:"Whether the person should have an account."`
}

// check reports what the tags cannot say, and compiles the rules.
func (t *Target) check(d *decoder) {
	d.endpoint("endpoint", t.Endpoint, t.AllowPrivate)
	t.resolve(d)
	t.checkAuth(d)
	t.checkRate(d)
	t.checkOffPeak(d)
	for i, path := range t.Match {
		if wrong := mapping.CheckMatch(path); wrong != "" {
			d.wrong(fmt.Sprintf("match[%d]", i), "%s", wrong)
		}
	}
	if t.Deprovision.DeleteAfter > 0 && t.Deprovision.Action != "disable" {
		d.wrong("deprovision.delete_after", "only a disabled account is deleted later: write action: disable, or leave delete_after out")
	}
	t.checkFinal(d)
	if t.Retry.BackoffCap < t.Retry.Backoff {
		d.wrong("retry.backoff_cap", "the longest wait is shorter than the first, which is %s", shortest(t.Retry.Backoff))
	}
	t.checkAttributes(d)
	compiled, problems := mapping.Compile(t.spec())
	t.Mapping = compiled
	d.rules(problems)
}

// checkRate fills in the default, and reports two limits for one window.
func (t *Target) checkRate(d *decoder) {
	if len(t.Rate) == 0 && !d.given("rate") {
		t.Rate = documented(t.Knobs.Rates)
	}
	seen := map[time.Duration]bool{}
	for i, r := range t.Rate {
		if seen[r.Per] {
			d.wrong(fmt.Sprintf("rate[%d].per", i), "there is a limit per %s already", shortest(r.Per))
		}
		seen[r.Per] = r.Per > 0
	}
}

func (t *Target) spec() mapping.Spec {
	spec := mapping.Spec{Target: t.Name, Assign: t.Assign, Allow: t.Attributes.Allow, Withheld: t.Attributes.Withheld}
	for _, r := range t.Users {
		spec.Users = append(spec.Users, mapping.Rule(r))
	}
	for _, g := range t.Groups {
		spec.Groups = append(spec.Groups, mapping.GroupRule(g))
	}
	for _, test := range t.Tests {
		spec.Tests = append(spec.Tests, mapping.Test(test))
	}
	return spec
}
