package joinery

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/joinery/joinery/services/deadletter"
	"github.com/spf13/cobra"
)

// batches shows what the guards hold.
func (t *terminal) batches(console func() *client) *cobra.Command {
	c := &cobra.Command{
		Use:   "batches [BATCH]",
		Short: "List what the guards hold, or show one batch with its plan",
		Long: `Lists what the guards hold together: more accounts disabled, deleted or renamed
than a target's guard allows. With the id of a batch it shows whom it is about,
and the hash that an approval must name.`,
		Example: "  joinery deadletter batches\n  joinery deadletter batches acme-deprovision-hr-20260302T090000.000Z",
		Args:    cobra.MaximumNArgs(1),
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 1 {
			var one deadletter.Batch
			if err := console().get(c.Context(), "/batches/"+escape(args[0]), &one); err != nil {
				return err
			}
			return t.print(one, func(w io.Writer) { writeBatch(w, one) })
		}
		var all []deadletter.Batch
		if err := console().get(c.Context(), "/batches", &all); err != nil {
			return err
		}
		return t.print(all, func(w io.Writer) { writeBatches(w, all) })
	}
	return c
}

// approve decides a batch.
func (t *terminal) approve(console func() *client) *cobra.Command {
	var v deadletter.Verdict
	c := &cobra.Command{
		Use:   "approve BATCH",
		Short: "Let go on what a guard holds, all of it or in part",
		Long: `Lets go on what a guard holds. The hash is the one that "joinery deadletter
batches BATCH" shows: nobody agrees to what was added after they looked. An
approval counts for 24 hours, and only for the wish that was held. What is
rejected is closed without doing anything; what is neither stays held.`,
		Example: "  joinery deadletter approve BATCH --hash 1c0ffee --reason 'branch closed, ticket 4711'\n" +
			"  joinery deadletter approve BATCH --hash 1c0ffee --reject acme-k4tb...",
		Args: exactly(1, "the id of one batch; see: joinery deadletter batches"),
	}
	f := c.Flags()
	f.StringVar(&v.Hash, "hash", "", "the batch as you looked at it (required)")
	f.StringSliceVar(&v.Only, "only", nil, "approve only these cases")
	f.StringSliceVar(&v.Reject, "reject", nil, "close these cases without doing anything")
	f.StringVar(&v.Note, "reason", "", "why, for the record")
	c.RunE = func(c *cobra.Command, args []string) error {
		if v.Hash == "" {
			return usage("approve needs --hash: look at the batch first with: joinery deadletter batches %s", args[0])
		}
		v.By = whoami()
		var done deadletter.Decided
		if err := console().post(c.Context(), "/batches/"+escape(args[0])+"/decide", v, &done); err != nil {
			return err
		}
		return t.print(done, func(w io.Writer) {
			fmt.Fprintf(w, "%d approved, %d rejected, %d still held.\n", len(done.Approved), len(done.Rejected), done.Left)
		})
	}
	return c
}

func writeBatches(w io.Writer, all []deadletter.Batch) {
	row(w, "BATCH", "TARGET", "SINCE", "WISHED FOR")
	for _, b := range all {
		row(w, b.ID, b.Target, b.Since, wishesOf(b))
	}
	if len(all) == 0 {
		fmt.Fprintln(w, "Nothing is held.")
	}
}

func wishesOf(b deadletter.Batch) string {
	var out []string
	for _, wish := range slices.Sorted(maps.Keys(b.Wishes)) {
		out = append(out, fmt.Sprintf("%d %s", b.Wishes[wish], wish))
	}
	return strings.Join(out, ", ")
}

func writeBatch(w io.Writer, b deadletter.Batch) {
	row(w, "Batch", b.ID)
	row(w, "Target", b.Target)
	row(w, "Hash", b.Hash)
	row(w, "Wished for", wishesOf(b))
	fmt.Fprintln(w)
	row(w, "CASE", "PERSON", "WISH", "REVISION", "SOURCE", "EVENT", "SINCE")
	for _, i := range b.Items {
		row(w, i.Case, i.Key, i.Wish, i.Revision, i.Source, i.Event, i.Since)
	}
}
