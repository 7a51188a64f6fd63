package config

// Correlate is how a source that has keys of its own finds people.
type Correlate struct {
	By        []Match `yaml:"by" max:"8" doc:"Attributes that an event shares with the person, tried in order. Without any, the source's keys are the people's."`
	Unmatched string  `yaml:"unmatched" enum:"case own" default:"case" doc:"Whom nobody matches: case puts the event before a person, own makes them a person of their own."`
}

// Match compares an attribute of an event with the same of people.
type Match struct {
	Attribute string `yaml:"attribute" need:"true" doc:"The attribute, as in email."`
	When      string `yaml:"when" doc:"An attribute of the event that must be true, as in email_verified."`
}
