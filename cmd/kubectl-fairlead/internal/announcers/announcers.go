// Package announcers is `kubectl fairlead announcers`: what the speaker of each node
// does.
package announcers

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/words"
)

// Command is `kubectl fairlead announcers`.
func Command(env *kube.Env) *cobra.Command {
	return &cobra.Command{
		Use: "announcers", Aliases: []string{"announcer", "speakers"}, Short: "What the speaker of each node announces, and what is wrong with it",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: env.Show(func(ctx context.Context, r *kube.Reader) (output.Result, bool, error) {
			var speakers v1alpha1.SpeakerStatusList
			var addresses v1alpha1.AddressList
			if err := r.Need(ctx, &speakers, &addresses); err != nil {
				return nil, false, err
			}
			var nodes corev1.NodeList
			err := r.List(ctx, &nodes)
			return Of(speakers.Items, addresses.Items, nodes.Items, env.Now()), false, err
		}),
	}
}

// List is the speakers of all nodes.
type List struct {
	Announcers []Announcer `json:"announcers"`

	now time.Time
}

// Announcer is the speaker of one node.
type Announcer struct {
	Node string `json:"node"`
	// Speaker tells whether a speaker of the node has said anything.
	Speaker bool `json:"speaker"`
	// NodeReady is the node's own condition Ready; empty: not known.
	NodeReady string `json:"nodeReady,omitempty"`
	// Ready is "True", or "False" with a reason.
	Ready   string      `json:"ready,omitempty"`
	Message string      `json:"message,omitempty"`
	Version string      `json:"version,omitempty"`
	Started metav1.Time `json:"started,omitzero"`
	// Members are the speakers that this one sees: "3 of 3".
	Members string   `json:"members,omitempty"`
	Missing []string `json:"missing,omitempty"`
	// Layer2 are the addresses that the node answers for, by ARP or NDP.
	Layer2     []string                    `json:"layer2,omitempty"`
	Interfaces []v1alpha1.SpeakerInterface `json:"interfaces,omitempty"`
	// Prefixes is how many it announces by BGP, and Sessions how many of its sessions
	// are established: "2 of 2".
	Prefixes int64  `json:"prefixes,omitempty"`
	Sessions string `json:"sessions,omitempty"`
	// Error is the last one, until it is mended.
	Error *v1alpha1.SpeakerError `json:"error,omitempty"`
}

// Of is the speakers of all nodes, by name. Without nodes, only what speakers have
// said is known.
func Of(speakers []v1alpha1.SpeakerStatus, addresses []v1alpha1.Address, nodes []corev1.Node, now time.Time) List {
	all := map[string]*Announcer{}
	for i := range speakers {
		all[speakers[i].Name] = of(&speakers[i])
	}
	for i := range nodes {
		a, ok := all[nodes[i].Name]
		if !ok {
			a = &Announcer{Node: nodes[i].Name}
			all[a.Node] = a
		}
		a.NodeReady = nodeReady(&nodes[i])
	}
	for i := range addresses {
		if l := addresses[i].Status.Layer2; l != nil && l.TakenBy == "" && all[l.Node] != nil {
			all[l.Node].Layer2 = append(all[l.Node].Layer2, addresses[i].Spec.Address)
		}
	}
	out := List{Announcers: []Announcer{}, now: now}
	for _, a := range all {
		words.ByAddress(a.Layer2, func(s *string) string { return *s })
		out.Announcers = append(out.Announcers, *a)
	}
	slices.SortFunc(out.Announcers, func(a, b Announcer) int { return strings.Compare(a.Node, b.Node) })
	return out
}

func of(o *v1alpha1.SpeakerStatus) *Announcer {
	s := &o.Status
	out := &Announcer{
		Node: o.Name, Speaker: true, Ready: words.Condition(s.Conditions, v1alpha1.SpeakerReady), Version: s.Version, Started: s.Started,
		Members: s.Members.Summary, Missing: s.Members.Missing, Interfaces: s.Layer2.Interfaces, Error: s.LastError,
	}
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.SpeakerReady); c != nil && c.Status != metav1.ConditionTrue {
		out.Message = c.Message
	}
	if s.BGP != nil {
		out.Prefixes, out.Sessions = s.BGP.Prefixes, s.BGP.Summary
	}
	return out
}

func nodeReady(n *corev1.Node) string {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return string(c.Status)
		}
	}
	return string(corev1.ConditionUnknown)
}

// Write is the speakers as a table.
func (l List) Write(w io.Writer, wide bool) error {
	t := output.NewTable("No node has a speaker.",
		"NODE", "READY", "MEMBERS", "L2", "BGP", "SESSIONS", "ERROR", "UP", "+VERSION", "+INTERFACES", "+MISSING", "+ADDRESSES")
	for i := range l.Announcers {
		a := &l.Announcers[i]
		t.Add(a.Node, a.ready(), a.Members, fmt.Sprint(len(a.Layer2)), fmt.Sprint(a.Prefixes), a.Sessions, a.wrong(l.now), output.Age(a.Started, l.now),
			a.Version, a.interfaces(), strings.Join(a.Missing, ","), strings.Join(a.Layer2, ","))
	}
	return t.Write(w, wide)
}

func (a *Announcer) ready() string {
	switch {
	case !a.Speaker:
		return "no speaker"
	case a.NodeReady != "" && a.NodeReady != string(corev1.ConditionTrue):
		return "node " + a.NodeReady
	}
	return a.Ready
}

// wrong is what is wrong with the speaker, in a sentence.
func (a *Announcer) wrong(now time.Time) string {
	switch {
	case a.Error != nil:
		return a.Error.Message + " (" + output.Age(a.Error.At, now) + " ago)"
	case a.Message != "":
		return a.Message
	}
	for _, i := range a.Interfaces {
		if i.Error != "" {
			return i.Name + ": " + i.Error
		}
	}
	return ""
}

func (a *Announcer) interfaces() string {
	var out []string
	for _, i := range a.Interfaces {
		var does []string
		if i.ARP {
			does = append(does, "ARP")
		}
		if i.NDP {
			does = append(does, "NDP")
		}
		out = append(out, i.Name+"("+strings.Join(does, " ")+")")
	}
	return strings.Join(out, ",")
}
