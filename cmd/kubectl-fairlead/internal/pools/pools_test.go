package pools

import (
	"math"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/golden"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func pool(name string, spec v1alpha1.IPAddressPoolSpec, status v1alpha1.IPAddressPoolStatus) v1alpha1.IPAddressPool {
	return v1alpha1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(noon.Add(-76 * time.Hour))}, Spec: spec, Status: status}
}

func TestPools(t *testing.T) {
	list := []v1alpha1.IPAddressPool{
		pool("public", v1alpha1.IPAddressPoolSpec{
			Addresses: []v1alpha1.AddressRange{"172.30.0.100-172.30.0.250", "fd00:30::/64"}, Exclude: []v1alpha1.AddressRange{"172.30.0.200/32"},
			Sharing: v1alpha1.SharingWithinNamespace,
		}, v1alpha1.IPAddressPoolStatus{
			Assigned: "149 IPv4, 1 IPv6", Available: "1 IPv4, 9223372036854775807 IPv6", AssignedIPv4: 149, AvailableIPv4: 1, AssignedIPv6: 1, AvailableIPv6: math.MaxInt64,
			Conditions: []metav1.Condition{{Type: v1alpha1.PoolReady, Status: metav1.ConditionTrue, Reason: "InUse"}},
		}),
		pool("lab", v1alpha1.IPAddressPoolSpec{
			Addresses: []v1alpha1.AddressRange{"192.0.2.9-192.0.2.1"}, AutoAssign: ptr.To(false), ServiceAllocation: &v1alpha1.ServiceAllocation{Namespaces: []string{"lab"}},
		}, v1alpha1.IPAddressPoolStatus{Conditions: []metav1.Condition{
			{Type: v1alpha1.PoolReady, Status: metav1.ConditionFalse, Reason: "InvalidSpec", Message: "192.0.2.9-192.0.2.1 ends before it begins."},
			{Type: v1alpha1.PoolOverlapping, Status: metav1.ConditionTrue, Reason: "Overlap", Message: "Pool test has some of it."},
		}}),
	}
	golden.Result(t, "pools.txt", Of(list, noon))
	golden.Result(t, "none.txt", Of(nil, noon))
}
