// Command fairlead-speaker runs on every node: it tells the network which node
// answers for an address, and answers.
package main

import "github.com/fairlead/fairlead/cmd/internal/program"

const name = "fairlead-speaker"

func main() { program.Main(name, parse, serve) }
