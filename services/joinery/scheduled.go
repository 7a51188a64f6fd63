package joinery

import (
	"errors"
	"fmt"
	"io"

	"github.com/joinery/joinery/services/deadletter"
	"github.com/spf13/cobra"
)

// scheduled lists what is to come, and takes it back.
func (t *terminal) scheduled() *cobra.Command {
	c := &cobra.Command{
		Use:   "scheduled",
		Short: "List what will happen to people by itself, and cancel it",
		Long: `Lists what sources announced and what does not hold yet: hires, leavings, leaves,
changes, and the ends of grants, soonest first. What was moved, taken back or
replaced is not in it.`,
		Example: "  joinery scheduled\n  joinery scheduled cancel c2mvkdo6rjwxk5vk5vtvqk7x4a --reason 'wrong person'",
		Args:    exactly(0, "no arguments"),
	}
	console := t.console(c)
	limit := c.Flags().Int("limit", 1000, "show at most so many, from 1 to 100000")
	c.RunE = func(c *cobra.Command, _ []string) error {
		var all []deadletter.Appointment
		if err := console().get(c.Context(), fmt.Sprintf("/scheduled?limit=%d", *limit), &all); err != nil {
			return err
		}
		return t.print(all, func(w io.Writer) { writeScheduled(w, all) })
	}
	cancel := &cobra.Command{
		Use:   "cancel EVENT",
		Short: "Take back what an event announced",
		Long: `Takes back what an event announced, as an event of its own (source operator)
that is kept with your name and the reason. The source's next word on the same
matter holds again. The end of a grant cannot be cancelled: revoke the grant, or
grant it anew.`,
		Args: exactly(1, "the id of one event"),
	}
	reason := cancel.Flags().String("reason", "", "why, for the record")
	cancel.RunE = func(c *cobra.Command, args []string) error {
		var a deadletter.Appointment
		err := console().post(c.Context(), "/scheduled/"+escape(args[0])+"/cancel", map[string]any{"by": whoami(), "reason": *reason}, &a)
		if isNotFound(err) {
			return partly(errors.New("nothing is scheduled by that event; see: joinery scheduled"))
		}
		if err != nil {
			return err
		}
		return t.print(a, func(w io.Writer) {
			fmt.Fprintf(w, "Cancelled: %s of %s at %s.\n", a.Kind, a.Key, a.At.UTC().Format("2006-01-02 15:04:05Z"))
		})
	}
	c.AddCommand(cancel)
	return c
}

func writeScheduled(w io.Writer, all []deadletter.Appointment) {
	if len(all) == 0 {
		fmt.Fprintln(w, "Nothing is scheduled.")
		return
	}
	row(w, "AT", "PERSON", "WHAT", "FOR", "EVENT", "SOURCE", "REQUEST")
	for _, a := range all {
		concerns := a.Employment
		if a.Target != "" {
			concerns = a.Target
			if a.Entitlement != "" {
				concerns += " " + a.Entitlement
			}
		}
		row(w, a.At, a.Key, a.Kind, concerns, a.Event, a.Source, a.Mandate.Request)
	}
}
