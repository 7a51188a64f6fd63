package stream

import (
	"fmt"
	"strings"
)

// IntakeSubject is where a source publishes.
func IntakeSubject(source string) string { return "joinery.intake." + source }

// IntakeInbox is the inbox prefix of a source's own client: with it, nobody else
// sees the broker's answers to the source, and it sees nobody else's.
func IntakeInbox(source string) string { return "_INBOX_" + source }

// Permissions is the part of a nats-server's configuration that lets each
// source publish to its own subject, and do nothing else: not read, not
// acknowledge ($JS.ACK.>), not change streams ($JS.API.>). The services share
// one user that may do all of that. Passwords come from the server's
// environment: JOINERY_NATS_PASSWORD, and NATS_PASSWORD_<SOURCE> with what is no
// letter or digit as an underscore.
func Permissions(sources []string) string {
	var b strings.Builder
	b.WriteString("authorization {\n  users = [\n    { user: joinery, password: $JOINERY_NATS_PASSWORD }\n")
	for _, s := range sources {
		fmt.Fprintf(&b, "    { user: %q, password: $NATS_PASSWORD_%s\n", s, variable(s))
		fmt.Fprintf(&b, "      permissions { publish: { allow: [%q] }, subscribe: { allow: [%q] } } }\n",
			IntakeSubject(s), IntakeInbox(s)+".>")
	}
	b.WriteString("  ]\n}\n")
	return b.String()
}

// variable is a name as environment variables have it.
func variable(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(name))
}
