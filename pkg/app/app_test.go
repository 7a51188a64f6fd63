package app_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/app"
)

// childVariable makes the test binary behave as a program, because exit codes and
// signals belong to a process.
const childVariable = "JOINERY_APP_TEST_CHILD"

func TestMain(m *testing.M) {
	if behaviour := os.Getenv(childVariable); behaviour != "" {
		app.Main("child", children()[behaviour])
	}
	os.Exit(m.Run())
}

func children() map[string]func(context.Context) error {
	plain := errors.New("the disk is full")
	return map[string]func(context.Context) error{
		"ok":     func(context.Context) error { return nil },
		"failed": func(context.Context) error { return plain },
		"usage":  func(context.Context) error { return fmt.Errorf("read flags: %w", app.Usage(plain)) },
		"partly": func(context.Context) error { return app.Partly(plain) },
		"stops": func(ctx context.Context) error {
			fmt.Println("waiting")
			<-ctx.Done()
			return nil
		},
		"hangs": func(ctx context.Context) error {
			fmt.Println("waiting")
			<-ctx.Done()
			fmt.Println("stopping")
			select {}
		},
	}
}

func child(t *testing.T, behaviour string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	// The race detector otherwise sleeps a second at every exit.
	cmd.Env = append(os.Environ(), childVariable+"="+behaviour, "GORACE=atexit_sleep_ms=0")
	return cmd
}

func TestTheExitCodeTellsHowItWent(t *testing.T) {
	type ending struct {
		Code   int
		Stderr string
	}
	for behaviour, want := range map[string]ending{
		"ok":     {app.ExitOK, ""},
		"failed": {app.ExitFailed, "child: the disk is full\n"},
		"usage":  {app.ExitUsage, "child: read flags: the disk is full\n"},
		"partly": {app.ExitPartly, "child: the disk is full\n"},
	} {
		cmd := child(t, behaviour)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		// The code says it all: Run's error repeats it.
		_ = cmd.Run()
		if diff := cmp.Diff(want, ending{cmd.ProcessState.ExitCode(), stderr.String()}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", behaviour, diff)
		}
	}
}

func TestMarksOfNothingAreNothing(t *testing.T) {
	if app.Usage(nil) != nil || app.Partly(nil) != nil || app.ExitCode(nil) != app.ExitOK {
		t.Error("a nil error became an error")
	}
	cause := errors.New("cause")
	if !errors.Is(app.Usage(cause), cause) {
		t.Error("the mark hides its cause")
	}
}

func TestTheFirstSignalStopsInOrder(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		cmd, lines := startChild(t, "stops")
		lines("waiting")
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: ended with %v, want an orderly stop", sig, err)
		}
	}
}

func TestTheSecondSignalKills(t *testing.T) {
	cmd, lines := startChild(t, "hangs")
	lines("waiting")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	lines("stopping")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v, want killed by the signal", cmd.ProcessState)
	}
}

// startChild gives the running child and a function that reads its next line.
func startChild(t *testing.T, behaviour string) (*exec.Cmd, func(want string)) {
	t.Helper()
	cmd := child(t, behaviour)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(out)
	return cmd, func(want string) {
		t.Helper()
		if !scanner.Scan() || scanner.Text() != want {
			t.Fatalf("the child said %q, want %q", scanner.Text(), want)
		}
	}
}
