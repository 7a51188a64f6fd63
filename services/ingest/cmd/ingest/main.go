// Command ingest runs the ingest service as a process of its own.
package main

import "github.com/joinery/joinery/services/joinery/wiring"

func main() { wiring.Main("ingest") }
