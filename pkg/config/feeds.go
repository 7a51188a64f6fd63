package config

import "time"

// Feeds says what a source's whole snapshots may do. Without any of it a
// snapshot adds and changes people, and ends nobody.
type Feeds struct {
	Absence           string        `yaml:"absence" enum:"ignore leaver" default:"ignore" doc:"What it means that a person is not in a snapshot any more: nothing, or that they left once enough snapshots agree."`
	Confirm           int           `yaml:"confirm" min:"2" max:"10" default:"2" doc:"How many complete snapshots in a row must lack a person."`
	ConfirmAfter      time.Duration `yaml:"confirm_after" min:"0s" default:"1h" doc:"How far apart these snapshots must have been taken."`
	MinPercent        int           `yaml:"min_percent" min:"0" max:"100" default:"90" doc:"How many percent of the people of the last good snapshot must be there again."`
	MaxLeavers        int           `yaml:"max_leavers" min:"0" max:"1000000" default:"500" doc:"How many people one snapshot may end."`
	MaxLeaversPercent int           `yaml:"max_leavers_percent" min:"0" max:"100" default:"5" doc:"How many percent of its people one snapshot may end, but always up to 5 people; the smaller of the two limits counts."`
	MaxUnreadable     int           `yaml:"max_unreadable" min:"0" max:"100000" default:"0" doc:"How many rows may be unreadable. A snapshot with any counts nobody as absent."`
	Required          []string      `yaml:"required" doc:"Columns that must be there, with a value in every row."`
	Delimiter         string        `yaml:"delimiter" enum:"comma semicolon tab pipe" default:"comma" doc:"What separates the columns of CSV."`
}

// Comma is the character that separates columns.
func (f Feeds) Comma() rune {
	switch f.Delimiter {
	case "semicolon":
		return ';'
	case "tab":
		return '\t'
	case "pipe":
		return '|'
	default:
		return ','
	}
}
