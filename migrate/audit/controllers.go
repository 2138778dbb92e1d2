package audit

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go4.org/netipx"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/arguments"
	"github.com/fairlead/fairlead/migrate/imports"
)

// Controller is one that gives addresses to Services, or announces them.
type Controller struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	// Parts are its workloads: "controller", "3 of 3 speakers".
	Parts []string `json:"parts,omitempty"`
	// Running: something of it is ready.
	Running bool `json:"running"`
	// TakesClassless: it serves Services without a class.
	TakesClassless bool `json:"takesClassless"`
	// Classless says what of that is not plain, or cannot be known; empty: nothing.
	Classless string `json:"classless,omitempty"`
	// Class is the one class whose Services it serves; empty: it is not limited so.
	Class string `json:"class,omitempty"`
	// CRDs is the number of its kinds that the cluster has, Objects of their objects.
	CRDs    int            `json:"crds,omitempty"`
	Objects map[string]int `json:"objects,omitempty"`

	// gives: the part of it that gives addresses is ready, which is the first one.
	gives    bool
	missing  []string
	managers []string
	classWay string
	source   imports.Source
	partner  string
	leftover bool
}

// part is a workload of a controller, by the image that it runs.
type part struct {
	name  string
	image *regexp.Regexp
}

// known is what a controller is known by.
type known struct {
	name     string
	source   imports.Source
	parts    []part
	voice    string   // the part that announces addresses; empty: none, or it is not known
	groups   []string // of its CRDs
	kinds    []string // of its objects that are counted, in the plural of CRDs
	managers []string // of fields of a status
	// classless tells whether it serves Services without a class.
	classless func(s *Snapshot, found []*Container) bool
	// remark says what of that is not plain. Nil: nothing.
	remark   func(s *Snapshot, found []*Container) string
	classWay string
	// classFlag limits it to the Services of one class.
	classFlag string
	// leftover: kinds without a workload are worth a word.
	leftover bool
	// partner is the controller that announces what this one gives: the two are one.
	partner string
}

func image(pattern string) *regexp.Regexp {
	return regexp.MustCompile(`(^|/)` + pattern + `(:|@|$)`)
}

// kube-vip announces the addresses that a Service asks for; those that none asks for
// its cloud provider gives, by writing the wish into the Service.
const (
	kubeVip      = "kube-vip"
	kubeVipGiver = "kube-vip-cloud-provider"
)

// metallbClass is the flag by which MetalLB serves the Services of one class, and no
// others.
const metallbClass = "lb-class"

func always(*Snapshot, []*Container) bool { return true }
func never(*Snapshot, []*Container) bool  { return false }

// unlessArg tells whether an argument is not set.
func unlessArg(name string) func(*Snapshot, []*Container) bool {
	return func(_ *Snapshot, found []*Container) bool {
		return argOf(found, name) == ""
	}
}

func unlessEnv(names ...string) func(*Snapshot, []*Container) bool {
	return func(_ *Snapshot, found []*Container) bool {
		return !slices.ContainsFunc(found, func(c *Container) bool {
			return slices.ContainsFunc(names, func(n string) bool { return c.Env[n] != "" && c.Env[n] != "false" })
		})
	}
}

// purelbTakes tells whether a PureLB serves Services without a class: its allocator
// does, and without it its agents announce what was given.
func purelbTakes(_ *Snapshot, found []*Container) bool {
	return slices.ContainsFunc(found, func(c *Container) bool { return PartOf("PureLB", c.Image) == "allocator" })
}

// kubeVipTakes tells whether a kube-vip serves Services without a class.
func kubeVipTakes(s *Snapshot, found []*Container) bool {
	return slices.ContainsFunc(found, kubeVipServes) && unlessEnv("lb_class_only", "lb_class_name")(s, found)
}

func kubeVipRemark(_ *Snapshot, found []*Container) string {
	if slices.ContainsFunc(found, kubeVipServes) {
		return ""
	}
	return "serves no Services (svc_enable=false)"
}

// kubeVipServes tells whether a kube-vip serves Services: without, it holds the address
// of the control plane only.
func kubeVipServes(c *Container) bool {
	on, err := strconv.ParseBool(c.Env["svc_enable"])
	return on || err != nil
}

// argOf is the value of a flag in the command lines of containers.
func argOf(found []*Container, name string) string {
	for _, c := range found {
		if value, ok := arguments.Value(c.Args, name); ok {
			return value
		}
	}
	return ""
}

func withPool(group, kind string, uses string) func(*Snapshot, []*Container) bool {
	return func(s *Snapshot, _ []*Container) bool {
		for i := range s.Foreign {
			o := &s.Foreign[i]
			if o.GetKind() != kind || !strings.HasSuffix(o.GroupVersionKind().Group, group) {
				continue
			}
			spec, _ := o.Object["spec"].(map[string]any)
			list, _ := spec["allowedUses"].([]any)
			if uses == "" || slices.ContainsFunc(list, func(v any) bool { return v == uses }) {
				return true
			}
		}
		return false
	}
}

func everyController() []known {
	return append(withPools(), withoutPools()...)
}

// withPools are those whose configuration can be imported.
func withPools() []known {
	return []known{
		{
			name: "MetalLB", source: imports.MetalLB, groups: []string{"metallb.io"}, leftover: true,
			parts:     []part{{"controller", image(`(metallb/|metallb-)controller`)}, {"speaker", image(`(metallb/|metallb-)speaker`)}},
			voice:     "speaker",
			kinds:     []string{"IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BGPPeer"},
			managers:  []string{"controller", "metallb-controller"},
			classless: unlessArg(metallbClass), classFlag: metallbClass, classWay: "its flag --lb-class (chart: loadBalancerClass)",
		},
		{
			name: kubeVip, source: imports.KubeVip, parts: []part{{"daemon", image(`kube-vip`)}, {"daemon", image(`kube-vip-iptables`)}},
			voice: "daemon", managers: []string{"kube-vip"},
			classless: kubeVipTakes, remark: kubeVipRemark, classWay: "its setting lb_class_only",
		},
		{
			name: Cilium, source: imports.Cilium, groups: []string{"cilium.io"},
			parts:     []part{{"operator", image(`cilium/operator(-generic)?`)}, {"agent", image(`cilium/cilium`)}},
			voice:     "agent",
			kinds:     []string{"CiliumLoadBalancerIPPool", "CiliumL2AnnouncementPolicy", "CiliumBGPClusterConfig"},
			managers:  []string{"cilium-operator-generic", "cilium-operator"},
			classless: ciliumTakes, remark: ciliumRemark, classWay: "its option defaultLBServiceIPAM=none, and a restart of its operator",
		},
		{
			name: "PureLB", source: imports.PureLB, groups: []string{"purelb.io"}, leftover: true,
			parts:     []part{{"allocator", image(`purelb/(purelb/)?allocator`)}, {"agent", image(`purelb/(purelb/)?lbnodeagent`)}},
			voice:     "agent",
			kinds:     []string{"ServiceGroup"},
			managers:  []string{"allocator", "purelb-allocator"},
			classless: purelbTakes, classWay: "DEFAULT_ANNOUNCER unset, and class purelb.io/purelb on its Services",
		},
		{
			name: "Calico", source: imports.Calico, groups: []string{"projectcalico.org"},
			parts:     []part{{"controllers", image(`calico/kube-controllers`)}, {"node", image(`calico/node`)}},
			voice:     "node",
			managers:  []string{"kube-controllers"},
			classless: withPool("projectcalico.org", "IPPool", "LoadBalancer"), classWay: "assignIPs: RequestedServicesOnly in its KubeControllersConfiguration",
		},
		{
			name: "OpenELB", source: imports.OpenELB, groups: []string{"network.kubesphere.io"}, leftover: true,
			parts:    []part{{"controller", image(`openelb(-controller)?`)}, {"speaker", image(`openelb-speaker`)}},
			voice:    "speaker",
			kinds:    []string{"Eip", "BgpPeer"},
			managers: []string{"openelb-controller", "openelb-manager"}, classless: never,
		},
	}
}

// withoutPools are the others.
func withoutPools() []known {
	return []known{
		{
			name: kubeVipGiver, partner: kubeVip, parts: []part{{"controller", image(`kube-vip-cloud-provider`)}},
			managers:  []string{"kube-vip-cloud-provider"},
			classless: unlessEnv("KUBEVIP_ENABLE_LOADBALANCERCLASS"), classWay: "its setting KUBEVIP_ENABLE_LOADBALANCERCLASS",
		},
		{
			name: "ChiselOperator", groups: []string{"chisel-operator.io"}, parts: []part{{"operator", image(`chisel-operator`)}},
			managers:  []string{"chisel-operator"},
			classless: unlessEnv("LOAD_BALANCER_CLASS"), classWay: "its setting LOAD_BALANCER_CLASS (from 0.6.0)",
		},
		{
			name: "k3s servicelb", parts: []part{{"pods", image(`klipper-lb`)}}, managers: []string{"k3s", "k3s-supervisor@"},
			classless: always, classWay: "start k3s with --disable=servicelb",
		},
		{
			name: "Fairlead", parts: []part{{"controller", image(`fairlead-controller`)}, {"speaker", image(`fairlead-speaker`)}},
			managers: []string{"fairlead"},
			classless: func(_ *Snapshot, found []*Container) bool {
				on, _ := strconv.ParseBool(argOf(found, "default-class"))
				return on
			}, classWay: "services.defaultClass=false in its chart",
		},
	}
}

// controllersIn are those that there is anything of.
func controllersIn(s *Snapshot) []Controller {
	var out []Controller
	for _, k := range everyController() {
		if c, ok := k.in(s); ok {
			out = append(out, c)
		}
	}
	return out
}

func (k *known) in(s *Snapshot) (Controller, bool) {
	c := Controller{Name: k.name, managers: k.managers, classWay: k.classWay, source: k.source, partner: k.partner, leftover: k.leftover}
	var found []*Container
	there, ready, wanted := map[string]bool{}, map[string]int{}, map[string]int{}
	for i := range s.Workloads {
		w := &s.Workloads[i]
		for j := range w.Containers {
			p := k.partOf(w.Containers[j].Image)
			if p == "" {
				continue
			}
			there[p] = true
			found = append(found, &w.Containers[j])
			if c.Version == "" {
				c.Version = versionOf(w.Containers[j].Image)
			}
			ready[p], wanted[p] = ready[p]+w.Ready, wanted[p]+w.Wanted
			c.Running = c.Running || w.Ready > 0
			break
		}
	}
	c.gives = ready[k.parts[0].name] > 0
	c.parts(k, there, ready, wanted)
	c.count(k, s)
	c.TakesClassless = len(found) > 0 && k.classless(s, found)
	if len(found) > 0 && k.remark != nil {
		c.Classless = k.remark(s, found)
	}
	if k.classFlag != "" {
		c.limit(argOf(found, k.classFlag))
	}
	return c, len(found) > 0 || c.CRDs > 0 && k.leftover
}

// limit says that it serves the Services of one class only; empty: it is not so.
func (c *Controller) limit(class string) {
	if c.Class = class; class != "" {
		c.Classless = fmt.Sprintf("serves only Services of class %s", class)
	}
}

// PartOf says which part of a controller, known by its name in a Report, runs an
// image: "controller"; empty: none.
func PartOf(controller, image string) string {
	for _, k := range everyController() {
		if k.name == controller {
			return k.partOf(image)
		}
	}
	return ""
}

// Announces tells whether a workload announces the addresses of Services for a
// controller, known by its name in a Report.
func Announces(controller string, w *Workload) bool {
	for _, k := range everyController() {
		if k.name == controller && k.voice != "" {
			return slices.ContainsFunc(w.Containers, func(c Container) bool {
				return k.partOf(c.Image) == k.voice && (k.source != imports.KubeVip || kubeVipServes(&c))
			})
		}
	}
	return false
}

// Of finds the controller whose configuration a source is; nil: there is nothing of it.
func (r *Report) Of(source imports.Source) *Controller {
	for i := range r.Controllers {
		if r.Controllers[i].source == source {
			return &r.Controllers[i]
		}
	}
	return nil
}

// ClassWay is how the controller is made to leave Services without a class alone.
func (c *Controller) ClassWay() string { return c.classWay }

func (k *known) partOf(image string) string {
	for _, p := range k.parts {
		if p.image.MatchString(image) {
			return p.name
		}
	}
	return ""
}

// parts says which parts there are, and which are missing.
func (c *Controller) parts(k *known, there map[string]bool, ready, wanted map[string]int) {
	told := map[string]bool{}
	for _, p := range k.parts {
		if told[p.name] || len(there) == 0 {
			continue
		}
		told[p.name] = true
		if there[p.name] {
			c.Parts = append(c.Parts, partWords(p.name, ready[p.name], wanted[p.name]))
		}
		if ready[p.name] == 0 {
			c.missing = append(c.missing, p.name)
		}
	}
}

func partWords(part string, ready, wanted int) string {
	if wanted > 1 || ready != wanted {
		return fmt.Sprintf("%s (%d of %d ready)", part, ready, wanted)
	}
	return part
}

// count counts the kinds of a controller, and the objects of some of them.
func (c *Controller) count(k *known, s *Snapshot) {
	for _, name := range s.CRDs {
		if _, group, ok := strings.Cut(name, "."); ok && slices.ContainsFunc(k.groups, func(g string) bool { return group == g || strings.HasSuffix(group, "."+g) }) {
			c.CRDs++
		}
	}
	for i := range s.Foreign {
		o := &s.Foreign[i]
		if slices.Contains(k.groups, o.GroupVersionKind().Group) && slices.Contains(k.kinds, o.GetKind()) {
			if c.Objects == nil {
				c.Objects = map[string]int{}
			}
			c.Objects[o.GetKind()]++
		}
	}
}

// versionOf is the tag of an image, without a leading v.
func versionOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	i := strings.LastIndex(image, ":")
	if i < 0 || strings.Contains(image[i:], "/") {
		return ""
	}
	return strings.TrimPrefix(image[i+1:], "v")
}

func rangeOf(r allocator.Range) netipx.IPRange { return netipx.IPRangeFrom(r.From, r.To) }
