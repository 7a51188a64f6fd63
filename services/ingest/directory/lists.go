package directory

import (
	"sync"
	"time"

	"github.com/joinery/joinery/pkg/scim"
)

// listFor is how long a list of ids is used again: who reads page after page must
// not have all keys read for each (15 us a key). What other processes made or
// removed shows in lists so much later; what this one did shows at once, and
// lookups by id or by name are not affected.
const listFor = time.Second

// Lists remembers the ids of resources for those who read page after page. It is
// safe for concurrent use; the zero value remembers nothing yet, and nil nothing
// ever.
type Lists struct {
	mu    sync.Mutex
	lists map[string]list
	// drops counts changes, so that a list that was read before one is not
	// remembered after it.
	drops int
}

// list is sorted and never changed.
type list struct {
	ids []string
	at  time.Time
}

func listKey(source string, kind scim.Kind) string { return source + "." + string(kind) }

// of is the remembered list, or what read gives.
func (l *Lists) of(source string, kind scim.Kind, read func() ([]string, error)) ([]string, error) {
	if l == nil {
		return read()
	}
	key := listKey(source, kind)
	l.mu.Lock()
	known, drops := l.lists[key], l.drops
	l.mu.Unlock()
	if known.ids != nil && time.Since(known.at) < listFor {
		return known.ids, nil
	}
	begun := time.Now()
	ids, err := read()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drops == drops {
		if l.lists == nil {
			l.lists = map[string]list{}
		}
		l.lists[key] = list{ids: ids, at: begun}
	}
	return ids, nil
}

// drop forgets a list of which something was made or removed.
func (l *Lists) drop(source string, kind scim.Kind) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drops++
	delete(l.lists, listKey(source, kind))
}
