package gateway

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// TestUngranted has nothing that is said or served tell whether there is an object
// in another namespace that may not be referred to, or what is wrong with it.
func TestUngranted(t *testing.T) {
	const file = "testdata/ungranted.in.yaml"
	without := Build(readWorld(t, file, inOrder).in)
	chain, key := makeCertificate(t, "a.example.com")
	for what, add := range map[string]func(*world, Name){
		"good": func(w *world, n Name) {
			w.secrets[n.as("cert")] = &corev1.Secret{Data: map[string][]byte{corev1.TLSCertKey: chain, corev1.TLSPrivateKeyKey: key}}
			w.configMaps[n.as("ca")] = &corev1.ConfigMap{Data: map[string]string{caKey: string(chain)}}
			w.services[n.as("front")] = &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
		},
		"bad": func(w *world, n Name) {
			w.secrets[n.as("cert")] = &corev1.Secret{}
			w.configMaps[n.as("ca")] = &corev1.ConfigMap{}
			w.services[n.as("front")] = &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName}}
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := readWorld(t, file, inOrder)
			add(w, Name{Namespace: "vault"})
			with := Build(w.in)
			if diff := cmp.Diff(string(marshal(t, without.Model)), string(marshal(t, with.Model))); diff != "" {
				t.Errorf("the Model tells:\n%s", diff)
			}
			if diff := cmp.Diff(string(marshal(t, without.Status(Progress{}))), string(marshal(t, with.Status(Progress{})))); diff != "" {
				t.Errorf("the status tells:\n%s", diff)
			}
			for _, r := range with.Lookups.Came {
				if r.Namespace == "vault" && r.Kind != "ReferenceGrant" {
					t.Errorf("it was looked up: %v", r)
				}
			}
		})
	}
	if n := strings.Count(string(marshal(t, without.Status(Progress{}))), "reason: RefNotPermitted"); n != 9 {
		t.Errorf("%d references are said to be not permitted", n)
	}
}

// as is a namespace's object of that name.
func (n Name) as(name string) Name { return Name{Namespace: n.Namespace, Name: name} }
