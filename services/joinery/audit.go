package joinery

import (
	"fmt"
	"io"

	"github.com/joinery/joinery/services/deadletter"
	"github.com/spf13/cobra"
)

// audit compares what was accepted with how it ended.
func (t *terminal) audit() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Compare every accepted event and command with its outcome",
		Long: `Compares every accepted event and every command with the outcomes, from where
the last comparison ended, and lists what has none yet. What came in the last
seconds is left for the next time. Exit code 3 where something is overdue.`,
		Args: exactly(0, "no arguments"),
	}
	console := t.console(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var book deadletter.Book
		if err := console().get(c.Context(), "/audit", &book); err != nil {
			return err
		}
		if err := t.print(book, func(w io.Writer) { writeBook(w, book) }); err != nil {
			return err
		}
		for _, g := range book.Gaps {
			if g.Overdue {
				return partly(nil)
			}
		}
		return nil
	}
	return c
}

func writeBook(w io.Writer, b deadletter.Book) {
	fmt.Fprintf(w, "%d events and %d commands compared up to %s.\n", b.Events, b.Orders, b.At.Format("2006-01-02 15:04:05Z"))
	if len(b.Gaps) == 0 {
		fmt.Fprintln(w, "Each has its outcome.")
		return
	}
	fmt.Fprintln(w)
	row(w, "WITHOUT OUTCOME", "IDENTITY", "OWED BY", "SINCE", "OVERDUE", "WHY")
	for _, g := range b.Gaps {
		owed, late := g.Target, "no"
		if owed == "" {
			owed = "(mapper)"
		}
		if g.Overdue {
			late = "yes"
		}
		row(w, g.Event, g.Identity, owed, g.Since, late, g.Why)
	}
}

// leavers lists whose leaving is not confirmed yet.
func (t *terminal) leavers() *cobra.Command {
	c := &cobra.Command{
		Use:   "leavers",
		Short: "List people who left and whose accounts are not confirmed as ended",
		Long: `Lists accounts that should no longer give access, and of which the target has
not yet shown so for a quarter of an hour: it is read back at once, after 1 and
after 15 minutes. Exit code 3 where there is one that is not even disabled.`,
		Args: exactly(0, "no arguments"),
	}
	console := t.console(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var all []deadletter.Leaver
		if err := console().get(c.Context(), "/leavers", &all); err != nil {
			return err
		}
		if err := t.print(all, func(w io.Writer) { writeLeavers(w, all) }); err != nil {
			return err
		}
		for _, l := range all {
			if l.Stands != "confirming" {
				return partly(nil)
			}
		}
		return nil
	}
	return c
}

func writeLeavers(w io.Writer, all []deadletter.Leaver) {
	if len(all) == 0 {
		fmt.Fprintln(w, "Every leaver is confirmed.")
		return
	}
	row(w, "PERSON", "TARGET", "WANTED", "SINCE", "STANDS", "LAST SHOWN", "READ AGAIN", "CASE")
	for _, l := range all {
		row(w, l.Key, l.Target, l.Wish, l.Since, l.Stands, l.Confirmed, l.Checks, l.Case)
	}
}
