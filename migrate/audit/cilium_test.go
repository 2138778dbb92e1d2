package audit

import (
	"strings"
	"testing"
)

const ciliumPool = `apiVersion: cilium.io/v2
kind: CiliumLoadBalancerIPPool
metadata: {name: blue}
spec: {blocks: [{cidr: 192.0.2.0/28}]}
`

const ciliumSelectivePool = `apiVersion: cilium.io/v2
kind: CiliumLoadBalancerIPPool
metadata: {name: red}
spec: {blocks: [{cidr: 192.0.2.16/28}], serviceSelector: {matchLabels: {color: red}}}
`

// A serviceSelector does not keep Cilium from the Services that it does not select.
func TestCiliumTakesWhatNoPoolSelects(t *testing.T) {
	for name, tt := range map[string]struct {
		pools  string
		config map[string]string
		takes  bool
		remark string
	}{
		"every pool selects":              {ciliumSelectivePool, map[string]string{}, true, "no serviceSelector of its pools selects"},
		"one does not":                    {ciliumSelectivePool + "---\n" + ciliumPool, map[string]string{}, true, ""},
		"with an empty selector":          {strings.Replace(ciliumSelectivePool, "matchLabels: {color: red}", "", 1), map[string]string{}, true, ""},
		"every pool selects, for classes": {ciliumSelectivePool, map[string]string{"default-lb-service-ipam": "none"}, false, "defaultLBServiceIPAM=none"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Snapshot{Workloads: []Workload{workload("Deployment", "quay.io/cilium/operator-generic:v1.20.0", 1, 1)}, CiliumConfig: tt.config}
			s.Foreign = foreign(t, tt.pools)
			c := Of(s).Of("cilium")
			if c.TakesClassless != tt.takes || tt.remark == "" != (c.Classless == "") || !strings.Contains(c.Classless, tt.remark) {
				t.Errorf("takes Services without a class: %v (%q), want %v (%q)", c.TakesClassless, c.Classless, tt.takes, tt.remark)
			}
		})
	}
}

// Which Services Cilium takes is its configuration's word, and not only that of its
// pools.
func TestCiliumTakesWhatItIsSetUpFor(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config map[string]string
		args   []string
		pool   bool
		takes  bool
		remark string
	}{
		{"as by default, with a pool", map[string]string{"enable-lb-ipam": "true", "default-lb-service-ipam": "lbipam"}, nil, true, true, ""},
		{"as by default, without a pool", map[string]string{"default-lb-service-ipam": "lbipam"}, nil, false, false, ""},
		{"an old one, whose configuration has no such keys", map[string]string{}, nil, true, true, ""},
		{"for classes only", map[string]string{"default-lb-service-ipam": "none"}, nil, true, false, "defaultLBServiceIPAM=none"},
		{"for classes only, as 1.16 says it", map[string]string{"lbipam-require-lb-class": "true"}, nil, true, false, "defaultLBServiceIPAM=none"},
		{"LB-IPAM switched off", map[string]string{"enable-lb-ipam": "false"}, nil, true, false, "enableLBIPAM=false"},
		{"addresses of nodes", map[string]string{"default-lb-service-ipam": "nodeipam", "enable-node-ipam": "true"}, nil, false, true, "addresses of nodes"},
		{"addresses of nodes, and that is off", map[string]string{"default-lb-service-ipam": "nodeipam"}, nil, true, false, "defaultLBServiceIPAM=nodeipam"},
		{"not to be read", nil, nil, true, true, "could not be read"},
		{"not to be read, and no pool", nil, nil, false, false, ""},
		{"by flags", nil, []string{"--default-lb-service-ipam=none"}, true, false, "defaultLBServiceIPAM=none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Snapshot{
				Workloads: []Workload{
					workload("Deployment", "quay.io/cilium/operator-generic:v1.20.0", 1, 1, tt.args...), workload("DaemonSet", "quay.io/cilium/cilium:v1.20.0", 3, 3),
					workload("Deployment", "example.com/fairlead-controller:0.1.0", 1, 1, "--default-class=true"), workload("DaemonSet", "example.com/fairlead-speaker:0.1.0", 1, 1),
				},
				CiliumConfig: tt.config,
			}
			if tt.pool {
				s.Foreign = foreign(t, ciliumPool)
			}
			r := Of(s)
			c := r.Of("cilium")
			if c.TakesClassless != tt.takes || tt.remark == "" != (c.Classless == "") || !strings.Contains(c.Classless, tt.remark) {
				t.Errorf("takes Services without a class: %v (%q), want %v (%q)", c.TakesClassless, c.Classless, tt.takes, tt.remark)
			}
			rivals := len(r.Findings) == 1 && strings.Contains(r.Findings[0].What, "each take Services without a class") && strings.Contains(r.Findings[0].What, tt.remark)
			if rivals != tt.takes || len(r.Findings) > 1 {
				t.Errorf("findings: %v", r.Findings)
			}
		})
	}
}
