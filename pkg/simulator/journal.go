package simulator

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// write adds a line to the journal. A line is one write, so that a process that
// is killed leaves whole lines and at most one torn one.
func (st *store) write(c Commit) error {
	if st.options.Journal == nil {
		return nil
	}
	c.Before = nil
	line, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode a journal line: %w", err)
	}
	if _, err := st.options.Journal.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// Replay reads a journal, so that the provider is as it was. A last line that
// was cut off by a crash had no effect; it is cut off the journal, too, where
// the journal is a file, so that what is written next begins a line.
func (s *Server) Replay(journal io.Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	whole, err := s.store.replay(journal)
	if err != nil {
		return err
	}
	if f, ok := journal.(file); ok {
		if err := f.Truncate(whole); err != nil {
			return fmt.Errorf("cut off the journal's torn line: %w", err)
		}
		if _, err := f.Seek(whole, io.SeekStart); err != nil {
			return fmt.Errorf("go to the journal's end: %w", err)
		}
	}
	return s.store.finish()
}

// file is what a journal must be able to do to lose a torn line.
type file interface {
	io.Seeker
	Truncate(size int64) error
}

// replay takes over all whole lines, and gives their length.
func (st *store) replay(journal io.Reader) (whole int64, err error) {
	lines := bufio.NewReader(journal)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return whole, nil // what stands behind the last newline is torn
		}
		if err != nil {
			return whole, fmt.Errorf("read the journal: %w", err)
		}
		c, err := commitIn(line)
		if err != nil {
			return whole, fmt.Errorf("read line %d of the journal: %w", n, err)
		}
		st.take(c)
		whole += int64(len(line))
	}
}

func commitIn(line []byte) (Commit, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber() // as scim.Parse has it
	var c Commit
	if err := d.Decode(&c); err != nil {
		return c, err
	}
	switch {
	case c.Kind != "Users" && c.Kind != "Groups", c.ID == "":
		return c, errors.New("it names no resource")
	case c.Verb != "delete" && c.After == nil:
		return c, errors.New("it holds no resource")
	}
	return c, nil
}

// finish does what a crash left undone: memberships of somebody who was deleted.
func (st *store) finish() error {
	for _, c := range st.commits {
		if c.Verb == "delete" && len(st.memberOf[c.ID]) > 0 {
			if err := st.forget(c.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
