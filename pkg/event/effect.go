package event

import "regexp"

// maxEmployment is the length of the name of an employment in bytes.
const maxEmployment = 128

var ownID = regexp.MustCompile(`^[a-z2-7]{26}$`)

// rescinded is what a rescission takes back: the name of a kind, or Joinery's id
// of the event that the source, or Joinery, calls so.
func rescinded(source, named string) string {
	if _, isKind := kindNamed(named); isKind || ownID.MatchString(named) {
		return named
	}
	return IDOf(source, named)
}
