package wiring

// profiles gives the profile of a target, and what its file says differently.
func (b *Base) profiles(name string) (profile string, quirks map[string]string) {
	t := b.folder.Load().Targets[name]
	quirks = map[string]string{}
	for knob := range t.Quirks {
		quirks[knob] = t.Knobs.Text(knob)
	}
	return t.Profile, quirks
}
