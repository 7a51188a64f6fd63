package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Difference is one setting in which the broker differs from the design.
type Difference struct {
	// Name is the stream's or the consumer's.
	Name     string `json:"name"`
	Setting  string `json:"setting"`
	Designed string `json:"designed"`
	Actual   string `json:"actual"`
	// Kept tells that Apply leaves it so: a limit that is wider than designed.
	Kept bool `json:"kept,omitempty"`
	// Why it cannot be changed in place; empty where Apply changes it.
	Incompatible string `json:"incompatible,omitempty"`
}

// String is the difference as one line.
func (d Difference) String() string {
	line := fmt.Sprintf("%s: %s is %s, designed is %s", d.Name, d.Setting, d.Actual, d.Designed)
	switch {
	case d.Incompatible != "":
		return line + ": " + d.Incompatible
	case d.Kept:
		return line + " (kept)"
	}
	return line
}

type config = jetstream.StreamConfig

// setting is one field of a stream that the design decides.
type setting struct {
	name string
	show func(config) string
	set  func(to *config, designed config)
	// keeps tells that the actual value is at least as good as the designed one.
	keeps func(actual, designed config) bool
	// fixed says why the actual value cannot become the designed one, or nothing
	// where it can.
	fixed func(actual, designed config) string
}

func always(reason string) func(_, _ config) string {
	return func(_, _ config) string { return reason }
}

// moveByHand is what to do with a stream that is not one of ours.
const moveByHand = "back it up (nats stream backup), delete it, and let Joinery make it again"

// settings is what the design decides about a stream. Everything else (placement,
// compression, metadata) is the operator's.
func settings() []setting {
	return slices.Concat(natures(), limits(), permissions())
}

// natures are what a stream is: what cannot be changed without losing something.
func natures() []setting {
	return []setting{
		{
			name: "storage", show: func(c config) string { return c.Storage.String() },
			fixed: always("a stream cannot be moved to other storage: " + moveByHand),
		},
		{
			name: "retention", show: func(c config) string { return c.Retention.String() },
			fixed: always("other retention deletes what others still need: " + moveByHand),
		},
		{
			name: "persist mode", show: func(c config) string { return c.PersistMode.String() },
			fixed: always("it acknowledges messages before they are on disk: " + moveByHand),
		},
		{
			name: "replicas", show: func(c config) string { return fmt.Sprint(c.Replicas) },
			set: func(to *config, d config) { to.Replicas = d.Replicas },
			fixed: func(a, d config) string {
				if a.Replicas > d.Replicas {
					return fmt.Sprintf("copies are not given up without being told: set broker.replicas: %d", a.Replicas)
				}
				return ""
			},
		},
		{
			name: "messages a subject", show: func(c config) string { return limited(c.MaxMsgsPerSubject) },
			set: func(to *config, d config) { to.MaxMsgsPerSubject = d.MaxMsgsPerSubject },
			fixed: func(a, d config) string {
				if narrower(d.MaxMsgsPerSubject, a.MaxMsgsPerSubject) {
					return "that would delete messages: " + moveByHand
				}
				return ""
			},
		},
	}
}

// limits are never made stricter than they are: what that deletes is gone.
func limits() []setting {
	return []setting{
		{
			name: "max age", show: func(c config) string { return limited(c.MaxAge) },
			set:   func(to *config, d config) { to.MaxAge = d.MaxAge },
			keeps: func(a, d config) bool { return narrower(d.MaxAge, a.MaxAge) },
		},
		{
			name: "max bytes", show: func(c config) string { return limited(c.MaxBytes) },
			set:   func(to *config, d config) { to.MaxBytes = d.MaxBytes },
			keeps: func(a, d config) bool { return narrower(d.MaxBytes, a.MaxBytes) },
		},
		{
			name: "max message size", show: func(c config) string { return limited(c.MaxMsgSize) },
			set:   func(to *config, d config) { to.MaxMsgSize = d.MaxMsgSize },
			keeps: func(a, d config) bool { return narrower(d.MaxMsgSize, a.MaxMsgSize) },
		},
	}
}

// permissions are what a stream lets its users do, and what it says of itself.
func permissions() []setting {
	return []setting{
		{
			name: "discard", show: func(c config) string { return c.Discard.String() },
			set: func(to *config, d config) { to.Discard = d.Discard },
		},
		{
			name: "subjects", show: func(c config) string { return strings.Join(c.Subjects, " ") },
			set: func(to *config, d config) { to.Subjects = d.Subjects },
		},
		{
			name: "duplicate window", show: func(c config) string { return c.Duplicates.String() },
			set: func(to *config, d config) { to.Duplicates = d.Duplicates },
		},
		{
			name: "purpose", show: func(c config) string { return c.Description },
			set: func(to *config, d config) { to.Description = d.Description },
		},
		{
			name: "atomic batches", show: func(c config) string { return fmt.Sprint(c.AllowAtomicPublish) },
			set: func(to *config, d config) { to.AllowAtomicPublish = d.AllowAtomicPublish },
		},
		{
			name: "direct reads", show: func(c config) string { return fmt.Sprint(c.AllowDirect) },
			set: func(to *config, d config) { to.AllowDirect = d.AllowDirect },
		},
		{
			name: "rollups", show: func(c config) string { return fmt.Sprint(c.AllowRollup) },
			set: func(to *config, d config) { to.AllowRollup = d.AllowRollup },
		},
		{
			// The broker never forbids them again.
			name: "schedules", show: func(c config) string { return fmt.Sprint(c.AllowMsgSchedules) },
			set:   func(to *config, d config) { to.AllowMsgSchedules = d.AllowMsgSchedules },
			keeps: func(a, _ config) bool { return a.AllowMsgSchedules },
		},
		{
			// The broker does not let go of either; both only protect.
			name: "deletes denied", show: func(c config) string { return fmt.Sprint(c.DenyDelete) },
			set:   func(to *config, d config) { to.DenyDelete = d.DenyDelete },
			keeps: func(a, _ config) bool { return a.DenyDelete },
		},
		{
			name: "purges denied", show: func(c config) string { return fmt.Sprint(c.DenyPurge) },
			set: func(to *config, d config) { to.DenyPurge = d.DenyPurge },
			fixed: func(a, _ config) string {
				if a.DenyPurge {
					return "the broker never allows again what was denied: " + moveByHand
				}
				return ""
			},
		},
	}
}

// narrower tells that limit a is stricter than b, where 0 or less is no limit.
func narrower[T ~int32 | ~int64](a, b T) bool {
	return a > 0 && (b <= 0 || a < b)
}

// limited shows a limit where 0 or less is none.
func limited[T ~int32 | ~int64](n T) string {
	if n <= 0 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

// compare tells how a stream differs from the design in this setting.
func (s setting) compare(actual, designed config) (d Difference, differs bool) {
	is, should := s.show(actual), s.show(designed)
	d = Difference{Name: designed.Name, Setting: s.name, Designed: should, Actual: is}
	switch {
	case s.keeps != nil && s.keeps(actual, designed):
		d.Kept = true
	case s.fixed != nil:
		d.Incompatible = s.fixed(actual, designed)
	}
	return d, is != should
}

// differences are the settings of a stream that are not as designed.
func differences(actual, designed config) []Difference {
	var out []Difference
	for _, s := range settings() {
		if d, differs := s.compare(actual, designed); differs {
			out = append(out, d)
		}
	}
	return out
}

// merge is the actual stream brought in line with the design, and whether that
// changes anything.
func merge(actual, designed config) (merged config, changes bool, err error) {
	merged = actual
	var refused []error
	for _, s := range settings() {
		d, differs := s.compare(actual, designed)
		switch {
		case !differs || d.Kept:
		case d.Incompatible != "":
			refused = append(refused, fmt.Errorf("%w: %s", ErrIncompatible, d))
		default:
			s.set(&merged, designed)
			changes = true
		}
	}
	return merged, changes, errors.Join(refused...)
}

// Compare lists where the broker differs from the topology. Consumers that the
// topology does not name are reported too: they hold messages of targets that
// are no longer configured.
func (c *Conn) Compare(ctx context.Context, t Topology) ([]Difference, error) {
	var out []Difference
	for _, designed := range t.configs() {
		s, err := c.js.Stream(ctx, designed.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			out = append(out, Difference{Name: designed.Name, Setting: "stream", Designed: "exists", Actual: "missing"})
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open stream %s: %w", designed.Name, err)
		}
		out = append(out, differences(s.CachedInfo().Config, designed)...)
	}
	for _, s := range t.Streams {
		found, err := c.compareConsumers(ctx, s.Name, t.Consumers)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func (c *Conn) compareConsumers(ctx context.Context, stream string, designed []Consumer) ([]Difference, error) {
	infos, err := c.consumers(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil // reported as missing already
	}
	if err != nil {
		return nil, err
	}
	actual := map[string]jetstream.ConsumerConfig{}
	for _, info := range infos {
		actual[info.Name] = info.Config
	}
	var out []Difference
	for _, k := range designed {
		if k.Stream != stream {
			continue
		}
		cfg, ok := actual[k.Durable]
		if !ok {
			out = append(out, Difference{Name: k.Durable, Setting: "consumer", Designed: "exists", Actual: "missing"})
			continue
		}
		delete(actual, k.Durable)
		out = append(out, k.differences(cfg)...)
	}
	for name := range actual {
		out = append(out, Difference{Name: name, Setting: "consumer", Designed: "missing", Actual: "exists", Kept: true})
	}
	slices.SortFunc(out, func(a, b Difference) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (k Consumer) differences(actual jetstream.ConsumerConfig) []Difference {
	designed := k.config()
	var out []Difference
	add := func(setting string, should, is any) {
		if fmt.Sprint(should) != fmt.Sprint(is) {
			out = append(out, Difference{Name: k.Durable, Setting: setting, Designed: fmt.Sprint(should), Actual: fmt.Sprint(is)})
		}
	}
	add("filters", designed.FilterSubjects, filtersOf(actual))
	add("acknowledgement", designed.AckPolicy, actual.AckPolicy)
	add("wait for acknowledgement", designed.AckWait, actual.AckWait)
	add("deliveries", designed.MaxDeliver, actual.MaxDeliver)
	add("max pending", designed.MaxAckPending, actual.MaxAckPending)
	add("deliver", designed.DeliverPolicy, actual.DeliverPolicy)
	return out
}
