package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/joinery/joinery/pkg/mapping"
)

// Source is a file of sources/: one system that tells of people.
type Source struct {
	Name        string     `yaml:"source" need:"true" doc:"The name of the source, which is also the file's."`
	Auth        SourceAuth `yaml:"auth" need:"true" doc:"How the source proves who it is; exactly one way."`
	IdentityKey string     `yaml:"identity_key" need:"rule" expr:"true" doc:"CEL over event: what identifies a person for ever, as in event.data.employee_id."`
	Kind        string     `yaml:"kind" expr:"true" doc:"CEL over event: what happened (joined, changed, left ...). Without it, the last part of the event's type."`
	Attributes  string     `yaml:"attributes" expr:"true" doc:"CEL over event: a map of what it says of the person. Without it, event.data."`
	Effective   string     `yaml:"effective" expr:"true" doc:"CEL over event: from when it holds, a time or a date. Without it, the event's effectivetime, or at once."`
	TimeZone    string     `yaml:"time_zone" expr:"true" doc:"CEL over event: the IANA name of the zone in which dates are meant. Without it, the event's timezone, or UTC."`
	Employment  string     `yaml:"employment" expr:"true" doc:"CEL over event: which of several employments of the person is meant. Without it, the event's employment."`
	Rescinds    string     `yaml:"rescinds" expr:"true" doc:"CEL over event: what a rescinded event takes back, a kind (left) or the id of an event. Without it, the event's rescinds, or the hire."`
	FormerKey   string     `yaml:"former_key" expr:"true" doc:"CEL over event: the key that the source knew the person by before, as in a rehire under a new employee id. Without it, the event's formerkey."`

	Feeds Feeds `yaml:"feeds" doc:"What whole snapshots (PUT /v1/feeds/{source}) may do."`
	SCIM  SCIM  `yaml:"scim" doc:"How an identity provider meets it at /scim/v2/{source}."`

	Correlate Correlate `yaml:"correlate" doc:"How people whom the source names by keys of its own are found among those of the other sources."`

	// Rules are the compiled expressions.
	Rules *mapping.Source
}

// SourceAuth is how a source proves who it is. One of them is set.
type SourceAuth struct {
	HMAC   *HMAC        `yaml:"hmac_sha256" doc:"A signature over the body with a shared secret."`
	Bearer *Secret      `yaml:"bearer" doc:"A bearer token."`
	Basic  *Basic       `yaml:"basic" doc:"A user name and a password."`
	JWKS   *JWKS        `yaml:"jwks" doc:"Tokens that are signed with keys which the source publishes: bearer tokens, and security event tokens."`
	NATS   *Publisher   `yaml:"nats" doc:"The broker's word: the source publishes to joinery.intake.<source>, and the broker's permissions say who may."`
	MTLS   *Unsupported `yaml:"mtls" doc:"Not supported yet."`
}

// HMAC is a signature in a header: HMAC-SHA256 over the raw body.
type HMAC struct {
	Header   string `yaml:"header" need:"true" doc:"The header that holds the signature."`
	Secret   Secret `yaml:"secret" need:"true" doc:"The shared secret."`
	Encoding string `yaml:"encoding" enum:"hex base64" default:"hex" doc:"How the signature is written."`
	Prefix   string `yaml:"prefix" doc:"What stands before the signature in the header, as in sha256=."`
}

// Basic is a user name and a password.
type Basic struct {
	Username string `yaml:"username" need:"true" doc:"The user name."`
	Password Secret `yaml:"password" need:"true" doc:"The password."`
}

// Publisher is a source that publishes over NATS. It has no settings of its own.
type Publisher struct{}

// Unsupported is a way that the design names and this version does not have.
type Unsupported struct{}

func (*Unsupported) decode(d *decoder, n *node, path string) {
	d.report(n, "%s is not supported yet", path)
}

// check reports what the tags cannot say, and compiles the expressions.
func (s *Source) check(d *decoder) {
	if d.given("auth") {
		d.one("auth", s.Auth)
	}
	if s.Auth.HMAC != nil {
		d.header("auth.hmac_sha256.header", s.Auth.HMAC.Header)
	}
	if s.Auth.JWKS != nil {
		s.Auth.JWKS.check(d, "auth.jwks")
	}
	s.SCIM.check(d, "scim")
	spec := mapping.SourceSpec{IdentityKey: s.IdentityKey, Kind: s.Kind, Attributes: s.Attributes}
	spec.Course = mapping.CourseSpec{Effective: s.Effective, TimeZone: s.TimeZone, Employment: s.Employment, Rescinds: s.Rescinds, FormerKey: s.FormerKey}
	rules, problems := mapping.CompileSource(spec)
	s.Rules = rules
	d.rules(problems)
}

// one reports a struct of which not exactly one field is set. Those beside the
// choice do not count.
func (d *decoder) one(path string, choice any, beside ...string) {
	var keys, set []string
	v := reflect.ValueOf(choice)
	for f := range fields(v.Type()) {
		key := f.Tag.Get("yaml")
		if slices.Contains(beside, key) {
			continue
		}
		keys = append(keys, key)
		if d.given(join(path, key)) {
			set = append(set, key)
		}
	}
	switch {
	case len(set) == 1:
	case len(set) == 0 && slices.ContainsFunc(d.at(path).entries, func(e entry) bool { return !slices.Contains(beside, e.key) }):
		// reported as unknown keys
	case len(set) == 0:
		d.wrong(path, "%s is empty: one of %s is needed", path, strings.Join(keys, ", "))
	default:
		d.wrong(path, "%s names %s: one is needed", path, strings.Join(set, " and "))
	}
}
