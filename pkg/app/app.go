// Package app owns the life of a process: its signals and exit code ([Main]), its
// parts that run side by side ([Group]), its HTTP server with health, readiness
// and metrics ([Serve]), and the form of its errors over HTTP ([Problem]). It
// knows nothing of what the process does.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// The exit codes of every Joinery program.
const (
	ExitOK     = 0 // all was done
	ExitFailed = 1 // nothing, or not enough, could be done
	ExitUsage  = 2 // the arguments or the configuration are wrong; nothing was tried
	ExitPartly = 3 // some of it was done, or what was looked for was found (drift, problems)
)

type exit struct {
	code int
	err  error
}

func (e *exit) Error() string { return e.err.Error() }
func (e *exit) Unwrap() error { return e.err }

// Usage marks err as a mistake of the caller: exit code 2. Marking nil gives nil.
func Usage(err error) error { return mark(ExitUsage, err) }

// Partly marks err as partial success: exit code 3. Marking nil gives nil.
func Partly(err error) error { return mark(ExitPartly, err) }

func mark(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exit{code: code, err: err}
}

// ExitCode is the exit code that err stands for; that of an unmarked error is 1.
func ExitCode(err error) int {
	var e *exit
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &e):
		return e.code
	default:
		return ExitFailed
	}
}

// Main runs a program and ends the process with one of the exit codes. The first
// SIGINT or SIGTERM ends ctx, so that run can finish what it has begun; a second
// one kills the process as if nobody had listened. An error is written to stderr,
// after the program's name.
func Main(name string, run func(ctx context.Context) error) {
	os.Exit(execute(context.Background(), name, os.Stderr, run))
}

func execute(ctx context.Context, name string, stderr io.Writer, run func(ctx context.Context) error) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
		case <-ctx.Done():
		}
		// First stop listening: whoever sees the context end knows that the next
		// signal kills.
		signal.Stop(signals)
		cancel()
	}()
	err := run(ctx)
	if err != nil {
		// Nobody is left to tell when stderr is gone.
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", name, err)
	}
	return ExitCode(err)
}
