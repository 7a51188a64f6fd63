package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// maxSecret bounds a secret in bytes: a private key is a few thousand.
const maxSecret = 64 << 10

// Secret says where a secret is kept; it never holds it. The zero Secret refers
// to nothing.
type Secret struct {
	// Env is the name of an environment variable.
	Env string
	// File is the path of a file; a relative one was relative to the folder.
	File string

	lookup func(string) (string, bool)
}

// ErrNoSecret means that there is no secret where the reference points.
var ErrNoSecret = errors.New("no secret")

// IsSet tells whether the reference points anywhere.
func (s Secret) IsSet() bool { return s.Env != "" || s.File != "" }

// Read is the secret as it is now, without line breaks at its end. It is read
// anew each time, so that a rotated secret is used without a restart. The error
// wraps ErrNoSecret, and names the reference.
func (s Secret) Read() (string, error) {
	switch {
	case s.Env != "":
		return s.readEnv()
	case s.File != "":
		return s.readFile()
	default:
		return "", fmt.Errorf("%w: nothing is referred to", ErrNoSecret)
	}
}

func (s Secret) readEnv() (string, error) {
	lookup := s.lookup
	if lookup == nil {
		lookup = os.LookupEnv
	}
	value, ok := lookup(s.Env)
	if value = strings.TrimRight(value, "\r\n"); !ok || value == "" {
		return "", fmt.Errorf("%w: the environment variable %s is not set", ErrNoSecret, s.Env)
	}
	return value, nil
}

func (s Secret) readFile() (string, error) {
	info, err := os.Stat(s.File)
	if err != nil {
		return "", fmt.Errorf("%w: the file %s cannot be read", ErrNoSecret, s.File)
	}
	if !info.Mode().IsRegular() || info.Size() > maxSecret {
		return "", fmt.Errorf("%w: %s is not a file of at most %d KiB", ErrNoSecret, s.File, maxSecret>>10)
	}
	data, err := os.ReadFile(s.File)
	if err != nil {
		return "", fmt.Errorf("%w: the file %s cannot be read", ErrNoSecret, s.File)
	}
	value := strings.TrimRight(string(data), "\r\n")
	if value == "" {
		return "", fmt.Errorf("%w: the file %s is empty", ErrNoSecret, s.File)
	}
	return value, nil
}

// String is the reference.
func (s Secret) String() string {
	switch {
	case s.Env != "":
		return "secret(env " + s.Env + ")"
	case s.File != "":
		return "secret(file " + s.File + ")"
	default:
		return "secret(none)"
	}
}

// GoString is the reference, for %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue is the reference, for logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON is the reference as it stands in the folder.
func (s Secret) MarshalJSON() ([]byte, error) {
	ref := map[string]string{}
	if s.Env != "" {
		ref["env"] = s.Env
	}
	if s.File != "" {
		ref["file"] = s.File
	}
	return json.Marshal(ref)
}

const howSecret = "write { env: NAME } or { file: PATH }"

// decode reads a reference, and sees to it that there is a secret behind it.
// What is written instead of a reference may be the secret itself: no message
// repeats it.
func (s *Secret) decode(d *decoder, n *node, path string) {
	if n.kind != table {
		d.report(n, "a secret is never written here: %s", howSecret)
		return
	}
	var ref struct {
		Env  string `yaml:"env" doc:"The environment variable that holds the secret."`
		File string `yaml:"file" doc:"The file that holds the secret; relative to this folder."`
	}
	before := len(d.problems)
	d.value(n, reflect.ValueOf(&ref).Elem(), path, setting{})
	if len(d.problems) > before {
		return
	}
	if (ref.Env == "") == (ref.File == "") {
		d.report(n, "a secret is kept in one place: %s", howSecret)
		return
	}
	s.Env, s.File, s.lookup = ref.Env, ref.File, d.env
	if s.File != "" && !filepath.IsAbs(s.File) {
		s.File = filepath.Join(d.dir, s.File)
	}
	if _, err := s.Read(); err != nil {
		why := strings.TrimPrefix(err.Error(), ErrNoSecret.Error()+": ")
		if s.File != "" {
			why = strings.ReplaceAll(why, s.File, ref.File)
		}
		d.report(n, "%s", why)
	}
}
