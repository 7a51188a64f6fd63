// Package profile owns what is known of vendors' SCIM services: one file each,
// every knob with its source, loaded from the binary. It says how a service
// provider behaves; what to do about it is the client's business.
package profile

import (
	"embed"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

//go:embed data/*.yaml
var files embed.FS

// Default is the name of the profile of a provider as the RFCs have it.
const Default = "scim2"

// Catalogue is a set of profiles by name. It is not changed once it is loaded.
type Catalogue struct {
	profiles map[string]Profile
	aliases  map[string]string
}

// Load reads the profiles of the binary. An error is a mistake in a file of
// this package, with its line.
func Load() (Catalogue, error) {
	entries, err := files.ReadDir("data")
	if err != nil {
		return Catalogue{}, fmt.Errorf("list the profiles: %w", err)
	}
	c := Catalogue{profiles: map[string]Profile{}, aliases: map[string]string{}}
	for _, e := range entries {
		data, err := files.ReadFile(path.Join("data", e.Name()))
		if err != nil {
			return Catalogue{}, fmt.Errorf("read a profile: %w", err)
		}
		p, err := Parse(e.Name(), data)
		if err != nil {
			return Catalogue{}, err
		}
		p.Name = strings.TrimSuffix(e.Name(), ".yaml")
		c.profiles[p.Name] = p
	}
	return c, c.alias()
}

// alias enters the other names, each of which means one profile.
func (c Catalogue) alias() error {
	for _, p := range c.All() {
		for _, a := range p.Aliases {
			_, isName := c.profiles[a]
			if other, twice := c.aliases[a]; twice || isName {
				return fmt.Errorf("%s.yaml: the alias %s is also %s", p.Name, a, other)
			}
			c.aliases[a] = p.Name
		}
	}
	return nil
}

// All gives every profile, by name.
func (c Catalogue) All() []Profile {
	var out []Profile
	for _, name := range slices.Sorted(maps.Keys(c.profiles)) {
		out = append(out, c.profiles[name])
	}
	return out
}

// Names are the names and aliases by which Get finds something, sorted.
func (c Catalogue) Names() []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(c.profiles)), maps.Keys(c.aliases))
	slices.Sort(names)
	return names
}

// Get finds a profile by its name or an alias. Its lists are the caller's own.
func (c Catalogue) Get(name string) (Profile, bool) {
	if known, ok := c.aliases[name]; ok {
		name = known
	}
	p, ok := c.profiles[name]
	p.Knobs = p.Knobs.Clone()
	return p, ok
}
