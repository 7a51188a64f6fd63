package joinery_test

import (
	"testing"

	"github.com/joinery/joinery/pkg/config"
)

// The folders that people copy from must be right.
func TestTheFoldersWeShipAreValid(t *testing.T) {
	for _, dir := range []string{"../../deploy/example", "../../deploy/compose"} {
		folder, err := config.Load(dir, func(string) (string, bool) { return "secret", true })
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		for _, p := range folder.RunTests() {
			t.Errorf("%s: %s", dir, p)
		}
	}
}
