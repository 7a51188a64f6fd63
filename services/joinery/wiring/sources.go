package wiring

import (
	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/services/mapper"
)

// sourcesOf is what the mapper must know of the sources together.
func sourcesOf(folder *config.Folder, links mapper.Links) mapper.Sources {
	out := mapper.Sources{Precedence: folder.Joinery.Orders(), Correlate: map[string]mapper.Correlation{}, Links: links}
	for name, s := range folder.Sources {
		if len(s.Correlate.By) == 0 {
			continue
		}
		c := mapper.Correlation{Own: s.Correlate.Unmatched == "own"}
		for _, m := range s.Correlate.By {
			c.By = append(c.By, mapper.Match(m))
		}
		out.Correlate[name] = c
	}
	return out
}
