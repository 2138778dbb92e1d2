package addresses

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/golden"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(noon.Add(-d)) }

func reference(kind, ns, name string) v1alpha1.HolderReference {
	return v1alpha1.HolderReference{Kind: kind, Namespace: ns, Name: name}
}

func holder(r v1alpha1.HolderReference, since time.Duration, key string, ports ...v1alpha1.HolderPort) v1alpha1.AddressHolder {
	return v1alpha1.AddressHolder{HolderReference: r, State: v1alpha1.AddressBound, Since: ago(since), SharingKey: key, Ports: ports, ExternalTrafficPolicy: "Cluster"}
}

// ledger has an address in each state.
func ledger() []v1alpha1.Address {
	address := func(a string, age time.Duration, state v1alpha1.AddressState, edit func(*v1alpha1.Address)) v1alpha1.Address {
		o := v1alpha1.Address{
			ObjectMeta: metav1.ObjectMeta{Name: a, CreationTimestamp: ago(age)},
			Spec:       v1alpha1.AddressSpec{Address: a, Pool: "public", State: state},
		}
		edit(&o)
		return o
	}
	web := v1alpha1.HolderPort{Protocol: "TCP", Port: 80}
	return []v1alpha1.Address{
		address("172.30.0.110", time.Hour, v1alpha1.AddressBound, func(o *v1alpha1.Address) {
			o.Spec.Holders = []v1alpha1.AddressHolder{
				holder(reference("Service", "shop", "dns"), time.Minute, "front", v1alpha1.HolderPort{Protocol: "UDP", Port: 53}),
				holder(reference("Gateway", "shop", "web"), time.Hour, "front", web),
			}
			o.Status.Layer2 = &v1alpha1.Layer2Announcement{Node: "node3", Interfaces: []string{"eth0"}, Since: ago(time.Hour)}
			o.Status.BGP = &v1alpha1.BGPAnnouncement{Nodes: 3, Peers: 2, Summary: "3 nodes to 2 peers", Since: ago(time.Hour)}
		}),
		address("172.30.0.20", 76*time.Hour, v1alpha1.AddressBound, func(o *v1alpha1.Address) {
			o.Spec.Holders = []v1alpha1.AddressHolder{holder(reference("Service", "web", "legacy"), 76*time.Hour, "", web)}
			o.Status.Conditions = []metav1.Condition{{
				Type: v1alpha1.AddressAnnounced, Status: metav1.ConditionFalse, Reason: "NoAdvertisement", Message: "No L2Advertisement selects pool public.",
			}}
		}),
		address("172.30.0.111", 2*time.Minute, v1alpha1.AddressRetained, func(o *v1alpha1.Address) {
			o.Spec.Released = &v1alpha1.AddressRelease{HolderReference: reference("Service", "shop", "api"), At: ago(2 * time.Minute)}
		}),
		address("172.30.0.112", 2*time.Minute, v1alpha1.AddressRetained, func(o *v1alpha1.Address) {
			o.Spec.Pool = "brief"
			o.Spec.Released = &v1alpha1.AddressRelease{HolderReference: reference("Service", "web", "old"), At: ago(2 * time.Minute)}
		}),
		address("172.30.0.120", 9*24*time.Hour, v1alpha1.AddressReserved, func(o *v1alpha1.Address) {
			r := reference("Gateway", "edge", "main")
			o.Spec.ReservedFor = &r
		}),
		address("fd00:30::7", time.Second, v1alpha1.AddressReserved, func(o *v1alpha1.Address) { o.Spec.Pool = "" }),
	}
}

func pools() []v1alpha1.IPAddressPool {
	return []v1alpha1.IPAddressPool{{ObjectMeta: metav1.ObjectMeta{Name: "brief"}, Spec: v1alpha1.IPAddressPoolSpec{Retain: &metav1.Duration{Duration: 3 * time.Minute}}}}
}

func TestAddresses(t *testing.T) {
	golden.Result(t, "all.txt", Of(ledger(), pools(), "", noon))
	golden.Result(t, "shop.txt", Of(ledger(), pools(), "shop", noon))
	golden.Result(t, "empty.txt", Of(nil, nil, "", noon))
}
