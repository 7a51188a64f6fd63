package joinery

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/probe"
	"github.com/joinery/joinery/services/joinery/wiring"
	"github.com/spf13/cobra"
)

// probe asks a target how it keeps to SCIM 2.0.
func (t *terminal) probe() *cobra.Command {
	var dir, markdown, save, compare string
	o := probe.Options{}
	c := &cobra.Command{
		Use:   "probe TARGET",
		Short: "Ask a target how it keeps to SCIM 2.0, and what its configuration needs",
		Long: `Asks a target of the configuration folder how it keeps to SCIM 2.0: discovery,
filters, paging, errors. With --write it also makes a throw-away user and group
marked joinery-probe, changes them in every dialect of PATCH, deactivates and
deletes them, and cleans up also where it is interrupted.

It ends with a report: each clause of RFC 7643, 7644 and 9865 that was asked,
kept or not, with the evidence; the quirks that the target's file needs, ready
to paste; and what to tell the vendor. No person's attribute value is in it.

Exit code 3 where a clause that is not optional is not kept, or, with --compare,
where something changed.`,
		Example: "  joinery probe acme\n  joinery probe acme --write --markdown acme.md --save acme.json\n  joinery probe acme --write --compare acme.json",
		Args:    exactly(1, "the name of one target"),
	}
	f := c.Flags()
	f.StringVar(&dir, "config", env("JOINERY_CONFIG", "."), "configuration folder (JOINERY_CONFIG)")
	f.BoolVar(&o.Write, "write", false, "also make, change and remove throw-away resources")
	f.StringVar(&markdown, "markdown", "", "file for the report as Markdown")
	f.StringVar(&save, "save", "", "file for the report as JSON, to compare with later")
	f.StringVar(&compare, "compare", "", "an earlier report (--save): say what changed since")
	f.DurationVar(&o.Settle, "settle", 30*time.Second, "how long a new resource may stay invisible to searches")
	c.RunE = func(c *cobra.Command, args []string) error {
		folder, err := loadFolder(dir)
		if err != nil {
			return err
		}
		target, ok := folder.Targets[args[0]]
		if !ok {
			return usage("there is no target %q in %s; there are %s", args[0], dir, strings.Join(slices.Sorted(maps.Keys(folder.Targets)), ", "))
		}
		before, err := earlier(compare)
		if err != nil {
			return err
		}
		client, err := wiring.Client(target)
		if err != nil {
			return err
		}
		o.Target, o.Endpoint, o.Mark = target.Name, target.Endpoint, token()[:12]
		if !t.json {
			o.Progress = func(one probe.Check) { fmt.Fprintf(t.errs, "%-11s %s\n", one.Verdict, one.Title) }
		}
		report, err := probe.Run(c.Context(), client, o)
		if err != nil && report.Requests < 2 {
			return err
		}
		if stored := store(report, markdown, save); stored != nil {
			return errors.Join(err, stored)
		}
		if err != nil {
			return fmt.Errorf("interrupted; what was made is removed: %w", err)
		}
		if before != nil {
			return t.changes(probe.Compare(*before, report))
		}
		return t.conclude(report)
	}
	return c
}

// earlier reads a report that was saved; nil where none is named.
func earlier(path string) (*probe.Report, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nothing to compare with
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, usage("read the earlier report: %w", err)
	}
	var r probe.Report
	if err := json.Unmarshal(data, &r); err != nil || len(r.Checks) == 0 {
		return nil, usage("%s is not a report that --save wrote", path)
	}
	return &r, nil
}

func store(r probe.Report, markdown, save string) error {
	if markdown != "" {
		if err := os.WriteFile(markdown, []byte(r.Markdown()), 0o600); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	if save == "" {
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(save, data, 0o600); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (t *terminal) conclude(r probe.Report) error {
	_, broken, _, _ := r.Count()
	if err := t.print(r, func(w io.Writer) { writeReport(w, r) }); err != nil {
		return err
	}
	if broken > 0 || len(r.Left) > 0 {
		return partly(nil)
	}
	return nil
}

func writeReport(w io.Writer, r probe.Report) {
	kept, broken, optional, other := r.Count()
	fmt.Fprintf(w, "\n%d clauses kept, %d not kept, %d optional ones not kept, %d not offered or not known; %d requests.\n", kept, broken, optional, other, r.Requests)
	if broken > 0 {
		fmt.Fprintln(w, "\nTell the vendor:")
	}
	for _, c := range r.Checks {
		if c.Verdict == probe.Broken && !c.Optional {
			fmt.Fprintf(w, "- %s (%s). %s\n  seen: %s\n", c.Title, c.Clause, c.Advice, c.Evidence)
		}
	}
	if yaml := r.YAML(); yaml != "" {
		fmt.Fprintf(w, "\nThe target's file needs:\n\n%s", yaml)
	}
	for _, path := range r.Left {
		fmt.Fprintf(w, "\nCould not be removed, please remove it: %s\n", path)
	}
	if !r.Wrote {
		fmt.Fprintln(w, "\nOnly reading was tried; --write finds out how it is changed.")
	}
}

func (t *terminal) changes(all []probe.Change) error {
	if err := t.print(all, func(w io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(w, "Nothing changed.")
			return
		}
		row(w, "WHAT", "BEFORE", "NOW")
		for _, c := range all {
			row(w, c.What, c.Before, c.Now)
		}
	}); err != nil {
		return err
	}
	if len(all) > 0 {
		return partly(nil)
	}
	return nil
}
