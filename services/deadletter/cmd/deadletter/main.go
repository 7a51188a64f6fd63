// Command deadletter runs the deadletter service as a process of its own.
package main

import "github.com/joinery/joinery/services/joinery/wiring"

func main() { wiring.Main("deadletter") }
