package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/joinery/joinery/pkg/spelling"
)

// Class is a kind of attributes that not every application may know.
type Class struct {
	Name       string   `yaml:"class" need:"true" doc:"Its name, as in pay."`
	Attributes []string `yaml:"attributes" need:"true" min:"1" max:"100" doc:"The attributes of people that belong to it, as in salary."`
}

// Attributes is what a target may have of people.
type Attributes struct {
	Allow     []string `yaml:"allow" max:"500" doc:"The SCIM attributes that rules may write. Without it, all."`
	Sensitive []string `yaml:"sensitive" max:"100" doc:"The classes of sensitive attributes (sensitive in joinery.yaml) that rules may read."`

	// Withheld are the attributes of the other classes, by class.
	Withheld map[string][]string
}

func (j *Joinery) checkClasses(d *decoder) {
	var seen []string
	for i, c := range j.Sensitive {
		path := fmt.Sprintf("sensitive[%d]", i)
		if c.Name != "" && d.name(path+".class", c.Name) && slices.Contains(seen, c.Name) {
			d.wrong(path+".class", "there is a class %s already", c.Name)
		}
		seen = append(seen, c.Name)
		for k, name := range c.Attributes {
			if strings.ContainsAny(name, ". []") || name == "" {
				d.wrong(fmt.Sprintf("%s.attributes[%d]", path, k), "%q is not the name of an attribute: write it as it stands behind identity., without a point", name)
			}
		}
	}
}

// checkAttributes finds what is withheld, and reports classes that do not exist.
func (t *Target) checkAttributes(d *decoder) {
	var names []string
	for _, c := range d.classes {
		names = append(names, c.Name)
		if !slices.Contains(t.Attributes.Sensitive, c.Name) {
			if t.Attributes.Withheld == nil {
				t.Attributes.Withheld = map[string][]string{}
			}
			t.Attributes.Withheld[c.Name] = c.Attributes
		}
	}
	for i, class := range t.Attributes.Sensitive {
		if !slices.Contains(names, class) {
			d.wrong(fmt.Sprintf("attributes.sensitive[%d]", i), "joinery.yaml has no class %q%s", class, spelling.DidYouMean(class, names))
		}
	}
}
