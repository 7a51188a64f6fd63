package identity_test

import (
	"strings"
	"testing"

	"github.com/joinery/joinery/pkg/identity"
)

func TestNamesThatAServerCouldTakeForOneAreOne(t *testing.T) {
	key := identity.NameKey("acme", "userName", "Zoë.Straße@Example.com")
	for _, same := range []string{"zoë.straße@example.com", "ZOE\u0308.STRASSE@EXAMPLE.COM", " zoë.straße@example.com", "Ｚoë.straße@example.com"} {
		if got := identity.NameKey("acme", "userName", same); got != key {
			t.Errorf("%q has another key", same)
		}
	}
	for _, other := range []string{
		identity.NameKey("acme", "userName", "zoe.strasse@example.com"),
		identity.NameKey("git", "userName", "Zoë.Straße@Example.com"),
		identity.NameKey("acme", "nickName", "Zoë.Straße@Example.com"),
	} {
		if other == key {
			t.Errorf("%s stands for two names", key)
		}
	}
	if strings.Contains(strings.ToLower(key), "zo") && strings.Contains(key, "@") {
		t.Errorf("%s shows the name", key)
	}
}
