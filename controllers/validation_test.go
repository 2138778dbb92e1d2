package controllers

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

func TestNoAliasOfAnAddressGetsIn(t *testing.T) {
	w := newWorld(t)
	const full = "2001-0db8-0000-0000-0000-0000-0000-0007"
	for _, tt := range []struct{ name, address, why string }{
		{"192.0.2.7", "192.0.2.7", ""},
		{full, "2001:db8::7", ""},
		{"2001-db8--7", "2001:db8::7", "written out in full"},
		{strings.ToUpper(full), "2001:db8::7", ""}, // not a name at all
		{full, "2001:db8:0:0:0:0:0:7", "canonical"},
		{full, "2001:DB8::7", "canonical"},
		{full, "2001:db8::8", "written out in full"},
		{"2001-0db8-0000-0000-0000-0000-192.0.2.7", "2001:db8::c000:207", "written out in full"},
		{"0000-0000-0000-0000-0000-ffff-c000-0207", "::ffff:192.0.2.7", "not an IP address"},
		{"192.0.2.7", "192.0.2.8", "the address itself"},
		{"other", "192.0.2.7", "the address itself"},
		{"192.0.2.07", "192.0.2.07", "not an IP address"},
		{"fe80-0000-0000-0000-0000-0000-0000-0001", "fe80::1%eth0", "not an IP address"},
	} {
		t.Run(tt.name+" "+tt.address, func(t *testing.T) {
			err := w.c.Create(w.ctx(), &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: tt.name}, Spec: v1alpha1.AddressSpec{Address: tt.address}})
			good := (tt.name == "192.0.2.7" && tt.address == "192.0.2.7") || (tt.name == full && tt.address == "2001:db8::7")
			switch {
			case good && err != nil:
				t.Errorf("refused: %v", err)
			case !good && !apierrors.IsInvalid(err):
				t.Errorf("the answer is %v", err)
			case !good && !strings.Contains(err.Error(), tt.why):
				t.Errorf("the answer does not say %q: %v", tt.why, err)
			}
		})
	}
}

func TestPoolValidation(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		ranges []v1alpha1.AddressRange
		why    string // empty: it is fine
	}{
		{[]v1alpha1.AddressRange{"192.0.2.0/24"}, ""},
		{[]v1alpha1.AddressRange{"192.0.2.10 - 192.0.2.20", "2001:db8::/64", "2001:db8:1::1-2001:db8:1::f"}, ""},
		{[]v1alpha1.AddressRange{"192.0.2.20-192.0.2.10"}, ""}, // CEL cannot order addresses: a condition says it
		{nil, "spec.addresses"},
		{[]v1alpha1.AddressRange{""}, "spec.addresses[0]"},
		{[]v1alpha1.AddressRange{"192.0.2.0/33"}, "not a prefix"},
		{[]v1alpha1.AddressRange{"192.0.2.7"}, "not a prefix"},
		{[]v1alpha1.AddressRange{"192.0.2.7/24"}, "host bits"},
		{[]v1alpha1.AddressRange{"2001:db8::7/64"}, "host bits"},
		{[]v1alpha1.AddressRange{"192.0.2.1-2001:db8::1"}, "different families"},
		{[]v1alpha1.AddressRange{"192.0.2.1-192.0.2.2-192.0.2.3"}, "not a range"},
		{[]v1alpha1.AddressRange{"192.0.2.1-"}, "not a range"},
		{[]v1alpha1.AddressRange{"here-there"}, "not a range"},
	} {
		p := &v1alpha1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{GenerateName: "pool-"}, Spec: v1alpha1.IPAddressPoolSpec{Addresses: tt.ranges}}
		err := w.c.Create(w.ctx(), p)
		switch {
		case tt.why == "" && err != nil:
			t.Errorf("%v was refused: %v", tt.ranges, err)
		case tt.why != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tt.why)):
			t.Errorf("%v: the answer is %v, want %q in it", tt.ranges, err, tt.why)
		}
	}
}

func TestAnAddressCannotBecomeAnother(t *testing.T) {
	w := newWorld(t)
	a := &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: "192.0.2.7"}, Spec: v1alpha1.AddressSpec{Address: "192.0.2.7"}}
	if err := w.c.Create(w.ctx(), a); err != nil {
		t.Fatal(err)
	}
	a.Spec.Address = "192.0.2.8"
	if err := w.c.Update(w.ctx(), a); !apierrors.IsInvalid(err) {
		t.Errorf("the answer is %v", err)
	}
}
