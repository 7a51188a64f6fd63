package joinery

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/joinery/joinery/pkg/reconcile"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/spf13/cobra"
)

// reconcile runs one reconciliation and shows its report.
func (t *terminal) reconcile() *cobra.Command {
	c := &cobra.Command{
		Use:   "reconcile TARGET",
		Short: "Compare a target with what it should show, and repair drift",
		Long: `Reads a target whole, compares it with what it should show, and reports; with
--repair it also sends the repairs down the bulk lane. What cannot be read to
its end makes nobody missing, and a target that suddenly shows fewer than half
of its accounts is reported, not believed (--force if it is true).

Exit code 3 where differences remain that were not sent for repair.`,
		Example: "  joinery reconcile acme\n  joinery reconcile acme --repair --reason 'after the outage'",
		Args:    exactly(1, "the name of one target"),
	}
	console := t.console(c)
	f := c.Flags()
	repair := f.Bool("repair", false, "send repairs")
	force := f.Bool("force", false, "believe an implausible listing")
	reason := f.String("reason", "", "why, for the record")
	detach := f.Bool("detach", false, "request the run and do not wait for it")
	c.RunE = func(c *cobra.Command, args []string) error {
		mode := reconcile.Report
		if *repair {
			mode = reconcile.Remediate
		}
		var requested struct {
			Run string `json:"run"`
		}
		path := "/targets/" + escape(args[0]) + "/runs"
		body := map[string]any{"by": whoami(), "reason": *reason, "mode": mode, "force": *force}
		if err := console().post(c.Context(), path, body, &requested); err != nil {
			return err
		}
		if *detach {
			return t.print(requested, func(w io.Writer) { row(w, "Requested", requested.Run) })
		}
		return t.follow(c, console(), path+"/"+requested.Run)
	}
	return c
}

// follow shows a run's progress until it ends, then its report.
func (t *terminal) follow(c *cobra.Command, console *client, path string) error {
	live := interactive(t.errs)
	for {
		var run reconcile.Run
		if err := console.get(c.Context(), path, &run); err != nil {
			return err
		}
		if live {
			fmt.Fprintf(t.errs, "\r%s: %d listed, %d repairs ", run.State, run.Counts.Listed, run.Repairs)
		}
		if run.Ended() {
			if live {
				fmt.Fprintln(t.errs)
			}
			return t.verdict(run)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-c.Context().Done():
			return c.Context().Err()
		}
	}
}

func (t *terminal) verdict(run reconcile.Run) error {
	if err := t.print(run, func(w io.Writer) { writeRun(w, run) }); err != nil {
		return err
	}
	if run.State != reconcile.Done || len(run.Findings)+run.Truncated > run.Repairs {
		return partly(nil)
	}
	return nil
}

func writeRun(w io.Writer, run reconcile.Run) {
	row(w, "Run", run.ID)
	row(w, "Target", run.Target)
	row(w, "State", string(run.State))
	row(w, "Took", run.EndedAt.Sub(run.StartedAt).Round(time.Millisecond))
	row(w, "Wanted", run.Counts.Wanted)
	row(w, "Listed", run.Counts.Listed)
	for _, s := range slices.Sorted(maps.Keys(run.Counts.Situations)) {
		row(w, string(s), run.Counts.Situations[s])
	}
	row(w, "Repairs sent", run.Repairs)
	if run.Error != "" {
		row(w, "Error", run.Error)
	}
	if len(run.Findings) == 0 {
		return
	}
	fmt.Fprintln(w)
	row(w, "SITUATION", "IDENTITY", "ID THERE", "ATTRIBUTES")
	for _, f := range run.Findings {
		row(w, string(f.Situation), f.Identity, f.RemoteID, f.Attributes)
	}
	if run.Truncated > 0 {
		fmt.Fprintf(w, "... and %d more\n", run.Truncated)
	}
}

// topology shows the streams and consumers.
func (t *terminal) topology() *cobra.Command {
	c := &cobra.Command{
		Use:   "topology",
		Short: "Show streams and consumers as applied",
		Long: `Shows streams, buckets and consumers as the broker holds them, with what is in
them. With --designed it shows the literal that is applied, without a broker.`,
		Args: exactly(0, "no arguments"),
	}
	console := t.console(c)
	designed := c.Flags().StringSlice("designed", nil, "show the design for these targets instead")
	permissions := c.Flags().StringSlice("permissions", nil, "write the broker's users for these sources instead")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if c.Flags().Changed("permissions") {
			text := stream.Permissions(*permissions)
			return t.print(map[string]string{"nats.conf": text}, func(w io.Writer) { fmt.Fprint(w, text) })
		}
		if c.Flags().Changed("designed") {
			d := stream.Design(*designed, 1)
			return t.print(d, func(w io.Writer) { writeDesign(w, d) })
		}
		var a stream.Applied
		if err := console().get(c.Context(), "/topology", &a); err != nil {
			return err
		}
		return t.print(a, func(w io.Writer) { writeApplied(w, a) })
	}
	return c
}

func writeApplied(w io.Writer, a stream.Applied) {
	row(w, "STREAM", "SUBJECTS", "MESSAGES", "BYTES", "RETENTION", "DISCARD", "PER SUBJECT", "REPLICAS")
	for _, s := range a.Streams {
		row(w, s.Name, s.Subjects, s.Messages, s.Bytes, s.Retention, s.Discard, s.PerSubject, s.Replicas)
	}
	fmt.Fprintln(w)
	row(w, "CONSUMER", "STREAM", "FILTERS", "WAITING", "IN FLIGHT", "REDELIVERED")
	for _, k := range a.Consumers {
		row(w, k.Durable, k.Stream, k.Filters, k.Waiting, k.InFlight, k.Redelivered)
	}
}

func writeDesign(w io.Writer, d stream.Topology) {
	row(w, "STREAM", "SUBJECTS", "PER SUBJECT", "MAX AGE", "PURPOSE")
	for _, s := range d.Streams {
		age := "-"
		if s.MaxAge > 0 {
			age = s.MaxAge.String()
		}
		row(w, s.Name, s.Subjects, s.PerSubject, age, s.Purpose)
	}
	fmt.Fprintln(w)
	row(w, "BUCKET", "HISTORY", "PURPOSE")
	for _, b := range d.Buckets {
		row(w, b.Name, b.History, b.Purpose)
	}
	fmt.Fprintln(w)
	row(w, "CONSUMER", "STREAM", "FILTERS", "MAX PENDING")
	for _, k := range d.Consumers {
		row(w, k.Durable, k.Stream, k.Filters, k.MaxPending)
	}
}
