package joinery

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/simulator"
	"github.com/joinery/joinery/services/deadletter"
	"github.com/joinery/joinery/services/joinery/company"
)

// theatre is one simulated target of the demo.
type theatre struct {
	name   string
	temper string
	assign string
	rate   int
	// wants tells, from the company's own books, who should have an account.
	wants  func(*company.Person) bool
	faults []string
	// managers tells that accounts refer to their managers' accounts.
	managers bool

	sim    *simulator.Server
	server *http.Server
	url    string
	token  string
	end    func()
}

// theatres are the targets of the demo and their tempers.
func theatres() []*theatre {
	everybody := func(p *company.Person) bool { return p.Active() }
	return []*theatre{
		{name: "acme", temper: "strict", assign: "identity.active", rate: 500, wants: everybody, managers: true},
		{
			name: "globex", temper: "allows 60 requests a second", rate: 54,
			assign: `identity.active && identity.department in ["Engineering", "Support"]`,
			wants: func(p *company.Person) bool {
				return p.Active() && slices.Contains([]string{"Engineering", "Support"}, p.Department)
			},
		},
		{
			name: "initech", temper: "fails now and then", assign: "identity.active", rate: 500, wants: everybody,
			faults: []string{
				"500:chance=0.05", "lost:chance=0.03:method=POST", "500-after:chance=0.02:method=PATCH",
				"dropped:chance=0.01",
			},
		},
	}
}

// openTheatres starts the targets; each goes on from its journal.
func openTheatres(ctx context.Context, o demoOptions, token string) ([]*theatre, error) {
	all := theatres()
	for i, t := range all {
		if t.faults != nil {
			// About five in a run: each of them makes the target wait.
			t.faults = append(t.faults, fmt.Sprintf("429:chance=%.6f:retry-after=1s", 1.2/float64(max(o.people, 1))))
		}
		t.token = token
		if err := t.open(ctx, filepath.Join(o.data, "target-"+t.name+".jsonl"), o.seed+uint64(i)); err != nil {
			for _, opened := range all[:i] {
				opened.close()
			}
			return nil, fmt.Errorf("open target %s: %w", t.name, err)
		}
	}
	return all, nil
}

func (t *theatre) open(ctx context.Context, journal string, seed uint64) error {
	options := simulator.Options{Base: "/scim/v2", Prefix: t.name[:1], Token: t.token, Seed: seed}
	if t.rate <= 100 {
		options.Rate = t.rate * 10 / 9 // a tenth is kept as a margin for the way there
	}
	sim, end, err := simulated(options, journal)
	if err != nil {
		return err
	}
	for _, text := range t.faults {
		f, err := simulator.ParseFault(text)
		if err != nil {
			return err
		}
		sim.Inject(f)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	t.sim, t.end, t.url = sim, end, "http://"+l.Addr().String()+"/scim/v2"
	t.server = &http.Server{Handler: sim, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = t.server.Serve(l) }()
	return nil
}

func (t *theatre) close() {
	if t.server != nil {
		_ = t.server.Close()
		t.end()
	}
}

func (t *theatre) yaml() string {
	return fmt.Sprintf(`target: %s
endpoint: %s
allow_private: true
auth: { bearer: { env: TARGET_TOKEN } }
rate: [{ requests: %d, per: 1s }]
concurrency: 16
assign: '%s'
match: [externalId, userName]
deprovision: { action: disable }
guard: { deprovision: { max: 100000, percent: 100 }, rename: { max: 100000, percent: 100 } }
retry: { backoff: 200ms, backoff_cap: 5s, settle: 1s, throttle: 1s }
users:
  - { to: userName, from: identity.email.lowerAscii() }
  - { to: externalId, from: identity.key }
  - { to: name.givenName, from: identity.first_name }
  - { to: name.familyName, from: identity.last_name }
  - { to: 'emails[type eq "work"].value', from: identity.email }
  - { to: title, from: identity.title }
  - { to: 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department', from: identity.department }
%s`, t.name, t.url, t.rate, strings.ReplaceAll(t.assign, "'", "''"), t.reference())
}

// reference is the rule that names managers, where the target shows them.
func (t *theatre) reference() string {
	if !t.managers {
		return ""
	}
	return "  - { to: manager, from: identity.manager, ref: identity }\n"
}

// verdict is the table at the end of the demo.
type verdict struct {
	Match   bool           `json:"match"`
	Events  int64          `json:"events"`
	Took    string         `json:"took"`
	Targets []targetReport `json:"targets"`
}

// targetReport is one line of the verdict, counted from what was read back.
type targetReport struct {
	Target    string   `json:"target"`
	Temper    string   `json:"temper"`
	Wanted    int      `json:"wanted"`
	Found     int      `json:"found"`
	Inactive  int      `json:"inactive"`
	Differing int      `json:"differing"`
	Cases     int      `json:"open_cases"`
	Requests  int      `json:"requests"`
	Refused   int      `json:"refused_above_rate"`
	Examples  []string `json:"examples,omitempty"`
}

func (s *stage) verdict(ctx context.Context) (verdict, error) {
	v := verdict{Match: true, Events: s.accepted.Load()}
	for _, t := range s.targets {
		// What the target did is over: it is asked politely, and must tell.
		stats := t.sim.Stats()
		t.sim.Heal()
		accounts, err := t.readBack(ctx)
		if err != nil {
			return v, fmt.Errorf("read %s back: %w", t.name, err)
		}
		r := t.compare(s.company, accounts)
		r.Requests, r.Refused = stats.Requests, stats.Refused
		var cases []deadletter.Case
		if err := s.console.get(ctx, "/cases?state=open&target="+t.name, &cases); err != nil {
			return v, err
		}
		r.Cases = len(cases)
		v.Targets = append(v.Targets, r)
		v.Match = v.Match && r.Differing == 0 && r.Cases == 0 && r.Wanted == r.Found
	}
	return v, nil
}

// readBack lists the target's users over SCIM, as anybody could.
func (t *theatre) readBack(ctx context.Context) ([]scim.Resource, error) {
	client, err := scimhttp.New(scimhttp.Options{
		Endpoint: t.url, AllowPrivate: true,
		Auth: scimhttp.Bearer{Token: func() (string, error) { return t.token, nil }},
	})
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		var out []scim.Resource
		for r, e := range client.List(ctx, scim.Users) {
			if err = e; err != nil {
				break
			}
			out = append(out, r)
		}
		if err == nil || !fault.Is(err, fault.Throttled) || try == 5 {
			return out, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// compare holds what was read back against the company's own books.
func (t *theatre) compare(c *company.Company, accounts []scim.Resource) targetReport {
	r := targetReport{Target: t.name, Temper: t.temper}
	byKey := map[string][]scim.Resource{}
	for _, a := range accounts {
		byKey[a.ExternalID()] = append(byKey[a.ExternalID()], a)
	}
	all := maps.Clone(byKey)
	differs := func(format string, args ...any) {
		r.Differing++
		if len(r.Examples) < 5 {
			r.Examples = append(r.Examples, fmt.Sprintf(format, args...))
		}
	}
	for _, p := range c.People {
		mine := byKey[p.ID]
		delete(byKey, p.ID)
		active := 0
		for _, a := range mine {
			if on, _ := a.Active(); on {
				active++
			}
		}
		r.Found += active
		r.Inactive += len(mine) - active
		wanted := t.wants(p)
		if wanted {
			r.Wanted++
		}
		switch {
		case len(mine) > 1:
			differs("%s has %d accounts", p.ID, len(mine))
		case wanted && active == 0:
			differs("%s has no active account", p.ID)
		case !wanted && active > 0:
			differs("%s is still active", p.ID)
		case wanted:
			if wrong := t.misshown(p, mine[0], all); wrong != "" {
				differs("%s: %s is wrong", p.ID, wrong)
			}
		}
	}
	for key := range byKey {
		differs("%q belongs to nobody", key)
	}
	return r
}

// misshown names an attribute in which the account is not as the company knows
// the person, or "".
func (t *theatre) misshown(p *company.Person, a scim.Resource, all map[string][]scim.Resource) string {
	for path, want := range map[string]string{
		"userName": p.Email(), "name.givenName": p.First, "name.familyName": p.Last, "title": p.Title,
		`emails[type eq "work"].value`:        p.Email(),
		scim.EnterpriseSchema + ":department": p.Department,
	} {
		if got, _ := a.Get(path); got != want {
			return path
		}
	}
	if !t.managers {
		return ""
	}
	got, shown := a.Get(scim.EnterpriseSchema + ":manager.value")
	if p.Manager == nil || len(all[p.Manager.ID]) == 0 {
		if shown {
			return "manager"
		}
		return ""
	}
	if !slices.ContainsFunc(all[p.Manager.ID], func(m scim.Resource) bool { return m.ID() == got }) {
		return "manager"
	}
	return ""
}

func writeVerdict(w io.Writer, v verdict) {
	row(w, "TARGET", "TEMPER", "WANTED", "FOUND", "INACTIVE", "DIFFERING", "OPEN CASES", "REQUESTS", "OVER RATE")
	for _, r := range v.Targets {
		row(w, r.Target, r.Temper, r.Wanted, r.Found, r.Inactive, r.Differing, r.Cases, r.Requests, r.Refused)
	}
	for _, r := range v.Targets {
		for _, e := range r.Examples {
			fmt.Fprintf(w, "  %s: %s\n", r.Target, e)
		}
	}
	fmt.Fprintf(w, "%d events in %s. ", v.Events, v.Took)
	if v.Match {
		fmt.Fprintln(w, "Every target, read back over SCIM, holds exactly what it should.")
	} else {
		fmt.Fprintln(w, "NOT every target holds what it should.")
	}
}
