package joinery

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/simulator"
	"github.com/spf13/cobra"
)

// sim runs a simulated service provider.
func (t *terminal) sim() *cobra.Command {
	var (
		listen, token, data string
		rate                int
		faults              []string
		options             simulator.Options
		vendor              temper
	)
	c := &cobra.Command{
		Use:   "sim",
		Short: "Run a simulated SCIM 2.0 service provider",
		Long: `Runs a simulated SCIM 2.0 service provider: strict about what it is sent,
exact about what it did (GET /_sim/commits, /_sim/requests, /_sim/stats), and
able to misbehave (--fault, or POST /_sim/faults with fault=...).

` + faultHelp(),
		Example: "  joinery sim --profile slack --quirk page.max_count=5\n  joinery sim --listen 127.0.0.1:9001 --token secret\n" +
			"  joinery sim --rate 10 --fault 429:retry-after=5s:count=3:method=POST",
		Args: exactly(0, "no arguments"),
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:9001", "address to listen on")
	f.StringVar(&options.Base, "base", "/scim/v2", "path in front of every endpoint")
	f.StringVar(&token, "token", "", "bearer token that callers must present (default: JOINERY_SIM_TOKEN; none asks for none)")
	f.StringVar(&data, "data", "", "file that keeps what was committed, so that it can be started again as it was")
	f.IntVar(&rate, "rate", 0, "requests a second that it takes; 0 takes all")
	f.Uint64Var(&options.Seed, "seed", 1, "makes faults with a chance repeatable")
	f.IntVar(&options.PageMax, "page", 100, "most resources in a page")
	f.BoolVar(&options.NoPatch, "no-patch", false, "refuse PATCH with 501")
	f.DurationVar(&options.Visibility, "visibility", 0, "how long new resources stay invisible to filters")
	f.StringArrayVar(&faults, "fault", nil, "a fault, NAME[:option=value]...; may be repeated")
	vendor.flags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := vendor.apply(&options, &rate, c.Flags().Changed); err != nil {
			return err
		}
		options.Token, options.Rate, options.Control = token, rate, true
		if token == "" {
			options.Token = os.Getenv("JOINERY_SIM_TOKEN")
		}
		s, closeJournal, err := simulated(options, data)
		if err != nil {
			return err
		}
		defer closeJournal()
		for _, text := range faults {
			fault, err := simulator.ParseFault(text)
			if err != nil {
				return usage("%w", err)
			}
			s.Inject(fault)
		}
		l, err := (&net.ListenConfig{}).Listen(c.Context(), "tcp", listen)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		fmt.Fprintf(t.out, "simulated service provider at http://%s%s\n", l.Addr(), options.Base)
		server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
		go func() {
			<-c.Context().Done()
			_ = server.Close()
		}()
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	}
	return c
}

func faultHelp() string {
	var b strings.Builder
	b.WriteString("Faults (options: method, path, count, skip, chance, retry-after, for):\n")
	known := simulator.Faults()
	for _, name := range slices.Sorted(maps.Keys(known)) {
		fmt.Fprintf(&b, "  %-14s %s\n", name, known[name])
	}
	return b.String()
}

// simulated makes a service provider that goes on from its journal.
func simulated(o simulator.Options, path string) (*simulator.Server, func(), error) {
	if path == "" {
		return simulator.New(o), func() {}, nil
	}
	journal, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the simulator's journal: %w", err)
	}
	o.Journal = journal
	s := simulator.New(o)
	if err := s.Replay(journal); err != nil {
		_ = journal.Close()
		return nil, nil, err
	}
	return s, func() { _ = journal.Close() }, nil
}
