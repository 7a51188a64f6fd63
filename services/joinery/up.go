package joinery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/joinery/joinery/pkg/config"
	"github.com/spf13/cobra"
)

// up runs all five services in one process.
func (t *terminal) up() *cobra.Command {
	var o plantOptions
	var dir, logPath string
	c := &cobra.Command{
		Use:   "up",
		Short: "Run all five services in one process",
		Long: `Runs ingest, mapper, dispatcher, reconciler and deadletter in one process, over
an embedded broker that keeps everything under --data and an embedded limiter,
or over real ones (--nats, --redis). The configuration folder is watched: a
change is put in force whole, or refused whole and reported.

SIGTERM finishes what is in hand; a killed process goes on where it was.`,
		Example: "  joinery up --config deploy/example --data ./data",
		Args:    exactly(0, "no arguments"),
	}
	f := c.Flags()
	f.StringVar(&dir, "config", env("JOINERY_CONFIG", "."), "configuration folder (JOINERY_CONFIG)")
	f.StringVar(&o.data, "data", env("JOINERY_DATA", "data"), "folder of the embedded broker (JOINERY_DATA)")
	f.StringVar(&o.nats, "nats", env("JOINERY_NATS", ""), "URL of real NATS servers (JOINERY_NATS)")
	f.StringVar(&o.redis, "redis", env("JOINERY_REDIS", ""), "host:port of a real Redis server (JOINERY_REDIS)")
	f.StringVar(&o.brokerListen, "broker-listen", "", "loopback address on which other processes reach the embedded broker")
	f.StringVar(&o.ingest, "listen", "", "address for events (default: ingest.listen, or 127.0.0.1:8080)")
	f.StringVar(&o.console, "console-listen", "", "address of the console (default: console.listen, or 127.0.0.1:8081)")
	f.StringVar(&logPath, "log", "", "file for the log (default: standard error)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		folder, err := loadFolder(dir)
		if err != nil {
			return err
		}
		log, closeLog, err := stderrOr(logPath)
		if err != nil {
			return err
		}
		defer closeLog()
		o.folder, o.log = folder, log
		o.ingest = listen(o.ingest, folder.Joinery.Ingest.Listen, ":8080")
		o.console = listen(o.console, folder.Joinery.Console.Listen, ":8081")
		p, err := newPlant(c.Context(), o)
		if err != nil {
			return fail(err)
		}
		fmt.Fprintf(t.out, "events:  %s/v1/events\nconsole: %s\n", p.ingestURL(), p.consoleURL())
		return p.run(c.Context(), func(ctx context.Context) error { return p.base.Watch(ctx, p.parts) })
	}
	return c
}

// listen is the address to listen on: what was asked for, or what the folder
// says, on loopback where it names no host.
func listen(asked, configured, usual string) string {
	switch {
	case asked != "":
		return asked
	case configured == "" || configured == usual:
		return "127.0.0.1" + usual
	default:
		return configured
	}
}

// loadFolder reads the configuration; what is wrong with it is listed whole.
func loadFolder(dir string) (*config.Folder, error) {
	folder, err := config.Load(dir, os.LookupEnv)
	if err != nil {
		return nil, usage("%w", err)
	}
	return folder, nil
}

// validate checks a configuration folder.
func (t *terminal) validate() *cobra.Command {
	c := &cobra.Command{
		Use:   "validate [DIR]",
		Short: "Check a configuration folder and run its mapping tests",
		Long: `Checks a configuration folder: unknown keys, wrong expressions, impossible
paths, missing secrets, and the tests in it. Everything wrong is reported at
once, with file and line. Exit code 2 where anything is wrong.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("validate takes one folder at most; see: joinery validate --help")
			}
			return nil
		},
	}
	c.RunE = func(_ *cobra.Command, args []string) error {
		dir := env("JOINERY_CONFIG", ".")
		if len(args) == 1 {
			dir = args[0]
		}
		return t.check(dir)
	}
	return c
}

// checked is the result of validate.
type checked struct {
	Folder   string           `json:"folder"`
	Sources  int              `json:"sources"`
	Targets  int              `json:"targets"`
	Tests    int              `json:"tests"`
	Problems []config.Problem `json:"problems"`
}

func (t *terminal) check(dir string) error {
	out := checked{Folder: dir, Problems: []config.Problem{}}
	folder, err := config.Load(dir, os.LookupEnv)
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		out.Problems = problems
	case err != nil:
		return usage("%w", err)
	default:
		out.Sources, out.Targets = len(folder.Sources), len(folder.Targets)
		for _, target := range folder.Targets {
			out.Tests += len(target.Tests)
		}
		out.Problems = append(out.Problems, folder.RunTests()...)
	}
	if err := t.print(out, func(w io.Writer) {
		for _, p := range out.Problems {
			fmt.Fprintln(w, p)
		}
		if len(out.Problems) == 0 {
			fmt.Fprintf(w, "%s: %d sources, %d targets, %d tests: all is well\n", dir, out.Sources, out.Targets, out.Tests)
		}
	}); err != nil {
		return err
	}
	if len(out.Problems) > 0 {
		return exit{code: ExitUsage}
	}
	return nil
}
