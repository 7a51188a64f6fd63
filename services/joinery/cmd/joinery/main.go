// Command joinery is the operator's tool, and all five services in one process.
package main

import (
	"os"

	"github.com/joinery/joinery/services/joinery"
)

func main() {
	os.Exit(joinery.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
