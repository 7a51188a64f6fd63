package joinery

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/joinery/joinery/pkg/stream"
	"github.com/spf13/cobra"
)

// sender posts CloudEvents to ingest.
type sender struct {
	base   string
	source string
	secret string
	http   *http.Client
	// nats is a broker to publish to instead, "" for none.
	nats string
	// deliver hands one event over.
	deliver func(ctx context.Context, event []byte) (sent, error)
}

// sent is the answer for one accepted event.
type sent struct {
	ID     string `json:"id"`
	Trace  string `json:"trace,omitempty"`
	Status string `json:"status"`
}

// send posts events from a file.
func (t *terminal) send() *cobra.Command {
	s := &sender{http: &http.Client{Timeout: 60 * time.Second}}
	c := &cobra.Command{
		Use:   "send FILE|-",
		Short: "Send events to ingest: CloudEvents, one JSON object a line",
		Long: `Sends CloudEvents 1.0 in JSON, one object a line, to ingest. An event that was
sent before is answered "duplicate" and changes nothing, so a file may be sent
again after a failure. While the broker cannot take events, sending waits as
long as ingest asks.

With --snapshot it sends a whole listing of the source's people instead, and
ingest turns the difference to the last good one into events. --dry-run says
what would happen; --allow lets one refused snapshot through, by its hash.

With --nats it publishes the events to joinery.intake.<source> instead. That
they are accepted means then that they are stored; one that ingest refuses later
becomes a case (joinery deadletter list).

Exit code 3 where some events, or the snapshot, were refused.`,
		Example: "  joinery send --source hr events.ndjson\n  generate | joinery send --source hr -\n  joinery send --source hr --snapshot people.csv --dry-run\n  joinery send --source hr --nats nats://hr:secret@nats:4222 events.ndjson",
	}
	snap := addSnapshot(c)
	c.Args = func(c *cobra.Command, args []string) error {
		if snap.path != "" {
			return exactly(0, "no file beside --snapshot")(c, args)
		}
		return exactly(1, "one file, or - for standard input")(c, args)
	}
	f := c.Flags()
	f.StringVar(&s.base, "ingest", env("JOINERY_INGEST", "http://127.0.0.1:8080"), "address of ingest (JOINERY_INGEST)")
	f.StringVar(&s.source, "source", env("JOINERY_SOURCE", ""), "the source that the events come from (JOINERY_SOURCE)")
	f.StringVar(&s.secret, "secret", "", "the source's bearer token (default: JOINERY_SOURCE_TOKEN)")
	f.StringVar(&s.nats, "nats", "", "publish over this NATS server; the URL holds the source's user and password")
	c.RunE = func(c *cobra.Command, args []string) error {
		if s.secret == "" {
			s.secret = os.Getenv("JOINERY_SOURCE_TOKEN")
		}
		if snap.path != "" {
			return t.sendSnapshot(c.Context(), s, snap)
		}
		in, closeIn, err := t.open(args[0])
		if err != nil {
			return err
		}
		defer closeIn()
		s.deliver = s.post
		if s.nats != "" {
			closeConn, err := s.connect(c.Context())
			if err != nil {
				return err
			}
			defer closeConn()
		}
		return t.sendAll(c.Context(), s, in)
	}
	return c
}

func (t *terminal) open(path string) (io.Reader, func(), error) {
	if path == "-" {
		return t.in, func() {}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, usage("open the events: %w", err)
	}
	return f, func() { _ = f.Close() }, nil
}

// report is what became of a file of events.
type report struct {
	Accepted  int      `json:"accepted"`
	Duplicate int      `json:"duplicate"`
	Refused   []string `json:"refused"`
	Results   []sent   `json:"results,omitempty"`
}

func (t *terminal) sendAll(ctx context.Context, s *sender, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 4<<20)
	out := report{Refused: []string{}}
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		result, err := s.deliver(ctx, line)
		var refusal problem
		switch {
		case errors.As(err, &refusal):
			out.Refused = append(out.Refused, fmt.Sprintf("line %d: %s", n, refusal.Detail))
		case err != nil:
			return fmt.Errorf("line %d: %w; what was sent before it is accepted, and the file can be sent again", n, err)
		case result.Status == "duplicate":
			out.Duplicate++
		default:
			out.Accepted++
		}
		if err == nil {
			out.Results = append(out.Results, result)
		}
	}
	if err := lines.Err(); err != nil {
		return usage("read the events: %w", err)
	}
	if err := t.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%d accepted, %d duplicate, %d refused\n", out.Accepted, out.Duplicate, len(out.Refused))
		for _, why := range out.Refused {
			row(w, why)
		}
	}); err != nil {
		return err
	}
	if len(out.Refused) > 0 {
		return partly(nil)
	}
	return nil
}

// connect makes the sender publish.
func (s *sender) connect(ctx context.Context) (func(), error) {
	if s.source == "" {
		return nil, usage("publish events: name the source that they come from with --source")
	}
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	conn, err := stream.Dial(ctx, stream.Options{URL: s.nats, Name: s.source, InboxPrefix: stream.IntakeInbox(s.source)})
	if err != nil {
		return nil, fmt.Errorf("publish events: %w", err)
	}
	publisher := conn.Publisher()
	s.deliver = func(ctx context.Context, line []byte) (sent, error) {
		var event struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(line, &event); err != nil || event.ID == "" {
			return sent{}, problem{Detail: "not a JSON object with an id"}
		}
		id := s.source + ":" + event.ID
		msg := message.NewMessage(id, line)
		msg.SetContext(ctx)
		msg.Metadata.Set("Content-Type", "application/cloudevents+json")
		return sent{ID: id, Status: "published"}, publisher.Publish(stream.IntakeSubject(s.source), msg)
	}
	return conn.Close, nil
}

// dialPatience bounds the wait for a broker to publish to.
const dialPatience = 10 * time.Second

// patience bounds how long one event waits for a broker that cannot take it.
const patience = 5 * time.Minute

// post sends one event, waiting while ingest asks to.
func (s *sender) post(ctx context.Context, event []byte) (sent, error) {
	deadline := time.Now().Add(patience)
	for {
		result, pause, err := s.try(ctx, event)
		if pause == 0 || time.Now().Add(pause).After(deadline) {
			return result, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return result, ctx.Err()
		}
	}
}

// try sends one event once; a pause above zero asks to try again after it.
func (s *sender) try(ctx context.Context, event []byte) (sent, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(s.base, "/")+"/v1/events", bytes.NewReader(event))
	if err != nil {
		return sent{}, 0, usage("ingest address: %w", err)
	}
	req.Header.Set("Content-Type", "application/cloudevents+json")
	if s.source != "" {
		req.Header.Set("X-Joinery-Source", s.source)
	}
	if s.secret != "" {
		req.Header.Set("Authorization", "Bearer "+s.secret)
	}
	res, err := s.http.Do(req)
	if err != nil {
		return sent{}, 0, fmt.Errorf("reach ingest at %s: %w; is `joinery up` running, or is --ingest wrong?", s.base, err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return sent{}, time.Second, fmt.Errorf("read ingest's answer: %w", err)
	}
	switch {
	case res.StatusCode == http.StatusServiceUnavailable, res.StatusCode == http.StatusTooManyRequests:
		return sent{}, retryAfter(res), fmt.Errorf("ingest cannot take events now (%d)", res.StatusCode)
	case res.StatusCode >= http.StatusBadRequest:
		return sent{}, 0, refusal(res.StatusCode, data)
	}
	var result sent
	if err := json.Unmarshal(data, &result); err != nil {
		return sent{}, 0, fmt.Errorf("read ingest's answer: %w", err)
	}
	return result, 0, nil
}

func retryAfter(res *http.Response) time.Duration {
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	return time.Second
}
