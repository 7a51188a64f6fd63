package secevent

import "github.com/joinery/joinery/pkg/event"

// Rules read the events of tokens: by the source's own rules where they apply,
// and else by the table of this package.
type Rules struct{ event.Rules }

// Kind is what the source's rule says, or what the event means.
func (r Rules) Kind(e map[string]any) (string, bool, error) {
	if kind, ok, err := r.Rules.Kind(e); ok {
		return kind, ok, err
	}
	kind, _ := data(e)["kind"].(string)
	return kind, true, nil
}

// Attributes is what the source's rule makes of the event, or the attributes of
// the resource. The rule is not asked about an event that says nothing of them:
// one that fails for want of an e-mail address must not stop a revocation.
func (r Rules) Attributes(e map[string]any) (map[string]any, bool, error) {
	said, _ := data(e)["attributes"].(map[string]any)
	unread, _ := data(e)["unread"].([]any)
	if len(said)+len(unread) == 0 {
		return map[string]any{}, true, nil
	}
	if attributes, ok, err := r.Rules.Attributes(e); ok {
		return attributes, ok, err
	}
	return said, true, nil
}

// Course is nothing: a token tells of what holds now, and a rule for other events
// of the source must not stop a revocation.
func (Rules) Course(map[string]any) (map[string]string, error) { return nil, nil }

func data(e map[string]any) map[string]any {
	out, _ := e["data"].(map[string]any)
	return out
}
