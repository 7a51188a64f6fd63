package joinery

import (
	"fmt"
	"io"
	"time"

	"github.com/joinery/joinery/services/deadletter"
)

// writeCredentials tells when what a target is shown ends.
func writeCredentials(w io.Writer, v deadletter.TargetView, now time.Time) {
	if len(v.Credentials) == 0 {
		return
	}
	fmt.Fprintln(w)
	row(w, "CREDENTIAL", "EXPIRES")
	for _, c := range v.Credentials {
		row(w, c.Credential, deadletter.Ends(c.Expires, now))
	}
}
