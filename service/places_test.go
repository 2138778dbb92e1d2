package service

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlaces(t *testing.T) {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
			"fairlead.dev/pool": "public", "metallb.io/loadBalancerIPs": "192.0.2.7, 2001:db8::7", "projectcalico.org/loadBalancerIPs": `["192.0.2.8"]`,
			"loxilb.io/staticIP": "next door", "purelb.io/allow-shared-ip": "key", "lbipam.cilium.io/sharing-cross-namespace": "*", "example.com/other": "x",
			"kube-vip.io/loadbalancerIPs": " , ",
		}},
		Spec: corev1.ServiceSpec{LoadBalancerIP: "192.0.2.9", ExternalIPs: []string{"192.0.2.10"}, IPFamilies: []corev1.IPFamily{"IPv4"}},
	}
	want := []string{
		"annotation metallb.io/loadBalancerIPs addresses [192.0.2.7 2001:db8::7]",
		"annotation projectcalico.org/loadBalancerIPs addresses [192.0.2.8]",
		"annotation loxilb.io/staticIP addresses []",
		"annotation fairlead.dev/pool pool []",
		"annotation purelb.io/allow-shared-ip sharing key []",
		"annotation lbipam.cilium.io/sharing-cross-namespace namespaces to share with []",
		"spec.loadBalancerIP addresses [192.0.2.9]",
		"spec.externalIPs addresses [192.0.2.10]",
		"spec.ipFamilies families []",
	}
	var got []string
	for _, p := range Places(svc) {
		got = append(got, fmt.Sprintf("%s %s %v", p.Where, p.Asks, p.Addresses))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
