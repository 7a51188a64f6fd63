// Package joinery is the operator's command: all five services in one process
// for a laptop, a demo and tests (up, demo, sim), and a client of the console's
// API for everything that an operator asks or decides.
package joinery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/joinery/joinery/pkg/app"
	"github.com/spf13/cobra"
)

// The exit codes, the same for every command.
const (
	ExitOK     = app.ExitOK
	ExitFailed = app.ExitFailed
	ExitUsage  = app.ExitUsage
	ExitPartly = app.ExitPartly
)

// exit is an error with an exit code. A nil cause prints nothing more.
type exit struct {
	code  int
	cause error
}

func (e exit) Error() string {
	if e.cause == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.cause.Error()
}

func (e exit) Unwrap() error { return e.cause }

func usage(format string, args ...any) error { return exit{ExitUsage, fmt.Errorf(format, args...)} }

// fail keeps the exit code that a part of the process gave its error.
func fail(err error) error { return exit{app.ExitCode(err), err} }

func partly(cause error) error { return exit{ExitPartly, cause} }

// Main runs one command line and gives the exit code.
func Main(args []string, in io.Reader, out, errs io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() { // a second signal ends the process at once
		<-ctx.Done()
		stop()
	}()
	root := Command(in, out, errs)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var e exit
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &e):
		if e.cause != nil {
			fmt.Fprintln(errs, "joinery:", e.cause)
		}
		return e.code
	default:
		fmt.Fprintln(errs, "joinery:", err)
		if strings.HasPrefix(err.Error(), "unknown command") { // cobra has no type for it
			return ExitUsage
		}
		return ExitFailed
	}
}

// terminal is what commands read from and write to.
type terminal struct {
	in   io.Reader
	out  io.Writer
	errs io.Writer
	json bool
}

// Command is the whole command tree.
func Command(in io.Reader, out, errs io.Writer) *cobra.Command {
	t := &terminal{in: in, out: out, errs: errs}
	root := &cobra.Command{
		Use:   "joinery",
		Short: "Keeps accounts in SaaS applications in step with the people who should have them",
		Long: `Joinery keeps accounts in SaaS applications in step with the people who should
have them: HR and identity systems say what happened to a person, and Joinery
makes it so over SCIM 2.0, in order, at the rate each application allows.

Exit codes: 0 done; 1 failed; 2 wrong command line or configuration;
3 done, but something differs, is open or was refused.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%w\nsee: %s --help", err, c.CommandPath())
	})
	root.PersistentFlags().BoolVar(&t.json, "json", false, "print JSON instead of tables")
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run it:"},
		&cobra.Group{ID: "ask", Title: "Ask and decide:"},
	)
	for _, c := range []*cobra.Command{t.up(), t.demo(), t.sim(), t.validate(), t.schema(), t.send(), t.bench()} {
		c.GroupID = "run"
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{t.identity(), t.trace(), t.targets(), t.deadletter(), t.reconcile(), t.audit(), t.leavers(), t.scheduled(), t.probe(), t.profiles(), t.topology()} {
		c.GroupID = "ask"
		root.AddCommand(c)
	}
	return root
}

// exactly is cobra.ExactArgs with an error that says what to do.
// family makes a command that has others below it refuse what is none of them: a
// mistyped "pause" must not look as if it had paused anything.
func family(c *cobra.Command) {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage("there is no %s %s; see: %s --help", c.CommandPath(), args[0], c.CommandPath())
		}
		return c.Help()
	}
}

func exactly(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("%s takes %s; see: %s --help", c.CommandPath(), what, c.CommandPath())
		}
		return nil
	}
}
