package imports

import (
	"slices"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// others are the sources whose own published examples are read. MetalLB itself runs in
// the tests on a cluster.
func others() []Source { return []Source{KubeVip, Cilium, PureLB, Calico, OpenELB} }

// What is imported of the examples that each project publishes, as they are published:
// the head of each file says of which version they are, and where they stand.
func TestPublished(t *testing.T) {
	for _, source := range others() {
		t.Run(string(source), func(t *testing.T) {
			name := string(source) + ".published"
			compare(t, importedFrom(t, source, name+".in.yaml"), name)
		})
	}
}

func TestTheAPIServerTakesWhatIsPublished(t *testing.T) {
	c := apiServer(t)
	for _, source := range others() {
		for _, o := range importedFrom(t, source, string(source)+".published.in.yaml").Objects() {
			object, ok := o.(client.Object)
			if !ok {
				t.Fatalf("a %T cannot be created", o)
			}
			text, _ := Manifest(o)
			object.SetName("published-" + string(source) + "-" + object.GetName())
			if err := c.Create(t.Context(), object); err != nil {
				t.Errorf("%s: %v\n%s", source, err, text)
			}
		}
	}
}

// The names that PureLB's agents have for interfaces in v2.
func TestPureLBsInterfaces(t *testing.T) {
	for _, tt := range []struct {
		name, local string
		want        []string
		none        bool
	}{
		{"all", "{localInterface: default, interfaces: [eth1]}", nil, false},
		{"one", "{localInterface: ^eth1$}", []string{"eth1"}, false},
		{"and others", "{localInterface: ^eth1$, interfaces: [bond0]}", []string{"eth1", "bond0"}, false},
		{"that cannot be said", "{localInterface: '^eth[12]$'}", nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			objects, err := Decode([]byte("apiVersion: purelb.io/v2\nkind: ServiceGroup\nmetadata: {name: default}\nspec: {local: {v4pool: {pool: 192.0.2.0/28}}}\n---\n" +
				"apiVersion: purelb.io/v2\nkind: LBNodeAgent\nmetadata: {name: default}\nspec: {local: " + tt.local + "}\n"))
			if err != nil {
				t.Fatal(err)
			}
			r, err := Read(PureLB, objects)
			switch {
			case err != nil:
				t.Fatal(err)
			case tt.none:
				if len(r.L2Advertisements) > 0 {
					t.Errorf("made %+v", r.L2Advertisements)
				}
			case len(r.L2Advertisements) != 1 || !slices.Equal(r.L2Advertisements[0].Spec.Interfaces, tt.want):
				t.Errorf("made %+v, want %v", r.L2Advertisements, tt.want)
			}
		})
	}
}
