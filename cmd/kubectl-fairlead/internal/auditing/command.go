// Package auditing is `kubectl fairlead audit`: what gives addresses in a cluster,
// and what would become of each Service's address under Fairlead.
package auditing

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/gather"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
	"github.com/fairlead/fairlead/migrate/audit"
	"github.com/fairlead/fairlead/migrate/forecast"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/plural"
	"github.com/fairlead/fairlead/service"
)

const long = `Reads the cluster and says which load-balancer controllers are there, which of them take the same Services,
how Gateway implementations ask for addresses, and for each Service: its address, who wrote it, what asks for
it, and what Fairlead would do with it if it served Services without a class.

Where there are no pools of Fairlead yet, it goes by those that kubectl fairlead import would make.

The exit code is 0 only if nothing would change and nothing is to be mended. Nothing is ever written.`

// Command is `kubectl fairlead audit`.
func Command(env *kube.Env) *cobra.Command {
	var classes []string
	c := &cobra.Command{
		Use: "audit", Short: "What gives addresses here, and what would change under Fairlead", Long: long,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: env.Show(func(ctx context.Context, r *kube.Reader) (output.Result, bool, error) {
			s, err := snapshot(ctx, r)
			if err != nil {
				return nil, false, err
			}
			s.Config, s.Now = service.Config{Default: true, StatusClasses: classes}, env.Now()
			out := &Report{Report: audit.Of(s), namespace: env.Filter()}
			return out, out.Wrong(), nil
		}),
	}
	c.Flags().StringSliceVar(&classes, "status-classes", nil, "Classes of others whose status addresses Fairlead would announce (services.statusClasses)")
	return c
}

func snapshot(ctx context.Context, r *kube.Reader) (audit.Snapshot, error) {
	var s audit.Snapshot
	var err error
	if s.Cluster, err = gather.Cluster(ctx, r); err != nil {
		return s, err
	}
	if s.Workloads, err = gather.Workloads(ctx, r); err != nil {
		return s, err
	}
	if s.CiliumConfig, err = gather.CiliumConfig(ctx, r, s.Workloads); err != nil {
		return s, err
	}
	if s.CRDs, err = gather.CRDs(ctx, r); err != nil {
		return s, err
	}
	if s.Foreign, err = gather.Foreign(ctx, r, imports.Sources()...); err != nil {
		return s, err
	}
	var classes gatewayv1.GatewayClassList
	var gateways gatewayv1.GatewayList
	if err := r.List(ctx, &classes); err != nil {
		return s, err
	}
	if err := r.List(ctx, &gateways); err != nil {
		return s, err
	}
	s.GatewayClasses, s.Gateways = classes.Items, gateways.Items
	return s, nil
}

// Report is an audit.Report for people.
type Report struct {
	*audit.Report
	// namespace limits the Services that are shown; empty: all.
	namespace string
}

// Write shows what is there, what to mend, and a line for each Service.
func (r *Report) Write(w io.Writer, wide bool) error {
	var s strings.Builder
	if len(r.Controllers) == 0 {
		s.WriteString("Found: no load-balancer controller that is known here.\n")
	}
	for i := range r.Controllers {
		s.WriteString("Found: " + controllerWords(&r.Controllers[i]) + "\n")
	}
	for _, g := range r.Gateways {
		fmt.Fprintf(&s, "Gateways: %s (class %s, %s) asks by %s. %s\n", g.Name, strings.Join(g.Classes, ", "), plural.Count(g.Gateways, "Gateway"), g.Asks, g.Fairlead)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&s, "MEND: %s %s\n", f.What, f.Fix)
	}
	fmt.Fprintf(&s, "Foretold by %s.\n\n", r.Pools)
	if _, err := io.WriteString(w, s.String()); err != nil {
		return err
	}
	if err := r.table().Write(w, wide); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d of %s would change. Nothing was written.\n", r.Changes, plural.Count(len(r.Services), "Service"))
	return err
}

func controllerWords(c *audit.Controller) string {
	s := c.Name
	if c.Version != "" {
		s += " " + c.Version
	}
	var more []string
	more = append(more, c.Parts...)
	for _, kind := range slices.Sorted(maps.Keys(c.Objects)) {
		more = append(more, plural.Count(c.Objects[kind], kind))
	}
	if len(c.Parts) == 0 {
		more = append(more, "only "+plural.Count(c.CRDs, "kind")+", no workload")
	}
	switch {
	case c.TakesClassless:
		more = append(more, strings.TrimSuffix("takes Services without a class "+c.Classless, " "))
	case c.Classless != "":
		more = append(more, c.Classless)
	}
	return s + ": " + strings.Join(more, ", ") + "."
}

func (r *Report) table() *output.Table {
	t := output.NewTable("There are no Services of type LoadBalancer.", "NAMESPACE/SERVICE", "ADDRESS", "ASKED BY", "HELD BY", "+GETS", "UNDER FAIRLEAD")
	for i := range r.Services {
		s := &r.Services[i]
		if r.namespace != "" && s.Namespace != r.namespace {
			continue
		}
		t.Add(s.Namespace+"/"+s.Name, strings.Join(s.Addresses, ","), strings.Join(s.AskedBy, ","), s.WrittenBy, strings.Join(s.Gets, ","), verdictWords(s))
	}
	return t
}

func verdictWords(s *audit.Service) string {
	var out string
	switch s.Verdict {
	case forecast.Same:
		out = "same"
	case forecast.Adopted:
		out = "same (adopted from status)"
	case forecast.NotTaken:
		out = "not taken"
	case forecast.Waits:
		out = "waits, as now"
	case forecast.Given:
		out = "would get " + strings.Join(s.Gets, ",")
	case forecast.Changes:
		out = "WOULD CHANGE to " + strings.Join(s.Gets, ",")
	case forecast.Conflict:
		out = "CONFLICT"
	}
	if len(s.Why) > 0 {
		out += ": " + strings.Join(s.Why, " ")
	}
	return out
}
