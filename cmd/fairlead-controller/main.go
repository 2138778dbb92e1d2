// Command fairlead-controller gives addresses to Services of type LoadBalancer,
// keeps the ledger of addresses, and says in statuses what is.
package main

import "github.com/fairlead/fairlead/cmd/internal/program"

const name = "fairlead-controller"

func main() { program.Main(name, parse, serve) }
