package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with the folder.
type Problem struct {
	// File is relative to the folder, with slashes; "" is the folder itself.
	File string `json:"file"`
	// Line and Column count from 1; 0 means the whole file.
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

// String is the problem on one line, in the form that editors can jump to:
// "targets/acme.yaml:12:5: message".
func (p Problem) String() string {
	message := strings.ReplaceAll(p.Message, "\n", " ")
	switch {
	case p.File == "":
		return message
	case p.Line == 0:
		return p.File + ": " + message
	default:
		return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, message)
	}
}

// Problems is everything wrong with the folder, by file, line and column.
type Problems []Problem

// Error has one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sorted is the problems in order, each once.
func (ps Problems) sorted() Problems {
	slices.SortFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message),
		)
	})
	return slices.Compact(ps)
}
