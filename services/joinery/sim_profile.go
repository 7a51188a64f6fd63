package joinery

import (
	"strings"

	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/simulator"
	"github.com/spf13/cobra"
)

// temper is the vendor that a simulated service provider plays.
type temper struct {
	profile string
	quirks  []string
}

func (v *temper) flags(c *cobra.Command) {
	c.Flags().StringVar(&v.profile, "profile", profile.Default, "behave as this profile says; see: joinery profiles list")
	c.Flags().StringArrayVar(&v.quirks, "quirk", nil, "a knob that differs from the profile, name=value; may be repeated; see: joinery profiles knobs")
}

// apply puts the vendor's behaviour into the options. A flag that was given
// goes over the profile. The first of the documented limits becomes the rate.
func (v *temper) apply(o *simulator.Options, rate *int, given func(flag string) bool) error {
	knobs, err := v.knobs()
	if err != nil {
		return err
	}
	o.Behaviour = simulator.FromKnobs(knobs)
	if !given("profile") && len(v.quirks) == 0 {
		o.Behaviour.SchemasRequired = false // as it was before there were profiles
	}
	if given("page") {
		o.Behaviour.PageMax = 0
	}
	if len(knobs.Rates) > 0 && !given("rate") {
		*rate, o.Window = knobs.Rates[0].Requests, knobs.Rates[0].Per
	}
	if knobs.BulkMaxOps > 0 && knobs.Bulk != "no" {
		o.Bulk = knobs.BulkMaxOps
	}
	return nil
}

func (v *temper) knobs() (profile.Knobs, error) {
	p, err := known(v.profile)
	if err != nil {
		return profile.Knobs{}, err
	}
	knobs := p.Knobs
	for _, quirk := range v.quirks {
		name, value, ok := strings.Cut(quirk, "=")
		if !ok {
			return knobs, usage("--quirk %s: write name=value", quirk)
		}
		if knobs, err = knobs.Learned(name, value); err != nil {
			return knobs, usage("--quirk %s: %w", quirk, err)
		}
	}
	return knobs, nil
}
