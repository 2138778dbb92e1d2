package importing

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/migrate/adopt"
)

// theirs is what MetalLB is configured by amid an adoption: its objects leave out the
// nodes that announce for Fairlead.
const theirs = `apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: public, namespace: metallb-system}
spec: {addresses: [192.0.2.0/28]}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec:
  myASN: 64512
  peerASN: 64513
  peerAddress: 192.0.2.200
  nodeSelectors: [{matchLabels: {rack: a}, matchExpressions: [{key: fairlead.dev/announces-bgp, operator: DoesNotExist}]}]
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: wan, namespace: metallb-system}
spec: {ipAddressPools: [public], nodeSelectors: [{matchExpressions: [{key: fairlead.dev/announces-bgp, operator: DoesNotExist}]}]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: lan, namespace: metallb-system}
spec: {ipAddressPools: [public]}
`

// runOver imports theirs over what a cluster has, and gives what the command says.
func runOver(t *testing.T, have []client.Object, args ...string) (client.Client, string) {
	t.Helper()
	scheme, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(have...).Build()
	var out bytes.Buffer
	env := kube.NewEnv(genericiooptions.IOStreams{In: strings.NewReader(theirs), Out: &out, ErrOut: &out}, time.Now)
	env.Connect = func() (client.Client, error) { return c, nil }
	cmd := Command(env)
	env.AddFlags(cmd.Flags())
	cmd.SetArgs(append([]string{"metallb", "-f", "-"}, args...))
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return c, out.String()
}

func selector(rack string, more ...v1.LabelSelectorRequirement) []v1.LabelSelector {
	return []v1.LabelSelector{{MatchLabels: map[string]string{"rack": rack}, MatchExpressions: more}}
}

// live is a BGPPeer of Fairlead, as an adoption or somebody else has made it.
func live(selectors []v1.LabelSelector) *v1alpha1.BGPPeer {
	p := &v1alpha1.BGPPeer{ObjectMeta: v1.ObjectMeta{Name: "tor"}}
	p.Spec.NodeSelectors = selectors
	return p
}

// Amid an adoption an import leaves what announces bound to labelled nodes, also what
// has node selectors of its own and what is new, and says so.
func TestImportAmidAnAdoption(t *testing.T) {
	labelled := v1.LabelSelectorRequirement{Key: v1alpha1.LabelAnnouncesBGP, Operator: v1.LabelSelectorOpExists}
	const says = "An adoption is underway, so what announces does so only from nodes that it has labelled: BGPPeer tor, BGPAdvertisement wan, L2Advertisement lan. See how far it is: kubectl fairlead adopt metallb."
	for name, tt := range map[string]struct {
		have  *v1alpha1.BGPPeer
		bound bool
	}{
		"as adopted":         {live(selector("a", labelled)), true},
		"another rack":       {live(selector("b", labelled)), true},
		"bound without more": {live([]v1.LabelSelector{{MatchExpressions: []v1.LabelSelectorRequirement{labelled}}}), true},
		"no adoption":        {live(selector("b")), false},
		"no selector":        {live(nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			c, out := runOver(t, []client.Object{tt.have}, "--apply")
			var peer v1alpha1.BGPPeer
			var wan v1alpha1.BGPAdvertisement
			var lan v1alpha1.L2Advertisement
			for o, name := range map[client.Object]string{&peer: "tor", &wan: "wan", &lan: "lan"} {
				if err := c.Get(t.Context(), client.ObjectKey{Name: name}, o); err != nil {
					t.Fatal(err)
				}
				if adopt.Bound(o) != tt.bound {
					t.Errorf("%s is bound to labelled nodes: %t, want %t", name, !tt.bound, tt.bound)
				}
			}
			want := selector("a")
			if tt.bound {
				want = selector("a", labelled)
			}
			if diff := cmp.Diff(want, peer.Spec.NodeSelectors); diff != "" {
				t.Errorf("the peer's node selectors are not as imported (-want +got):\n%s", diff)
			}
			if strings.Contains(out, says) != tt.bound {
				t.Errorf("it says\n%s", out)
			}
		})
	}
}

// What it shows is what it would write.
func TestImportShowsBonds(t *testing.T) {
	have := live(selector("a", v1.LabelSelectorRequirement{Key: v1alpha1.LabelAnnouncesBGP, Operator: v1.LabelSelectorOpExists}))
	_, out := runOver(t, []client.Object{have}, "--apply")
	for _, want := range []string{"key: fairlead.dev/announces-layer2", "key: fairlead.dev/announces-bgp"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not show %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "DoesNotExist") {
		t.Errorf("what leaves labelled nodes out is imported:\n%s", out)
	}
}
