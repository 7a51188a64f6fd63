package joinery

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/target"
	"github.com/joinery/joinery/services/deadletter"
	"github.com/spf13/cobra"
)

// identity tells one person's whole story.
func (t *terminal) identity() *cobra.Command {
	c := &cobra.Command{
		Use:   "identity KEY",
		Short: "Tell everything known about one person",
		Long: `Tells one person's whole story: where they stand, what every source said of
them, which accounts they have and why, what was done, and what is open.
KEY is the immutable key that the sources use, or Joinery's opaque id.`,
		Example: "  joinery identity 1001",
		Args:    exactly(1, "the key of one person"),
	}
	console := t.console(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		var s deadletter.Story
		err := console().get(c.Context(), "/identities/"+escape(args[0]), &s)
		if isNotFound(err) {
			return partly(fmt.Errorf("no source has said anything about %q", args[0]))
		}
		if err != nil {
			return err
		}
		return t.print(s, func(w io.Writer) { writeStory(w, s) })
	}
	return c
}

func writeStory(w io.Writer, s deadletter.Story) {
	p := s.Person
	row(w, "Person", p.Key)
	row(w, "Id", p.ID)
	row(w, "State", string(p.EffectiveState()))
	row(w, "Revision", p.Revision)
	fmt.Fprintln(w)
	row(w, "ATTRIBUTE", "VALUE", "SOURCE", "SINCE")
	for _, name := range slices.Sorted(maps.Keys(s.Current)) {
		o := s.Origins[name]
		row(w, name, s.Current[name], o.Source, o.At)
	}
	fmt.Fprintln(w)
	row(w, "TARGET", "WANTED", "SINCE", "BECAUSE OF", "WHY", "SHOWS", "ID THERE", "OWNED", "LAST OUTCOME", "MAPPING")
	shown := map[string]identity.Account{}
	for _, a := range s.Accounts {
		shown[a.Target] = a
	}
	for _, target := range slices.Sorted(maps.Keys(p.Wishes)) {
		wish, a := p.Wishes[target], shown[target]
		row(w, target, wish.Wish, wish.Since, wish.Event, wish.Because.String(), a.State, a.RemoteID, owned(a),
			strings.ToLower(strings.TrimPrefix(a.Outcome.Result, "RESULT_"))+" "+a.Outcome.Operation, versions(wish, a))
	}
	if len(s.Scheduled) > 0 {
		fmt.Fprintln(w)
		row(w, "SCHEDULED", "WHAT", "FOR", "EVENT", "SOURCE")
		for _, a := range s.Scheduled {
			row(w, a.At, a.Kind, strings.TrimSpace(a.Target+" "+a.Entitlement+" "+a.Employment), a.Event, a.Source)
		}
	}
	fmt.Fprintln(w)
	row(w, "EVENT", "WHAT", "SOURCE", "WHEN", "EFFECT", "REVISION")
	for _, f := range p.Events {
		row(w, f.Event, f.Kind, f.Source, f.At, f.Effect, f.Revision)
	}
	writeEndings(w, s.Outcomes)
	if len(s.Cases) > 0 {
		fmt.Fprintln(w)
		writeCases(w, s.Cases)
	}
}

// owned says how the account came to be ours, or which one is in the way.
func owned(a identity.Account) string {
	if a.Ownership == identity.Seen {
		return "seen " + a.Stranger
	}
	return string(a.Ownership)
}

// versions is the version of the mapping that made what the account shows and,
// where it is another, the one that made what it should show.
func versions(wish identity.Wish, a identity.Account) string {
	switch a.Mapping {
	case "", wish.Mapping:
		return wish.Mapping
	default:
		return a.Mapping + " -> " + wish.Mapping
	}
}

func writeEndings(w io.Writer, endings []deadletter.Ending) {
	fmt.Fprintln(w)
	row(w, "OUTCOME AT", "TARGET", "EVENT", "RESULT", "OPERATION", "CHANGED", "REQUESTS", "REASON")
	for _, o := range endings {
		target := o.GetTarget()
		if target == "" {
			target = "(mapper)"
		}
		row(w, o.GetAt().AsTime(), target, o.GetEventId(), identity.ResultName(o.GetResult()),
			o.GetOperation(), o.GetAttributes(), o.GetRequests(), o.GetReason())
	}
}

// trace follows one event.
func (t *terminal) trace() *cobra.Command {
	c := &cobra.Command{
		Use:   "trace EVENT",
		Short: "Follow one event to its outcomes",
		Long: `Follows one event to its outcomes. EVENT is the id that ingest answered, or
with --source the id that the source gave it. Exit code 3 while it is not
settled.`,
		Example: "  joinery trace --source hr 2026-000123\n  joinery trace --wait 30s c2mvkdo6rjwxk5vk5vtvqk7x4a",
		Args:    exactly(1, "the id of one event"),
	}
	console := t.console(c)
	source := c.Flags().String("source", "", "EVENT is the id that this source gave it")
	wait := c.Flags().Duration("wait", 0, "wait this long for the event to settle")
	c.RunE = func(c *cobra.Command, args []string) error {
		path := "/events/" + escape(args[0])
		if *source != "" {
			path += "?source=" + url.QueryEscape(*source)
		}
		var tr deadletter.Trace
		deadline := time.Now().Add(*wait)
		for {
			err := console().get(c.Context(), path, &tr)
			if err != nil && (!isNotFound(err) || time.Now().After(deadline)) {
				if isNotFound(err) {
					return partly(errors.New("no such event; name it by the id that ingest answered, or add --source"))
				}
				return err
			}
			if tr.Settled || !time.Now().Before(deadline) {
				break
			}
			select {
			case <-time.After(200 * time.Millisecond):
			case <-c.Context().Done():
				return c.Context().Err()
			}
		}
		if err := t.print(tr, func(w io.Writer) { writeTrace(w, tr) }); err != nil {
			return err
		}
		if !tr.Settled {
			return partly(nil)
		}
		return nil
	}
	return c
}

func writeTrace(w io.Writer, tr deadletter.Trace) {
	e := tr.Event
	row(w, "Event", e.ID)
	row(w, "Source", e.Source+" "+e.SourceID)
	row(w, "What", e.Kind)
	row(w, "Person", e.Identity)
	row(w, "Occurred", e.OccurredAt)
	row(w, "Accepted", e.ReceivedAt)
	row(w, "Attributes", e.Attributes)
	if tr.TraceID != "" {
		row(w, "Trace", tr.TraceID)
	}
	endings := tr.Commands
	if tr.Mapper != nil {
		endings = append([]deadletter.Ending{*tr.Mapper}, endings...)
	}
	writeEndings(w, endings)
	switch {
	case tr.Mapper == nil:
		fmt.Fprintln(w, "\nNot mapped yet.")
	case len(tr.Waiting) > 0:
		fmt.Fprintln(w, "\nWaiting:", strings.Join(tr.Waiting, ", "))
	default:
		fmt.Fprintln(w, "\nSettled.")
	}
}

// targets shows and steers targets.
func (t *terminal) targets() *cobra.Command {
	c := &cobra.Command{Use: "targets", Short: "List, pause, resume and release targets"}
	family(c)
	console := t.console(c)
	list := &cobra.Command{Use: "list", Short: "List all targets", Args: exactly(0, "no arguments")}
	list.RunE = func(c *cobra.Command, _ []string) error {
		var views []deadletter.TargetView
		if err := console().get(c.Context(), "/targets", &views); err != nil {
			return err
		}
		return t.print(views, func(w io.Writer) { writeTargets(w, views...) })
	}
	show := &cobra.Command{Use: "show TARGET", Short: "Show one target and what it taught", Args: exactly(1, "the name of one target")}
	paste := show.Flags().Bool("yaml", false, "print a quirks: block for the target's file, with what it taught")
	show.RunE = func(c *cobra.Command, args []string) error {
		var v deadletter.TargetView
		if err := console().get(c.Context(), "/targets/"+escape(args[0]), &v); err != nil {
			return err
		}
		if *paste {
			return writeQuirks(t.out, v)
		}
		return t.print(v, func(w io.Writer) { writeTarget(w, v) })
	}
	c.AddCommand(list, show)
	for action, short := range map[string]string{
		"pause":   "Send nothing to a target until it is resumed",
		"resume":  "Take back a pause",
		"release": "Release a quarantined target",
	} {
		c.AddCommand(t.steer(console, action, short))
	}
	return c
}

func (t *terminal) steer(console func() *client, action, short string) *cobra.Command {
	c := &cobra.Command{Use: action + " TARGET", Short: short}
	reason := c.Flags().String("reason", "", "why, for the record")
	all := new(bool)
	if action != "release" {
		c.Use = action + " TARGET | --all"
		all = c.Flags().Bool("all", false, "all targets at once, also those that are configured later")
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if *all {
			return exactly(0, "no target beside --all")(c, args)
		}
		return exactly(1, "the name of one target")(c, args)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		name := target.Everything
		if !*all {
			name = args[0]
		}
		var v deadletter.TargetView
		body := map[string]any{"by": whoami(), "reason": *reason}
		if err := console().post(c.Context(), "/targets/"+escape(name)+"/"+action, body, &v); err != nil {
			return err
		}
		var views []deadletter.TargetView
		if !*all {
			views = append(views, v)
		} else if err := console().get(c.Context(), "/targets", &views); err != nil {
			return err
		}
		return t.print(views, func(w io.Writer) { writeTargets(w, views...) })
	}
	return c
}

func writeTargets(w io.Writer, views ...deadletter.TargetView) {
	row(w, "TARGET", "MODE", "OPEN", "WAITING", "REASON")
	for _, v := range views {
		open := "yes"
		if !v.Open {
			open = "no"
		}
		row(w, v.Target, v.Mode, open, v.Waiting, v.Reason)
	}
}

func writeTarget(w io.Writer, v deadletter.TargetView) {
	writeTargets(w, v)
	writeProfile(w, v)
	writeCredentials(w, v, time.Now())
	if len(v.State.Quirks) == 0 {
		return
	}
	fmt.Fprintln(w)
	row(w, "LEARNED", "VALUE", "SINCE", "EVIDENCE")
	for _, name := range slices.Sorted(maps.Keys(v.State.Quirks)) {
		q := v.State.Quirks[name]
		row(w, name, q.Value, q.At, q.Evidence)
	}
}

// deadletter works the review desk.
func (t *terminal) deadletter() *cobra.Command {
	c := &cobra.Command{
		Use: "deadletter", Aliases: []string{"cases"},
		Short: "Decide the cases on the review desk: list, show, replay, approve, adopt, discard",
	}
	family(c)
	console := t.console(c)
	list := &cobra.Command{Use: "list", Short: "List cases", Args: exactly(0, "no arguments")}
	query := url.Values{}
	filters := map[string]*string{
		"target": list.Flags().String("target", "", "only this target"),
		"cause":  list.Flags().String("cause", "", "only this cause (refused, stranger, ambiguous, exhausted, poison, mapping, guard, protected)"),
		"state":  list.Flags().String("state", "open", "only this state (open, replayed, discarded, resolved; \"\" for all)"),
	}
	list.RunE = func(c *cobra.Command, _ []string) error {
		for name, value := range filters {
			query.Set(name, *value)
		}
		var cases []deadletter.Case
		if err := console().get(c.Context(), "/cases?"+query.Encode(), &cases); err != nil {
			return err
		}
		return t.print(cases, func(w io.Writer) { writeCases(w, cases) })
	}
	show := &cobra.Command{Use: "show CASE", Short: "Show one case with its dead letter", Args: exactly(1, "the id of one case")}
	show.RunE = func(c *cobra.Command, args []string) error {
		var raw json.RawMessage
		if err := console().get(c.Context(), "/cases/"+escape(args[0]), &raw); err != nil {
			return err
		}
		var one deadletter.Case
		if err := json.Unmarshal(raw, &one); err != nil {
			return fmt.Errorf("read the case: %w", err)
		}
		return t.print(raw, func(w io.Writer) { writeCase(w, one) })
	}
	c.AddCommand(list, show, t.batches(console), t.approve(console), t.decide(console, "replay", "Send a case again with what is wished for now"),
		t.decide(console, "adopt", "Take over the account that a case of cause stranger names"),
		t.decide(console, "discard", "Close a case without doing anything"))
	return c
}

func (t *terminal) decide(console func() *client, action, short string) *cobra.Command {
	c := &cobra.Command{
		Use: action + " CASE...", Short: short,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("%s takes the ids of cases; see: joinery deadletter list", c.CommandPath())
			}
			return nil
		},
	}
	reason := c.Flags().String("reason", "", "why, for the record")
	c.RunE = func(c *cobra.Command, args []string) error {
		decided, refused := []deadletter.Case{}, error(nil)
		for _, id := range args {
			var one deadletter.Case
			body := map[string]any{"by": whoami(), "reason": *reason}
			if err := console().post(c.Context(), "/cases/"+escape(id)+"/"+action, body, &one); err != nil {
				refused = errors.Join(refused, fmt.Errorf("case %s: %w", id, err))
				continue
			}
			decided = append(decided, one)
		}
		if len(decided) == 0 {
			return refused
		}
		if err := t.print(decided, func(w io.Writer) { writeCases(w, decided) }); err != nil {
			return err
		}
		if refused != nil {
			return partly(refused)
		}
		return nil
	}
	return c
}

func writeCases(w io.Writer, cases []deadletter.Case) {
	row(w, "CASE", "STATE", "CAUSE", "TARGET", "STATUS", "ATTEMPTS", "OPENED", "REASON")
	for _, c := range cases {
		row(w, c.ID, string(c.State), c.Cause, c.Target, strings.TrimSpace(fmt.Sprintf("%d %s", c.Status, c.ScimType)), c.Attempts, c.OpenedAt, c.Reason)
	}
	if len(cases) == 0 {
		fmt.Fprintln(w, "No cases.")
	}
}

func writeCase(w io.Writer, c deadletter.Case) {
	writeCases(w, []deadletter.Case{c})
	fmt.Fprintln(w)
	row(w, "Identity", c.Identity)
	row(w, "Event", c.Event)
	row(w, "Trace", c.TraceID)
	if c.RemoteID != "" {
		row(w, "Account", c.RemoteID, "is not ours; to take it over: joinery deadletter adopt "+c.ID)
	}
	for _, a := range c.Attributes {
		row(w, "Attribute", a, c.Rules[a])
	}
	var letter struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(c.Letter, &letter) == nil && letter.Detail != "" {
		row(w, "The target said", letter.Detail)
	}
	fmt.Fprintln(w)
	row(w, "AT", "BY", "ACTION", "NOTE")
	for _, s := range c.History {
		row(w, s.At, s.By, s.Action, s.Note)
	}
}
