package config

import (
	"fmt"
	"slices"
)

// Precedence says whose word counts for an attribute.
type Precedence struct {
	Attribute string   `yaml:"attribute" need:"true" doc:"The attribute of people, as in email."`
	Sources   []string `yaml:"sources" need:"true" min:"1" max:"50" doc:"The sources, the first before the others: the first of them that has a value is believed, however old; where none has, the newest of all."`
}

func (j *Joinery) checkPrecedence(d *decoder) {
	var seen []string
	for i, p := range j.Precedence {
		path := fmt.Sprintf("precedence[%d]", i)
		if p.Attribute != "" && slices.Contains(seen, p.Attribute) {
			d.wrong(path+".attribute", "%s has a precedence already", p.Attribute)
		}
		seen = append(seen, p.Attribute)
		for k, source := range p.Sources {
			if slices.Contains(p.Sources[:k], source) {
				d.wrong(fmt.Sprintf("%s.sources[%d]", path, k), "%s is there already", source)
			}
		}
	}
}

// Orders is the precedence by attribute.
func (j *Joinery) Orders() map[string][]string {
	out := make(map[string][]string, len(j.Precedence))
	for _, p := range j.Precedence {
		out[p.Attribute] = p.Sources
	}
	return out
}
