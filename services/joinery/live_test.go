//go:build live

package joinery

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/simulator"
)

// bin is where `make live` put the programs.
func bin(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("JOINERY_LIVE_BIN")
	if dir == "" {
		t.Fatal("JOINERY_LIVE_BIN is not set: run make live")
	}
	return filepath.Join(dir, name)
}

// noDuplicates reads a target's own journal: no person may ever have had two
// accounts. It shares no code with what the demo compares.
func noDuplicates(t *testing.T, data string) {
	t.Helper()
	journals, err := filepath.Glob(filepath.Join(data, "target-*.jsonl"))
	if err != nil || len(journals) == 0 {
		t.Fatal("no journals", err)
	}
	for _, path := range journals {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		made := map[string]int{}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			var c simulator.Commit
			if err := json.Unmarshal(lines.Bytes(), &c); err == nil && c.Verb == "create" {
				made[c.After.ExternalID()]++
			}
		}
		_ = f.Close()
		for who, n := range made {
			if n > 1 {
				t.Errorf("%s: %s was made %d times", filepath.Base(path), who, n)
			}
		}
	}
}

// kills is how many random moments the all-in-one is killed at.
const kills = 20

func TestKilledAtAnyMomentItEndsWithTheSameTable(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for i := range kills {
		data := t.TempDir()
		args := []string{"demo", "--data", data, "--people", "60", "--json"}
		moment := 150*time.Millisecond + time.Duration(rng.Int64N(int64(4*time.Second)))
		first := exec.CommandContext(t.Context(), bin(t, "joinery"), args...)
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- first.Wait() }()
		early := false
		select {
		case err := <-ended:
			early = true
			if err != nil {
				t.Errorf("run %d ended by itself: %v", i, err)
			}
		case <-time.After(moment):
			_ = first.Process.Kill() // SIGKILL
			<-ended
		}
		var out, progress bytes.Buffer
		second := exec.CommandContext(t.Context(), bin(t, "joinery"), args...)
		second.Stdout, second.Stderr = &out, &progress
		if err := second.Run(); err != nil {
			t.Fatalf("kill %d at %v: %v\n%s\n%s", i, moment, err, out.String(), progress.String())
		}
		var v verdict
		if err := json.Unmarshal(out.Bytes(), &v); err != nil || !v.Match {
			t.Errorf("kill %d at %v: %s", i, moment, out.String())
		}
		noDuplicates(t, data)
		t.Logf("kill %2d at %v (finished before: %v): match", i, moment.Round(time.Millisecond), early)
	}
}

// daemon starts a program that runs until the test ends.
func daemon(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	c.Stdout, c.Stderr, c.Env = f, f, append(os.Environ(), env...)
	if err := c.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { _ = c.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(45 * time.Second):
			_ = c.Process.Kill()
			<-done
			t.Errorf("%s did not end at SIGTERM", filepath.Base(name))
		}
		if t.Failed() {
			data, _ := os.ReadFile(log)
			t.Logf("%s said:\n%s", filepath.Base(name), tailOf(data))
		}
		_ = f.Close()
	})
}

func tailOf(data []byte) string {
	lines := strings.Split(string(data), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// freePort is a loopback address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// reachable waits until somebody answers.
func reachable(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v", what, err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

func dialable(address string) func() error {
	return func() error {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
}

func ready(address string) func() error {
	return func() error {
		res, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("not ready: %d", res.StatusCode)
		}
		return nil
	}
}

// servers starts a real nats-server that syncs always, and a real redis-server.
func servers(t *testing.T) (nats, monitor, redis string) {
	t.Helper()
	natsAt, monitorAt, redisAt := freePort(t), freePort(t), freePort(t)
	dir := t.TempDir()
	conf := fmt.Sprintf("listen: %q\nhttp: %q\njetstream { store_dir: %q, sync_interval: always }\n", natsAt, monitorAt, filepath.Join(dir, "js"))
	path := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, nil, bin(t, "nats-server"), "-c", path)
	host, port, _ := net.SplitHostPort(redisAt)
	daemon(t, nil, "redis-server", "--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--dir", dir)
	reachable(t, "nats-server", dialable(natsAt))
	reachable(t, "redis-server", dialable(redisAt))
	return "nats://" + natsAt, "http://" + monitorAt, redisAt
}

func TestFiveProcessesOverRealServersDoTheSameDemo(t *testing.T) {
	nats, monitor, redis := servers(t)
	data := t.TempDir()
	s, err := newStage(t.Context(), demoOptions{people: 240, seed: 7, data: data, patient: 3 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	env := []string{"JOINERY_CONFIG=" + filepath.Join(data, "config"), "JOINERY_NATS=" + nats, "JOINERY_REDIS=" + redis, "JOINERY_NATS_MONITOR=" + monitor}
	for name, value := range s.secrets {
		env = append(env, name+"="+value)
	}
	at := map[string]string{}
	for _, name := range []string{"ingest", "mapper", "dispatcher", "reconciler", "deadletter"} {
		at[name] = freePort(t)
		daemon(t, append(env, "JOINERY_LISTEN="+at[name]), bin(t, name))
	}
	// A second dispatcher shares the rate and the accounts with the first.
	at["dispatcher 2"] = freePort(t)
	daemon(t, append(env, "JOINERY_LISTEN="+at["dispatcher 2"], "JOINERY_WORKER=second"), bin(t, "dispatcher"))
	for name, address := range at {
		reachable(t, name, ready(address))
	}
	s.sender.base, s.console.base = "http://"+at["ingest"], "http://"+at["deadletter"]
	var out, progress bytes.Buffer
	term := &terminal{out: &out, errs: &progress}
	err = term.perform(t.Context(), s)
	t.Logf("%s\n%s", progress.String(), out.String())
	var e exit
	if errors.As(err, &e) || err != nil {
		t.Fatal(err)
	}
	for _, target := range s.targets {
		// Requests leave at the rate; on a busy machine a few can arrive in a bunch.
		if stats := target.sim.Stats(); target.name == "globex" && stats.Refused*100 > stats.Requests {
			t.Errorf("%s refused %d of %d requests above its rate", target.name, stats.Refused, stats.Requests)
		}
	}
	noDuplicates(t, data)
}

func TestABrokerThatDoesNotSyncIsRefused(t *testing.T) {
	natsAt, monitorAt := freePort(t), freePort(t)
	dir := t.TempDir()
	conf := fmt.Sprintf("listen: %q\nhttp: %q\njetstream { store_dir: %q }\n", natsAt, monitorAt, dir)
	path := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, nil, bin(t, "nats-server"), "-c", path)
	reachable(t, "nats-server", dialable(natsAt))
	c := exec.CommandContext(t.Context(), bin(t, "mapper"), "--config", t.TempDir(), "--nats", "nats://"+natsAt, "--redis", "127.0.0.1:1")
	c.Env = append(os.Environ(), "JOINERY_NATS_MONITOR=http://"+monitorAt)
	said, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(said), "sync_interval: always") {
		t.Errorf("%v: %s", err, said)
	}
}
