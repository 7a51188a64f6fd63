// Package config owns the configuration folder: it reads joinery.yaml,
// sources/*.yaml and targets/*.yaml, finds everything that is wrong with them at
// once, and notices when they change. It is the only package that knows YAML.
// What expressions and paths mean it leaves to pkg/mapping.
//
// Secrets are never in the folder. It holds references to them, which are read
// when they are needed.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/spelling"
)

// maxFiles bounds the sources and the targets.
const maxFiles = 500

// The parts of the folder.
const (
	mainFile   = "joinery.yaml"
	sourcesDir = "sources"
	targetsDir = "targets"
)

// Folder is a configuration without a mistake.
type Folder struct {
	// Dir is where it was read.
	Dir string
	// Digest changes whenever a file of it does.
	Digest  string
	Joinery Joinery
	Sources map[string]Source
	Targets map[string]Target

	env      func(string) (string, bool)
	profiles profile.Catalogue
	places   map[string]*decoder // of targets, by name
}

// Load reads a folder whole. Secrets in the environment are looked up by env
// (os.LookupEnv). The error is Problems where files are wrong: all of them.
// A folder without joinery.yaml, sources or targets is right: everything has a
// default, and there is nothing to do.
func Load(dir string, env func(string) (string, bool)) (*Folder, error) {
	files, problems, err := contents(dir)
	if err != nil {
		return nil, err
	}
	profiles, err := profile.Load()
	if err != nil {
		return nil, fmt.Errorf("load the profiles: %w", err)
	}
	f := &Folder{Dir: dir, env: env, profiles: profiles, Digest: digest(files), Sources: map[string]Source{}, Targets: map[string]Target{}, places: map[string]*decoder{}}
	if !slices.ContainsFunc(files, func(f file) bool { return f.name == mainFile }) {
		files = append(files, file{name: mainFile})
	}
	for _, file := range files {
		problems = append(problems, f.read(file)...)
	}
	if len(problems) > 0 {
		return nil, problems.sorted()
	}
	return f, nil
}

// file is a file of the folder; its name is relative, with slashes.
type file struct {
	name string
	data []byte
}

// read adds a file to the folder.
func (f *Folder) read(from file) Problems {
	d := &decoder{file: from.name, dir: f.Dir, env: f.env, profiles: f.profiles, classes: f.Joinery.Sensitive, places: map[string]*node{}}
	root, problems := parse(from.name, from.data)
	d.problems = problems
	if root == nil || root.kind == absent {
		if len(problems) > 0 {
			return problems
		}
		root = &node{kind: table, line: 1, column: 1}
	}
	switch path.Dir(from.name) {
	case sourcesDir:
		f.readSource(d, root)
	case targetsDir:
		f.readTarget(d, root, from.data)
	default:
		d.settings(root, &f.Joinery)
	}
	return d.problems
}

// settings reads a document into a struct and checks it.
func (d *decoder) settings(root *node, into interface{ check(*decoder) }) {
	d.read(root, into)
	if root.kind == table {
		into.check(d)
	}
}

func (f *Folder) readSource(d *decoder, root *node) {
	var s Source
	d.settings(root, &s)
	if d.named("source", s.Name) {
		f.Sources[s.Name] = s
	}
}

func (f *Folder) readTarget(d *decoder, root *node, data []byte) {
	t := Target{Version: digest([]file{{d.file, data}})}
	d.settings(root, &t)
	if d.named("target", t.Name) {
		f.Targets[t.Name] = t
		f.places[t.Name] = d
	}
}

// RunTests runs the tests that are written beside the targets' rules, and gives
// every one that fails, with its place. They show the tests' own values.
func (f *Folder) RunTests() Problems {
	var failed Problems
	for name, t := range f.Targets {
		d := &decoder{file: f.places[name].file, places: f.places[name].places}
		for _, failure := range t.Mapping.RunTests() {
			d.wrong(failure.Field, "%s", failure)
		}
		failed = append(failed, d.problems...)
	}
	return failed.sorted()
}

var validName = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// name checks a name that becomes a part of subjects, keys and metrics.
func (d *decoder) name(path, name string) bool {
	if !validName.MatchString(name) {
		d.wrong(path, "%q is not a name: 1 to 40 of a to z, 0 to 9 and hyphen", name)
		return false
	}
	return true
}

// named checks the name that a file gives itself.
func (d *decoder) named(key, name string) bool {
	if name == "" { // reported as missing
		return false
	}
	if !d.name(key, name) {
		return false
	}
	if want := strings.TrimSuffix(path.Base(d.file), ".yaml"); want != name {
		d.wrong(key, "the file %s describes %q: give it that file name, or write %s: %s", path.Base(d.file), name, key, want)
		return false
	}
	return true
}

var validHeader = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")

// header checks the name of an HTTP header.
func (d *decoder) header(path, name string) {
	if name != "" && !validHeader.MatchString(name) {
		d.wrong(path, "%q is not the name of an HTTP header", name)
	}
}

// rules reports what pkg/mapping found, where it stands in the file. What could
// not be read at all has been reported already.
func (d *decoder) rules(found []mapping.Problem) {
	before := slices.Clone(d.problems)
	for _, p := range found {
		at := d.at(p.Field)
		if at != d.places[""] && slices.ContainsFunc(before, func(b Problem) bool {
			return b.Line == at.line && b.Column == at.column
		}) {
			continue
		}
		line, column := at.inside(p.Line, p.Column)
		d.reportAt(line, column, "%s", p.Message)
	}
}

// contents reads the files of a folder, in order.
func contents(dir string) ([]file, Problems, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("read the configuration folder: %w", err)
	}
	var files []file
	var problems Problems
	for _, e := range entries {
		name := e.Name()
		switch {
		case strings.HasPrefix(name, "."):
		case name == sourcesDir || name == targetsDir:
			found, wrong := filesIn(dir, name)
			files, problems = append(files, found...), append(problems, wrong...)
		case name == mainFile:
			found, wrong := readFile(dir, name)
			files, problems = append(files, found...), append(problems, wrong...)
		default:
			problems = append(problems, misplaced(name, e.IsDir())...)
		}
	}
	return files, problems, nil
}

// misplaced reports what is nearly called like a part of the folder, and YAML
// that nobody reads. Anything else may lie beside the configuration.
func misplaced(name string, isDir bool) Problems {
	parts := []string{mainFile, "joinery.yml"}
	if isDir {
		parts = []string{sourcesDir, targetsDir}
	}
	hint := spelling.DidYouMean(name, parts)
	if hint == "" && (isDir || !isYAML(name)) {
		return nil
	}
	hint = strings.ReplaceAll(hint, "joinery.yml", mainFile)
	return Problems{{File: name, Message: "this is not read: the folder holds joinery.yaml, sources/NAME.yaml and targets/NAME.yaml" + hint}}
}

func isYAML(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

func filesIn(dir, part string) ([]file, Problems) {
	entries, err := os.ReadDir(filepath.Join(dir, part))
	if err != nil {
		return nil, Problems{{File: part, Message: "this is not a folder that can be read"}}
	}
	var files []file
	var problems Problems
	for _, e := range entries {
		name := path.Join(part, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), ".") || !isYAML(e.Name()):
		case strings.HasSuffix(e.Name(), ".yml"):
			problems = append(problems, Problem{File: name, Message: "this is not read: end the file's name in .yaml"})
		case len(files) == maxFiles:
			return files, append(problems, Problem{File: part, Message: fmt.Sprintf("there are more than %d files", maxFiles)})
		default:
			found, wrong := readFile(dir, name)
			files, problems = append(files, found...), append(problems, wrong...)
		}
	}
	return files, problems
}

// readFile reads one file, but no more of it than a file may have.
func readFile(dir, name string) ([]file, Problems) {
	info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
	switch {
	case err != nil:
		return nil, Problems{{File: name, Message: "the file cannot be read: " + reason(err)}}
	case !info.Mode().IsRegular():
		return nil, Problems{{File: name, Message: "this is not a file"}}
	case info.Size() > MaxFile:
		return nil, Problems{{File: name, Message: fmt.Sprintf("the file is larger than %d KiB", MaxFile>>10)}}
	}
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, Problems{{File: name, Message: "the file cannot be read: " + reason(err)}}
	}
	return []file{{name, data}}, nil
}

// reason is an error of the file system without the path, which the problem has.
func reason(err error) string {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return failed.Err.Error()
	}
	return err.Error()
}

// digest is the same for the same files.
func digest(files []file) string {
	sum := sha256.New()
	for _, f := range files {
		fmt.Fprintf(sum, "%s\x00%d\x00", f.name, len(f.data))
		sum.Write(f.data)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}
