package simulator

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/scim"
)

// Fault is a misbehaviour, and when it is due.
type Fault struct {
	// Name is one of the names of Faults.
	Name string `json:"name"`
	// Method and Path (a prefix, such as /Users) restrict it; empty means any.
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	// Count is how often it strikes; 0 means without end.
	Count int `json:"count,omitempty"`
	// Skip lets this many matching requests pass first.
	Skip int `json:"skip,omitempty"`
	// Chance between 0 and 1 that it strikes; 0 means always.
	Chance float64 `json:"chance,omitempty"`
	// Until is when it ends; zero means never.
	Until time.Time `json:"until,omitzero"`
	// RetryAfter of 429 and 503, the delay of late, how long a drip takes and
	// how long new resources stay invisible.
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	// Attr restricts ignored to one attribute of a PATCH or PUT.
	Attr string `json:"attr,omitempty"`
}

// Faults explains every fault by name.
func Faults() map[string]string {
	return map[string]string{
		"429":           "refuse with 429 and Retry-After in seconds",
		"429-date":      "refuse with 429 and Retry-After as a date",
		"429-bare":      "refuse with 429 and no Retry-After",
		"500":           "refuse with 500 before doing anything",
		"503":           "refuse with 503 before doing anything",
		"401":           "refuse everything with 401",
		"403":           "refuse everything with 403",
		"404":           "answer 404 as if the address were wrong",
		"lost":          "do it, then lose the answer",
		"dropped":       "lose the connection before doing anything",
		"500-after":     "do it, then answer 500",
		"late":          "answer after retry-after",
		"html":          "answer 200 with a web page",
		"empty":         "do it, then answer without a body",
		"empty-200":     "do it, then answer 200 without a body or a location",
		"wrong-id":      "do it, then answer with another id",
		"ignored":       "answer 200 and change nothing; with attr, do all but that attribute",
		"409-bare":      "refuse with 409 without a scimType",
		"redirect":      "answer 307 to another host",
		"hides-results": "answer every search with nothing",
		"invisible":     "find nothing by a filter that was made less than retry-after ago",
		"duplicates":    "take a userName that somebody has",
		"folds":         "store userName in lower case",
		"repeats":       "answer every page of a list with the first",
		"endless":       "answer every page of a list with made-up resources",
		"drip":          "write the answer piece by piece over retry-after",
	}
}

// ParseFault reads NAME[:option=value]..., such as
// "429:retry-after=30s:count=3:method=POST". Durations are Go's, or seconds;
// nth=3 strikes the third matching request and no other.
func ParseFault(s string) (Fault, error) {
	parts := strings.Split(s, ":")
	f := Fault{Name: parts[0]}
	if _, ok := Faults()[f.Name]; !ok {
		return f, fmt.Errorf("no fault is named %q", f.Name)
	}
	for _, part := range options(parts[1:]) {
		name, value, _ := strings.Cut(part, "=")
		if err := f.set(name, value); err != nil {
			return f, fmt.Errorf("fault %s, option %s: %w", f.Name, name, err)
		}
	}
	return f, nil
}

// options puts values together again that hold colons, as URNs do.
func options(parts []string) []string {
	var out []string
	for _, part := range parts {
		if last := len(out) - 1; last >= 0 && !strings.Contains(part, "=") {
			out[last] += ":" + part
			continue
		}
		out = append(out, part)
	}
	return out
}

func (f *Fault) set(name, value string) (err error) {
	var d time.Duration
	switch name {
	case "method":
		f.Method = strings.ToUpper(value)
	case "path":
		f.Path = value
	case "attr":
		_, err = scim.ParsePath(value)
		f.Attr = value
	case "count":
		f.Count, err = natural(value)
	case "skip":
		f.Skip, err = natural(value)
	case "nth":
		f.Skip, err = natural(value)
		f.Skip, f.Count = max(f.Skip-1, 0), 1
	case "chance":
		f.Chance, err = strconv.ParseFloat(value, 64)
		if err == nil && (math.IsNaN(f.Chance) || f.Chance < 0 || f.Chance > 1) {
			err = errors.New("must be between 0 and 1")
		}
	case "retry-after":
		f.RetryAfter, err = duration(value)
	case "for":
		d, err = duration(value)
		f.Until = time.Now().Add(d)
	default:
		err = errors.New("no such option; there are method, path, attr, count, skip, nth, chance, retry-after and for")
	}
	return err
}

func natural(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err == nil && n < 0 {
		err = errors.New("must not be negative")
	}
	return n, err
}

func duration(s string) (time.Duration, error) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(s)
	if err == nil && d < 0 {
		err = errors.New("must not be negative")
	}
	return d, err
}

// faults are the faults that may be due.
type faults struct {
	rng    *rand.Rand
	active []*Fault
}

func newFaults(seed uint64) *faults { return &faults{rng: rand.New(rand.NewPCG(seed, 1))} }

// due is the fault that strikes this request, if any.
func (fs *faults) due(method, path string, now time.Time) *Fault {
	fs.active = slices.DeleteFunc(fs.active, func(f *Fault) bool {
		return !f.Until.IsZero() && !now.Before(f.Until)
	})
	for i, f := range fs.active {
		if (f.Method != "" && f.Method != method) || !strings.HasPrefix(path, f.Path) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Chance > 0 && fs.rng.Float64() >= f.Chance {
			continue
		}
		if f.Count > 0 {
			if f.Count--; f.Count == 0 {
				fs.active = slices.Delete(fs.active, i, i+1)
			}
		}
		return f
	}
	return nil
}

// bend gives the behaviour of the request that the fault strikes.
func (f *Fault) bend(b Behaviour) Behaviour {
	switch f.Name {
	case "invisible":
		b.Visibility = max(b.Visibility, f.RetryAfter)
	case "duplicates":
		b.DuplicateUserName = true
	case "folds":
		b.FoldUserName = true
	case "repeats", "endless":
		b.Paging = f.Name
	case "ignored":
		if f.Attr != "" {
			b.IgnoredPaths = append(slices.Clone(b.IgnoredPaths), f.Attr)
		}
	}
	return b
}

// apply gives the faulty reply; do is what should have happened.
func (f *Fault) apply(do func() reply) reply {
	switch f.Name {
	case "429", "429-date", "429-bare", "503":
		return f.throttle()
	case "invisible", "duplicates", "folds", "repeats", "endless":
		return do() // see bend
	case "lost":
		_ = do()
		return reply{lost: true}
	case "dropped":
		return reply{lost: true}
	case "500-after":
		_ = do()
		return failure(http.StatusInternalServerError, "", "something went wrong")
	case "late":
		p := do()
		p.delay = f.RetryAfter
		return p
	case "drip":
		p := do()
		p.drip = f.RetryAfter
		return p
	case "html":
		return webPage("sign in")
	case "empty":
		p := do()
		return reply{status: p.status, header: p.header}
	case "empty-200":
		_ = do()
		return reply{status: http.StatusOK}
	case "wrong-id":
		return wrongID(do())
	case "ignored":
		if f.Attr != "" {
			return do()
		}
		return reply{status: http.StatusOK}
	case "409-bare":
		return failure(http.StatusConflict, "", "conflict")
	case "redirect":
		return reply{status: http.StatusTemporaryRedirect, header: map[string]string{"Location": "http://elsewhere.example/Users"}}
	case "hides-results":
		return reply{status: http.StatusOK, body: map[string]any{
			"schemas": []string{scim.ListSchema}, "totalResults": 0, "startIndex": 1, "itemsPerPage": 0, "Resources": []any{},
		}}
	}
	status, err := strconv.Atoi(f.Name)
	if err != nil {
		status = http.StatusInternalServerError
	}
	return failure(status, "", "refused by an injected fault")
}

func (f *Fault) throttle() reply {
	status := http.StatusTooManyRequests
	if f.Name == "503" {
		status = http.StatusServiceUnavailable
	}
	p := failure(status, "", "too many requests")
	switch {
	case f.Name == "429-date":
		p.header = map[string]string{"Retry-After": time.Now().Add(f.RetryAfter + time.Second - 1).UTC().Format(http.TimeFormat)}
	case f.Name == "429", f.Name == "503" && f.RetryAfter > 0:
		p.header = map[string]string{"Retry-After": seconds(f.RetryAfter)}
	}
	return p
}

func wrongID(p reply) reply {
	if r, ok := p.body.(scim.Resource); ok && r.ID() != "" {
		r["id"] = "another-" + r.ID()
	}
	return p
}

// Inject adds a fault.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.active = append(s.faults.active, &f)
}

// Heal ends all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.active = nil
}
