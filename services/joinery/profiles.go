package joinery

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/spelling"
	"github.com/joinery/joinery/services/deadletter"
	"github.com/spf13/cobra"
)

// profiles tells what is known of vendors.
func (t *terminal) profiles() *cobra.Command {
	c := &cobra.Command{
		Use: "profiles", Short: "List, show and explain what is known of vendors' SCIM services",
		Long: `Tells what is known of vendors' SCIM services, with sources. A target names its
profile (profile: slack) and may say differently what it needs (quirks:).`,
	}
	family(c)
	list := &cobra.Command{Use: "list", Short: "List all profiles", Args: exactly(0, "no arguments")}
	list.RunE = func(*cobra.Command, []string) error {
		all, err := profile.Load()
		if err != nil {
			return err
		}
		views := []profileView{}
		for _, p := range all.All() {
			views = append(views, viewOf(p))
		}
		return t.print(views, func(w io.Writer) { writeProfiles(w, all.All()) })
	}
	show := &cobra.Command{
		Use: "show NAME", Short: "Show one profile: what differs from the RFCs, sources, warnings",
		Example: "  joinery profiles show slack", Args: exactly(1, "the name of one profile"),
	}
	asYAML := show.Flags().Bool("yaml", false, "print YAML")
	show.RunE = func(_ *cobra.Command, args []string) error {
		p, err := known(args[0])
		if err != nil {
			return err
		}
		if *asYAML {
			return yaml.NewEncoder(t.out, yaml.UseJSONMarshaler()).Encode(viewOf(p))
		}
		return t.print(viewOf(p), func(w io.Writer) { writePage(w, p) })
	}
	knobs := &cobra.Command{Use: "knobs", Short: "Explain every knob that a profile or a target's quirks: may set", Args: exactly(0, "no arguments")}
	markdown := knobs.Flags().Bool("markdown", false, "print a Markdown table")
	knobs.RunE = func(*cobra.Command, []string) error {
		if *markdown {
			_, err := io.WriteString(t.out, knobTable())
			return err
		}
		return t.print(profile.Describe(), func(w io.Writer) {
			row(w, "KNOB", "TYPE", "VALUES", "DEFAULT", "MEANING")
			for _, k := range profile.Describe() {
				row(w, k.Name, k.Type, strings.Join(k.Choices, " | "), k.Default, k.Doc)
			}
		})
	}
	c.AddCommand(list, show, knobs)
	return c
}

// known finds a profile, or says which is meant.
func known(name string) (profile.Profile, error) {
	all, err := profile.Load()
	if err != nil {
		return profile.Profile{}, err
	}
	p, ok := all.Get(name)
	if !ok {
		return p, usage("there is no profile %q%s; see: joinery profiles list", name, spelling.DidYouMean(name, all.Names()))
	}
	return p, nil
}

// profileView is a profile as JSON and YAML show it.
type profileView struct {
	profile.Profile
	Knobs map[string]sourcedKnob `json:"knobs"`
}

// sourcedKnob is a value with where it is from.
type sourcedKnob struct {
	Value any `json:"value"`
	profile.Source
}

func viewOf(p profile.Profile) profileView {
	v := profileView{Profile: p, Knobs: map[string]sourcedKnob{}}
	for name, source := range p.Sources {
		v.Knobs[name] = sourcedKnob{Value: p.Knobs.Value(name), Source: source}
	}
	v.Sources = nil
	return v
}

func writeProfiles(w io.Writer, all []profile.Profile) {
	row(w, "PROFILE", "VENDOR", "ALSO", "KNOBS", "CANNOT BE UNDONE", "CONFIDENCE")
	for _, p := range all {
		row(w, p.Name, p.Vendor, p.Aliases, len(p.Sources), final(p.Knobs), p.Confidence)
	}
}

func final(k profile.Knobs) []string {
	var out []string
	if k.DisableFinal {
		out = append(out, "disable")
	}
	if k.DeleteFinal {
		out = append(out, "delete")
	}
	return out
}

// writePage is a page for a person to read before a target is connected.
func writePage(w io.Writer, p profile.Profile) {
	row(w, "Profile", p.Name)
	row(w, "Vendor", p.Vendor)
	row(w, "Also", p.Aliases)
	row(w, "Endpoint", p.BaseURL)
	row(w, "Credential", p.Auth)
	row(w, "Known from", p.Confidence)
	section(w, "WARNINGS", p.Warnings)
	if len(p.Sources) == 0 {
		fmt.Fprintln(w, "\nNo knob is set: it is treated as the RFCs have it.")
	} else {
		fmt.Fprintln(w)
		row(w, "KNOB", "HERE", "BY THE RFCS", "SOURCE")
	}
	for _, k := range profile.Describe() {
		source, ok := p.Sources[k.Name]
		if !ok {
			continue
		}
		from := source.Source
		if source.Confidence != "" {
			from += " (" + source.Confidence + ")"
		}
		row(w, k.Name, p.Knobs.Text(k.Name), k.Default, from)
	}
	if len(p.Facts) > 0 {
		fmt.Fprintln(w)
		row(w, "ALSO KNOWN", "VALUE", "SOURCE")
	}
	for _, f := range p.Facts {
		row(w, f.Name, plainText(f.Value), f.Source)
	}
	section(w, "LOOKED FOR AND NOT FOUND", p.Unknown)
	section(w, "DOCUMENTATION", p.Documentation)
}

func section(w io.Writer, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	for _, line := range lines {
		fmt.Fprintf(w, "- %s\n", cell(line))
	}
}

// plainText is a free value on one line, the same each time.
func plainText(v any) string {
	switch v := v.(type) {
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, plainText(e))
		}
		return strings.Join(out, ", ")
	case map[string]any:
		var out []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			out = append(out, name+": "+plainText(v[name]))
		}
		return strings.Join(out, ", ")
	default:
		return fmt.Sprint(v)
	}
}

// knobTable is the table of docs/profiles.md.
func knobTable() string {
	var b strings.Builder
	b.WriteString("| knob | type | values | default | meaning |\n|---|---|---|---|---|\n")
	escape := strings.NewReplacer("|", `\|`, "\n", " ")
	for _, k := range profile.Describe() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Name, k.Type, strings.Join(k.Choices, ", "), k.Default, escape.Replace(k.Doc))
	}
	return b.String()
}

// writeProfile tells what is known of a target before it taught anything.
func writeProfile(w io.Writer, v deadletter.TargetView) {
	if v.Profile == "" {
		return
	}
	fmt.Fprintln(w)
	row(w, "Profile", v.Profile)
	if len(v.Quirks) == 0 {
		return
	}
	row(w, "OVERRIDDEN", "VALUE")
	for _, name := range slices.Sorted(maps.Keys(v.Quirks)) {
		row(w, name, v.Quirks[name])
	}
}

// writeQuirks prints what a target's file and the target itself say differently
// from its profile, ready to paste into the file. What the target taught and no
// knob understands is kept as a comment.
func writeQuirks(w io.Writer, v deadletter.TargetView) error {
	var k profile.Knobs
	names, strange := map[string]string{}, []string{}
	put := func(name, value, why string) {
		next, err := k.Learned(name, value)
		if err != nil {
			strange = append(strange, cell(name+": "+value))
			return
		}
		for _, changed := range next.Differing(k) {
			names[changed] = why
		}
		if next.Text(name) != "" {
			names[name] = why
		}
		k = next
	}
	for _, name := range slices.Sorted(maps.Keys(v.Quirks)) {
		put(name, v.Quirks[name], "")
	}
	for _, name := range slices.Sorted(maps.Keys(v.State.Quirks)) {
		q := v.State.Quirks[name]
		put(name, q.Value, " # taught "+q.At.UTC().Format("2006-01-02")+": "+cell(q.Evidence))
	}
	var b strings.Builder
	if len(names) == 0 {
		b.WriteString("quirks: {}\n")
	} else {
		b.WriteString("quirks:\n")
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		value, err := yaml.MarshalWithOptions(k.Value(name), yaml.Flow(true))
		if err != nil {
			return fmt.Errorf("write the quirk %s: %w", name, err)
		}
		fmt.Fprintf(&b, "  %s: %s%s\n", name, strings.TrimSpace(string(value)), names[name])
	}
	for _, s := range strange {
		fmt.Fprintf(&b, "  # not a knob: %s\n", s)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
