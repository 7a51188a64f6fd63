package wiring

import (
	"github.com/joinery/joinery/pkg/config"
	"github.com/joinery/joinery/services/ingest/feed"
)

func feedSettings(f config.Feeds) feed.Settings {
	return feed.Settings{
		Leavers: f.Absence == "leaver", Confirm: f.Confirm, ConfirmAfter: f.ConfirmAfter, MinPercent: f.MinPercent,
		MaxLeavers: f.MaxLeavers, MaxLeaversPercent: f.MaxLeaversPercent, MaxUnreadable: f.MaxUnreadable,
		Required: f.Required, Comma: f.Comma(),
	}
}
