// Package findings says what is wrong in a cluster, worst first. It is pure: Of makes a
// Report of a Snapshot, which package status reads.
package findings

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
	"github.com/fairlead/fairlead/plural"
)

// Snapshot is what of a cluster may be wrong. What could not be read is empty.
type Snapshot struct {
	Addresses   []v1alpha1.Address
	Pools       []v1alpha1.IPAddressPool
	Speakers    []v1alpha1.SpeakerStatus
	Peers       []v1alpha1.BGPPeer
	L2          []v1alpha1.L2Advertisement
	BGP         []v1alpha1.BGPAdvertisement
	Communities []v1alpha1.Community
	Nodes       []corev1.Node
	Services    []corev1.Service
	Gateways    []gatewayv1.Gateway
	Classes     []gatewayv1.GatewayClass
	// Partly: something could not be read, and may be wrong.
	Partly bool
	Now    time.Time
}

// Severity orders findings: the lower, the worse.
type Severity string

// The severities.
const (
	// Down: clients do not get through.
	Down Severity = "Down"
	// Degraded: clients get through, and the next failure may change that.
	Degraded Severity = "Degraded"
	// Waiting: somebody does not get what they ask for.
	Waiting Severity = "Waiting"
	// Warning: it may become worse.
	Warning Severity = "Warning"
)

var order = map[Severity]int{Down: 0, Degraded: 1, Waiting: 2, Warning: 3}

// Finding is one thing that is wrong.
type Finding struct {
	Severity Severity `json:"severity"`
	// Kind, Namespace and Name are the object that it is wrong with.
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// What is wrong in a few words, and Why in sentences, with what to do.
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
	// See is a command that tells more.
	See string `json:"see,omitempty"`
}

// Report is all that is wrong.
type Report struct {
	Findings []Finding `json:"findings"`
	// Partly: not everything could be read.
	Partly bool `json:"partly,omitempty"`
	// Counts say what was looked at.
	Counts Counts `json:"counts"`
}

// Counts say how much was looked at.
type Counts struct {
	Addresses int `json:"addresses"`
	Pools     int `json:"pools"`
	Speakers  int `json:"speakers"`
	Peers     int `json:"peers"`
	Gateways  int `json:"gateways"`
}

// Of is all that is wrong, worst first; of equal severity in the order of addresses
// and names.
func Of(s *Snapshot) *Report {
	r := &Report{Findings: []Finding{}, Partly: s.Partly}
	for _, look := range []func(*Snapshot) []Finding{addresses, gateways, peers, speakers, services, pools, configuration} {
		r.Findings = append(r.Findings, look(s)...)
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(order[a.Severity], order[b.Severity]) })
	r.Counts = Counts{len(s.Addresses), len(s.Pools), len(s.Speakers), len(peerNames(s)), len(s.ourGateways())}
	return r
}

// Write is a line for each finding.
func (r *Report) Write(w io.Writer, wide bool) error {
	if len(r.Findings) == 0 {
		c := r.Counts
		fine := "Nothing is wrong"
		if r.Partly {
			fine += " in what could be read"
		}
		_, err := fmt.Fprintf(w, "%s: %s, %s, %s, %s, %s.\n", fine, plural.Count(c.Addresses, "address"), plural.Count(c.Pools, "pool"),
			plural.Count(c.Speakers, "speaker"), plural.Count(c.Peers, "BGP peer"), plural.Count(c.Gateways, "Gateway"))
		return err
	}
	t := output.NewTable("", "SEVERITY", "OBJECT", "WRONG", "WHY AND WHAT TO DO", "+SEE")
	for i := range r.Findings {
		f := &r.Findings[i]
		name := f.Name
		if f.Namespace != "" {
			name = f.Namespace + "/" + f.Name
		}
		why := f.Why
		if why == "" && f.See != "" {
			why = "See: " + f.See
		}
		t.Add(string(f.Severity), f.Kind+" "+name, f.What, why, f.See)
	}
	return t.Write(w, wide)
}
