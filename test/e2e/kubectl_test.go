//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
)

// plugin is kubectl with the plugin in its PATH.
type plugin struct {
	*world
	folder string
	// tee gets what commands write while they run.
	tee io.Writer
}

func (w *world) plugin() *plugin {
	w.Helper()
	folder, err := builtPlugin.get()
	if err != nil {
		w.Fatal(err)
	}
	return &plugin{world: w, folder: folder}
}

// pluginBuild has the plugin built once for all tests that use it.
type pluginBuild struct {
	once   sync.Once
	folder string
	err    error
}

var builtPlugin pluginBuild

func (b *pluginBuild) get() (folder string, err error) {
	b.once.Do(func() {
		if b.folder, b.err = os.MkdirTemp("", "kubectl-fairlead-"); b.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", filepath.Join(b.folder, "kubectl-fairlead"), "./cmd/kubectl-fairlead")
		build.Dir = lab.Root()
		if out, err := build.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("building the plugin: %w\n%s", err, out)
		}
	})
	return b.folder, b.err
}

func (b *pluginBuild) remove() { os.RemoveAll(b.folder) }

// ran is what a command wrote, and its exit code.
type ran struct {
	out, errs string
	code      int
}

// fairlead runs `kubectl fairlead` in the world's namespace.
func (p *plugin) fairlead(ctx context.Context, args ...string) ran {
	p.Helper()
	c := exec.CommandContext(ctx, p.Cluster.Binary("kubectl"), append([]string{"fairlead"}, args...)...)
	c.Env = append(os.Environ(), "KUBECONFIG="+p.Cluster.Kubeconfig(), "PATH="+p.folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if p.tee != nil {
		c.Stdout = io.MultiWriter(&out, p.tee)
	}
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.Fatalf("kubectl fairlead %s: %v", strings.Join(args, " "), err)
	}
	return ran{out.String(), errs.String(), c.ProcessState.ExitCode()}
}

// says runs the plugin until it ends with this code and says all of this.
func (p *plugin) says(code int, want []string, args ...string) ran {
	p.Helper()
	var got ran
	p.await(fmt.Sprintf("kubectl fairlead %s to end with %d and to say %q", strings.Join(args, " "), code, want), func(ctx context.Context) error {
		got = p.fairlead(ctx, args...)
		all := got.out + got.errs
		for _, words := range want {
			if !strings.Contains(all, words) {
				return fmt.Errorf("it does not say %q: code %d\n%s", words, got.code, all)
			}
		}
		if got.code != code {
			return fmt.Errorf("it ends with %d:\n%s", got.code, all)
		}
		return nil
	})
	p.Logf("$ kubectl fairlead %s\n%s%s(exit code %d)", strings.Join(args, " "), got.out, got.errs, got.code)
	return got
}

// A Service by spec.loadBalancerIP and a Gateway are explained, the map shows both,
// and nothing is wrong. Then the announcement is taken away, and an address is asked
// for twice: each is named, with what to do.
func TestKubectlFairlead(t *testing.T) {
	w := newWorld(t, "172.30.0.100-172.30.0.109")
	w.backend("echo", 2)
	const address = "172.30.0.105"
	legacy := w.service("legacy", "echo", 1, lab.LoadBalancerIP(address), func(s *corev1.Service) {
		s.Annotations["metallb.io/loadBalancerIPs"] = address
	})[0]
	w.apply(w.clusterIP("echo", "echo"), w.httpRoute("all", "web", "echo"))
	gateway := w.gateway("web", w.class())[0]
	for _, a := range []netip.Addr{legacy, gateway} {
		w.announcer(a, "any node", anyNode)
	}
	p := w.plugin()
	ns := "--namespace=" + w.namespace

	fine := []string{"Nothing is wrong."}
	p.says(0, append(fine, w.namespace+"/legacy", "spec.loadBalancerIP: deprecated", "same, no clash", "pool "+w.pool, "written by fairlead; nobody else wrote since",
		"(ARP)", "next in line: node", "2 ready", "any node serves"), "explain", "service", "legacy", ns)
	p.says(0, append(fine, w.namespace+"/web", "Programmed True", "1 route", "(ARP)", "Envoys serve"), "explain", "gateway", "web", ns)
	p.says(0, append(fine, "Service "+w.namespace+"/legacy"), "explain", "address", address)
	p.says(0, []string{"Nothing is wrong: "}, "status")
	p.says(0, []string{address, "Service " + w.namespace + "/legacy", "Gateway " + w.namespace + "/web", "node", " L2", "Bound"}, "addresses", "-o", "wide")
	p.says(0, []string{w.pool, "172.30.0.100-172.30.0.109", "True"}, "pools")
	p.says(0, []string{"node1", "node2", "node3", "3 of 3"}, "announcers")
	p.says(0, []string{"There is no BGPPeer"}, "peers")
	p.says(0, []string{"Plugin:", "Speakers:", "on 3 nodes"}, "version")
	p.says(0, []string{"legacy\n"}, "__complete", "explain", "service", ns, "l")

	p.asksForTheSame(ns, address)
	p.losesItsAnnouncement(ns, address)
	p.says(0, []string{"Nothing is wrong: "}, "status")
}

// asksForTheSame is a second Service that asks for an address that the first has.
func (p *plugin) asksForTheSame(ns, address string) {
	p.Helper()
	second := lab.LoadBalancer(p.namespace, "second", "echo", lab.LoadBalancerIP(address))
	p.apply(second)
	p.says(1, []string{"no address", address, "is held by Service"}, "explain", "service", "second", ns)
	p.says(1, []string{"Waiting", "Service " + p.namespace + "/second", "waits: "}, "status")
	if err := p.Client.Delete(p.ctx, second); err != nil {
		p.Fatal(err)
	}
}

// losesItsAnnouncement takes the advertisement away and brings it back.
func (p *plugin) losesItsAnnouncement(ns, address string) {
	p.Helper()
	if err := p.Client.Delete(p.ctx, p.advertisement()); err != nil {
		p.Fatal(err)
	}
	p.says(1, []string{address + " is not announced (NoAdvertisement)"}, "explain", "service", "legacy", ns)
	got := p.says(1, []string{"Address", "NoAdvertisement"}, "status", "-o", "json")
	var report struct {
		Findings []struct{ Severity, Kind, Name, What string }
	}
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || len(report.Findings) == 0 || report.Findings[0].Severity != "Down" {
		p.Errorf("the worst is not first: %v, %+v", err, report)
	}
	p.apply(p.advertisement())
	p.announcer(netip.MustParseAddr(address), "any node", anyNode)
}

// Whoever may read Services only is told what is left out, and by which right; who may
// read nothing, why nothing is said.
func TestKubectlFairleadWithFewRights(t *testing.T) {
	w := newWorld(t, "172.30.0.100-172.30.0.109")
	w.backend("echo", 1)
	w.service("legacy", "echo", 1)
	p := w.plugin()
	ns := "--namespace=" + w.namespace
	const user = "somebody"
	p.says(2, []string{`the right "get services legacy in namespace ` + w.namespace + `" is missing`}, "explain", "service", "legacy", ns, "--as="+user)

	w.apply(
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: user}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"", "discovery.k8s.io"}, Resources: []string{"services", "endpointslices"}, Verbs: []string{"get", "list"}},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		},
	)
	p.says(2, []string{
		w.namespace + "/legacy", "1 ready", "in what could be read", "These rights are missing", "  list addresses." + v1alpha1.GroupVersion.Group + "\n", "  list nodes\n",
		`"kubectl auth can-i list addresses.fairlead.dev -A"`,
	}, "explain", "service", "legacy", ns, "--as="+user)
	p.says(2, []string{"  list bgppeers.fairlead.dev\n", "  list services\n"}, "status", "--as="+user)
}
