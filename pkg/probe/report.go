package probe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Count is how many checks ended so; optional ones that are not kept are no fault.
func (r Report) Count() (kept, broken, optional, other int) {
	for _, c := range r.Checks {
		switch {
		case c.Verdict == Kept:
			kept++
		case c.Verdict == Broken && !c.Optional:
			broken++
		case c.Verdict == Broken:
			optional++
		default:
			other++
		}
	}
	return kept, broken, optional, other
}

// YAML is the quirks for a target's file, ready to paste; empty where it needs none.
func (r Report) YAML() string {
	if len(r.Quirks) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("quirks:\n")
	for _, name := range slices.Sorted(maps.Keys(r.Quirks)) {
		value, _ := json.Marshal(r.Quirks[name].Value) // JSON is YAML
		fmt.Fprintf(&b, "  %s: %s # %s\n", name, value, strings.ReplaceAll(r.Quirks[name].Why, "\n", " "))
	}
	return b.String()
}

// Markdown is the report for people, and for the vendor.
func (r Report) Markdown() string {
	var b strings.Builder
	kept, broken, optional, other := r.Count()
	fmt.Fprintf(&b, "# SCIM 2.0 conformance of %s\n\n%s, %s, %d requests", r.Target, r.Endpoint, r.At.Format("2006-01-02 15:04 MST"), r.Requests)
	if !r.Wrote {
		b.WriteString(", reading only")
	}
	fmt.Fprintf(&b, "\n\n%d clauses kept, %d not kept, %d optional ones not kept, %d not offered or not known.\n", kept, broken, optional, other)
	b.WriteString("\n| | clause | what | evidence |\n|---|---|---|---|\n")
	for _, c := range r.Checks {
		sign := map[Verdict]string{Kept: "yes", Broken: "**no**", Absent: "-", Unknown: "?"}[c.Verdict]
		if c.Verdict == Broken && c.Optional {
			sign = "no"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | `%s` |\n", sign, c.Clause, cell(c.Title), cell(c.Evidence))
	}
	if yaml := r.YAML(); yaml != "" {
		fmt.Fprintf(&b, "\n## What the target's file needs\n\n```yaml\n%s```\n", yaml)
	}
	b.WriteString("\n## What to tell the vendor\n\n")
	said := false
	for _, c := range r.Checks {
		if c.Verdict == Broken && !c.Optional && c.Advice != "" {
			fmt.Fprintf(&b, "- %s (%s): %s Seen: `%s`.\n", c.Title, c.Clause, c.Advice, c.Evidence)
			said = true
		}
	}
	if !said {
		b.WriteString("Nothing: every clause that is not optional is kept.\n")
	}
	for _, path := range r.Left {
		fmt.Fprintf(&b, "\nCould not be removed: %s\n", path)
	}
	return b.String()
}

func cell(s string) string { return strings.NewReplacer("|", "\\|", "`", "'", "\n", " ").Replace(s) }

// Change is one difference between two reports.
type Change struct {
	What   string `json:"what"`
	Before string `json:"before"`
	Now    string `json:"now"`
}

// Compare says what changed since an earlier report: clauses, conclusions, and
// the discovery documents.
func Compare(before, now Report) []Change {
	out := []Change{}
	add := func(what, was, is string) {
		if was != is {
			out = append(out, Change{what, was, is})
		}
	}
	was, is := verdicts(before), verdicts(now)
	for _, id := range union(was, is) {
		if was[id] == "" && before.Wrote != now.Wrote {
			continue // it was not asked
		}
		if is[id] == "" && before.Wrote != now.Wrote {
			continue
		}
		add("clause "+id, otherwise(was[id]), otherwise(is[id]))
	}
	for _, name := range union(before.Quirks, now.Quirks) {
		add("quirk "+name, shown(before.Quirks, name), shown(now.Quirks, name))
	}
	for _, name := range union(before.Documents, now.Documents) {
		if !sameJSON(before.Documents[name], now.Documents[name]) {
			out = append(out, Change{"document " + name, fmt.Sprintf("%d bytes", len(before.Documents[name])), fmt.Sprintf("%d bytes", len(now.Documents[name]))})
		}
	}
	return out
}

func verdicts(r Report) map[string]string {
	out := map[string]string{}
	for _, c := range r.Checks {
		out[c.ID] = string(c.Verdict)
	}
	return out
}

func union[V any](a, b map[string]V) []string {
	all := map[string]bool{}
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func otherwise(s string) string {
	if s == "" {
		return "not asked"
	}
	return s
}

func shown(quirks map[string]Quirk, name string) string {
	q, ok := quirks[name]
	if !ok {
		return "none"
	}
	text, _ := json.Marshal(q.Value)
	return string(text)
}

// sameJSON compares documents, whatever the order of their members.
func sameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
