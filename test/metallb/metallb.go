// Package metallb runs a real MetalLB on a lab, as its own manifest installs it, so
// that what is said of it and done to it can be tried on itself.
package metallb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// Where the manifest installs MetalLB, and what it calls its workloads.
const (
	Namespace  = "metallb-system"
	Controller = "controller"
	Speaker    = "speaker"
)

const patience = 2 * time.Minute

// Install installs MetalLB on a lab and waits until its controller, its speakers and
// the webhook for its objects serve.
func Install(ctx context.Context, l *lab.Lab) error {
	if err := l.Cluster.LoadMetalLB(ctx); err != nil {
		return err
	}
	manifest, err := testbed.MetalLBManifest(ctx)
	if err != nil {
		return err
	}
	if err := apply(ctx, l, manifest); err != nil {
		return err
	}
	return AwaitReady(ctx, l)
}

// AwaitReady waits until MetalLB's controller, its speakers and its webhook serve.
func AwaitReady(ctx context.Context, l *lab.Lab) error {
	return lab.Await(ctx, patience, "MetalLB to be ready", func(ctx context.Context) error { return ready(ctx, l) })
}

func apply(ctx context.Context, l *lab.Lab, manifest string) error {
	if _, err := l.Cluster.Kubectl(ctx, "apply", "--server-side", "--filename="+manifest); err != nil {
		return fmt.Errorf("applying the manifest of MetalLB: %w", err)
	}
	return nil
}

// As is how MetalLB is installed again: as its manifest has it, where nothing is said.
type As struct {
	// Stopped: its controller has 0 replicas.
	Stopped bool
	// Class is the only one whose Services it serves.
	Class string
}

// Again installs MetalLB on a lab that had it, and waits for nothing.
func Again(ctx context.Context, l *lab.Lab, as As) error {
	manifest, err := testbed.MetalLBManifest(ctx)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(manifest)
	if err != nil {
		return fmt.Errorf("reading the manifest of MetalLB: %w", err)
	}
	objects, err := imports.Decode(text)
	if err != nil {
		return fmt.Errorf("reading the manifest of MetalLB: %w", err)
	}
	changed, err := as.manifest(objects)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp("", "metallb-*.yaml")
	if err != nil {
		return fmt.Errorf("writing a manifest of MetalLB: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.Write(changed)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing a manifest of MetalLB: %w", err)
	}
	return apply(ctx, l, file.Name())
}

// manifest is MetalLB's, with what is said of it.
func (a As) manifest(objects []unstructured.Unstructured) ([]byte, error) {
	var out bytes.Buffer
	for i := range objects {
		o := &objects[i]
		if a.Stopped && o.GetKind() == "Deployment" {
			if err := unstructured.SetNestedField(o.Object, int64(0), "spec", "replicas"); err != nil {
				return nil, fmt.Errorf("stopping MetalLB's controller: %w", err)
			}
		}
		if containers, found, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers"); found && a.Class != "" {
			c, _ := containers[0].(map[string]any)
			args, _ := c["args"].([]any)
			c["args"] = append(args, "--lb-class="+a.Class)
			if err := unstructured.SetNestedSlice(o.Object, containers, "spec", "template", "spec", "containers"); err != nil {
				return nil, fmt.Errorf("limiting MetalLB to class %s: %w", a.Class, err)
			}
		}
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, fmt.Errorf("writing a manifest of MetalLB: %w", err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out.Bytes(), nil
}

// GiveSecret makes the Secret that MetalLB's speakers mount, which its controller makes
// otherwise, and has the kubelets look for it until a speaker runs.
func GiveSecret(ctx context.Context, l *lab.Lab) error {
	_, err := l.Cluster.Kubectl(ctx, "create", "secret", "generic", "--namespace="+Namespace, "memberlist", "--from-literal=secretkey=of-a-test-of-the-way-back")
	if err != nil {
		return fmt.Errorf("making the Secret of MetalLB's speakers: %w", err)
	}
	return lab.Await(ctx, patience, "a speaker of MetalLB to be ready", func(ctx context.Context) error {
		var speaker appsv1.DaemonSet
		if err := l.Client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: Speaker}, &speaker); err != nil {
			return err
		}
		if speaker.Status.NumberReady > 0 {
			return nil
		}
		if err := freshen(ctx, l); err != nil {
			return err
		}
		return fmt.Errorf("none is")
	})
}

// Remove takes out all that the manifest installs, and with its kinds the objects
// that configure it.
func Remove(ctx context.Context, l *lab.Lab) error {
	manifest, err := testbed.MetalLBManifest(ctx)
	if err != nil {
		return err
	}
	if _, err := l.Cluster.Kubectl(ctx, "delete", "--ignore-not-found", "--filename="+manifest); err != nil {
		return fmt.Errorf("removing MetalLB: %w", err)
	}
	return nil
}

func ready(ctx context.Context, l *lab.Lab) error {
	var controller appsv1.Deployment
	var speaker appsv1.DaemonSet
	if err := l.Client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: Controller}, &controller); err != nil {
		return err
	}
	if err := l.Client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: Speaker}, &speaker); err != nil {
		return err
	}
	if controller.Status.ReadyReplicas == 0 {
		if err := freshen(ctx, l); err != nil {
			return err
		}
		return fmt.Errorf("its controller is not ready")
	}
	if n := len(l.Cluster.Nodes()); int(speaker.Status.NumberReady) != n {
		return fmt.Errorf("%d of %d speakers are ready", speaker.Status.NumberReady, n)
	}
	// Only a webhook that serves lets this through.
	return l.Client.Create(ctx, Object("IPAddressPool", "try", map[string]any{"addresses": []any{"192.0.2.1/32"}}), client.DryRunAll)
}

// freshen has the kubelets look at MetalLB's pods again: the controller writes its
// certificate into a Secret and waits until its own volume has it, and the speakers
// for a Secret of the controller, which both takes up to a minute otherwise.
func freshen(ctx context.Context, l *lab.Lab) error {
	var pods corev1.PodList
	if err := l.Client.List(ctx, &pods, client.InNamespace(Namespace)); err != nil {
		return err
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		before := client.MergeFrom(p.DeepCopy())
		if p.Annotations == nil {
			p.Annotations = map[string]string{}
		}
		p.Annotations["looked-at"] = time.Now().Format(time.RFC3339)
		if err := l.Client.Patch(ctx, p, before); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

// Object is one of MetalLB's kinds, with the spec as its manifests have it.
func Object(kind, name string, spec map[string]any) *unstructured.Unstructured {
	version := "v1beta1"
	if kind == "BGPPeer" {
		version = "v1beta2"
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "metallb.io/" + version, "kind": kind,
		"metadata": map[string]any{"namespace": Namespace, "name": name},
		"spec":     spec,
	}}
}

// Pool is an IPAddressPool of MetalLB.
func Pool(name string, autoAssign bool, addresses ...string) *unstructured.Unstructured {
	return Object("IPAddressPool", name, map[string]any{"addresses": list(addresses), "autoAssign": autoAssign})
}

// L2Advertisement announces pools on layer 2.
func L2Advertisement(name string, pools ...string) *unstructured.Unstructured {
	return Object("L2Advertisement", name, map[string]any{"ipAddressPools": list(pools)})
}

// BGPAdvertisement announces pools to all peers.
func BGPAdvertisement(name string, pools ...string) *unstructured.Unstructured {
	return Object("BGPAdvertisement", name, map[string]any{"ipAddressPools": list(pools)})
}

// BGPPeer is the testbed's router, as FRR on it takes sessions.
func BGPPeer(name string) *unstructured.Unstructured {
	return Object("BGPPeer", name, map[string]any{
		"myASN": int64(lab.NodeASN), "peerASN": int64(lab.RouterASN), "peerAddress": lab.RouterV4, "password": lab.BGPPassword,
	})
}

func list(texts []string) []any {
	out := make([]any, 0, len(texts))
	for _, s := range texts {
		out = append(out, s)
	}
	return out
}
