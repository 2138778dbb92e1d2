package lab

import (
	"context"
	"fmt"
	"io"

	"github.com/fairlead/fairlead/test/testbed"
)

// Dump writes what helps to understand a failure: the ledger, the pods, and the
// last lines of Fairlead's logs, and whom hosts and kube-proxies know.
func (l *Lab) Dump(ctx context.Context, to io.Writer) {
	for _, args := range [][]string{
		{"get", "nodes", "-o", "wide"},
		{"get", "ipaddresspools,l2advertisements,bgpadvertisements,bgppeers,addresses,speakerstatuses", "-o", "wide"},
		{"get", "services", "-A", "-o", "wide"},
		{"get", "pods", "-A", "-o", "wide"},
		{"get", "events", "-A", "--sort-by=.metadata.creationTimestamp"},
		{"logs", "-n", Namespace, "-l", "app.kubernetes.io/component=controller", "--tail=80", "--prefix"},
		{"logs", "-n", Namespace, "-l", "app.kubernetes.io/component=speaker", "--tail=80", "--prefix"},
	} {
		out, err := l.Cluster.Kubectl(ctx, args...)
		fmt.Fprintf(to, "--- kubectl %v\n%s\n", args, lastLines(out, 120))
		if err != nil {
			fmt.Fprintf(to, "%v\n", err)
		}
	}
	for _, host := range append([]string{testbed.Client}, l.Cluster.Nodes()...) {
		for _, args := range [][]string{{"ip", "neigh"}, {"nft", "list", "map", "ip", "kube-proxy", "service-ips"}} {
			if host == testbed.Client && args[0] == "nft" {
				continue
			}
			out, err := l.Cluster.Exec(ctx, host, args...)
			fmt.Fprintf(to, "--- %s %v\n%s\n", host, args, lastLines(out, 120))
			if err != nil {
				fmt.Fprintf(to, "%v\n", err)
			}
		}
	}
}

func lastLines(text string, n int) string {
	end := len(text)
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == '\n' && i != end-1 {
			if n--; n == 0 {
				return "...\n" + text[i+1:]
			}
		}
	}
	return text
}
