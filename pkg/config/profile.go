package config

import (
	"strconv"
	"time"

	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/spelling"
)

// resolve finds the profile, and puts the quirks over it.
func (t *Target) resolve(d *decoder) {
	if t.Profile == "" {
		return
	}
	known, ok := d.profiles.Get(t.Profile)
	if !ok {
		d.wrong("profile", "there is no profile %q%s; see: joinery profiles list", t.Profile, spelling.DidYouMean(t.Profile, d.profiles.Names()))
	}
	knobs, problems := known.Knobs.With(t.Quirks)
	for _, p := range problems {
		d.wrong(join("quirks", p.Knob), "%s", p)
	}
	t.Knobs = knobs
}

// documented are the limits of a profile, or a modest one where it has none.
func documented(rates []profile.Rate) []Rate {
	if len(rates) == 0 {
		return []Rate{{Requests: 10, Per: time.Second}}
	}
	var out []Rate
	for _, r := range rates {
		out = append(out, Rate(r))
	}
	return out
}

// checkFinal reports deprovisioning that cannot be undone and that the file does
// not allow in so many words.
func (t *Target) checkFinal(d *decoder) {
	act, deletes := "deprovision.action", t.Deprovision.Action == "delete"
	if t.Deprovision.DeleteAfter > 0 {
		act, deletes = "deprovision.delete_after", true
	}
	disables := t.Deprovision.Action == "disable"
	byDelete := disables && t.Knobs.DisableBy == "delete"
	if deletes && t.Knobs.DeleteMissing {
		d.wrong(act, "the profile %s knows no DELETE of users: write action: disable, without delete_after", t.Profile)
	}
	if t.Deprovision.Irreversible {
		return
	}
	const consent = "where that is meant, write deprovision: { irreversible: true }; see: joinery profiles show %s"
	switch {
	case (deletes || byDelete) && t.Knobs.DeleteFinal:
		d.wrong(act, "deleting a user cannot be undone here: "+consent, t.Profile)
	case disables && !byDelete && t.Knobs.DisableFinal:
		d.wrong("deprovision.action", "setting active to false cannot be undone here: "+consent, t.Profile)
	}
}

// describeProfile lets the schema of a target know the profiles and the knobs.
func describeProfile(target map[string]any) {
	properties, _ := target["properties"].(map[string]any)
	name, _ := properties["profile"].(map[string]any)
	profiles, _ := profile.Load() // embedded; TestSchemaKnowsProfilesAndQuirks sees an error
	name["enum"] = profiles.Names()
	delete(name, "type")
	quirks, _ := properties["quirks"].(map[string]any)
	knobs := map[string]any{}
	for _, k := range profile.Describe() {
		schema := knobSchema(k)
		schema["description"] = k.Doc
		knobs[k.Name] = schema
	}
	quirks["properties"], quirks["additionalProperties"] = knobs, false
}

func knobSchema(k profile.Knob) map[string]any {
	switch k.Type {
	case "number":
		return map[string]any{"type": "integer", "minimum": 0}
	case "boolean":
		return map[string]any{"type": "boolean"}
	case "duration":
		return map[string]any{"type": "string", "pattern": `^([0-9.]+(ns|us|ms|s|m|h))+$`}
	case "list":
		return map[string]any{"type": "array", "items": map[string]any{"type": "string"}}
	case "rates":
		return map[string]any{"type": "array", "items": map[string]any{"type": []string{"object", "string"}}}
	}
	if len(k.Choices) == 0 {
		return map[string]any{"type": "string"}
	}
	choices := []any{}
	for _, c := range k.Choices {
		choices = append(choices, c)
		if n, err := strconv.Atoi(c); err == nil { // 409 without quotes
			choices = append(choices, n)
		}
	}
	return map[string]any{"enum": choices}
}
