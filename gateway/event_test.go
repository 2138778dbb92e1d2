package gateway

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func TestGatewayEvents(t *testing.T) {
	status := func(address string, conditions ...metav1.Condition) gatewayv1.GatewayStatus {
		s := gatewayv1.GatewayStatus{Conditions: conditions}
		if address != "" {
			s.Addresses = []gatewayv1.GatewayStatusAddress{{Value: address}}
		}
		return s
	}
	is := func(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: reason + "!"}
	}
	const yes, no, unknown = metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	for name, tt := range map[string]struct {
		before, after gatewayv1.GatewayStatus
		want          []string
	}{
		"new, and waiting": {
			status("", is("Accepted", unknown, "Pending"), is("Programmed", unknown, "Pending")),
			status("192.0.2.1", is("Accepted", yes, "Accepted"), is("Programmed", no, "Pending")),
			[]string{"AddressAssigned The Gateway has the address 192.0.2.1."},
		},
		"programmed": {
			status("192.0.2.1", is("Programmed", no, "Pending")), status("192.0.2.1", is("Programmed", yes, "Programmed")),
			[]string{"Programmed Programmed!"},
		},
		"Envoy does not take something": {
			status("", is("Programmed", yes, "Programmed")), status("", is("Programmed", yes, "Programmed"), is(ConditionRejected, yes, ReasonRejected)),
			[]string{"Warning RejectedByEnvoy RejectedByEnvoy!"},
		},
		"it still does not": {
			status("", is(ConditionRejected, yes, ReasonRejected)), status("", is(ConditionRejected, yes, ReasonRejected)), nil,
		},
		"it takes all again": {
			status("", is(ConditionRejected, yes, ReasonRejected)), status(""),
			[]string{"TakenByEnvoy Envoy takes all of the Gateway's configuration again."},
		},
		"nothing new": {
			status("192.0.2.1", is("Programmed", yes, "Programmed"), is("ResolvedRefs", no, "RefNotPermitted")),
			status("192.0.2.1", is("Programmed", yes, "Programmed"), is("ResolvedRefs", no, "RefNotPermitted")), nil,
		},
		"bad, and bad in another way": {
			status("", is("Programmed", no, "AddressNotAssigned"), is("ResolvedRefs", yes, "ResolvedRefs")),
			status("", is("Programmed", no, "AddressNotUsable"), is("ResolvedRefs", no, "InvalidCertificateRef")),
			[]string{"Warning InvalidCertificateRef InvalidCertificateRef!", "Warning AddressNotUsable AddressNotUsable!"},
		},
		"mended": {
			status("", is("ResolvedRefs", no, "InvalidCertificateRef")), status("", is("ResolvedRefs", yes, "ResolvedRefs")),
			[]string{"ResolvedRefs ResolvedRefs!"},
		},
		"moved": {
			status("192.0.2.1"), status("192.0.2.2"),
			[]string{"AddressAssigned The Gateway has the address 192.0.2.2.", "AddressReleased The Gateway no longer has the address 192.0.2.1."},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range StatusEvents(tt.before, tt.after) {
				text := e.Reason + " " + e.Message
				if e.Warning {
					text = "Warning " + text
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
