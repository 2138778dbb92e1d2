package imports

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/pools"
	"github.com/fairlead/fairlead/test/golden"
)

// imported imports the manifests in testdata that show all that is read of a source.
func imported(t *testing.T, source Source) *Result {
	t.Helper()
	return importedFrom(t, source, string(source)+".in.yaml")
}

func importedFrom(t *testing.T, source Source, file string) *Result {
	t.Helper()
	in, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Decode(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(source, objects)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEverySource(t *testing.T) {
	for _, source := range Sources() {
		t.Run(string(source), func(t *testing.T) {
			r := imported(t, source)
			compare(t, r, string(source))
			again := imported(t, source)
			if diff := cmp.Diff(r, again); diff != "" {
				t.Errorf("two imports differ:\n%s", diff)
			}
		})
	}
}

// compare compares what was imported, and the notes, with the golden files of a name, and looks whether it can be read.
func compare(t *testing.T, r *Result, name string) {
	t.Helper()
	out, err := r.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var notes strings.Builder
	for _, n := range r.Notes {
		notes.WriteString(n.String() + "\n")
	}
	golden.Compare(t, filepath.Join("testdata", name+".out.yaml"), string(out))
	golden.Compare(t, filepath.Join("testdata", name+".notes"), notes.String())
	readable(t, r)
}

// readable tells whether those who use the objects can read them.
func readable(t *testing.T, r *Result) {
	t.Helper()
	for i := range r.Pools {
		if _, faults := pools.Read(&r.Pools[i]); len(faults) > 0 {
			t.Errorf("pool %s: %v", r.Pools[i].Name, faults)
		}
	}
	for i := range r.L2Advertisements {
		if _, err := announcer.FromL2Advertisement(&r.L2Advertisements[i]); err != nil {
			t.Error(err)
		}
	}
	for i := range r.BGPAdvertisements {
		if _, err := announcer.FromBGPAdvertisement(&r.BGPAdvertisements[i]); err != nil {
			t.Error(err)
		}
	}
	for i := range r.Peers {
		if _, err := announcer.FromBGPPeer(&r.Peers[i]); err != nil {
			t.Error(err)
		}
	}
}

// What is imported is what the API server takes.
func TestTheAPIServerTakesIt(t *testing.T) {
	c := apiServer(t)
	for _, source := range Sources() {
		for _, o := range imported(t, source).Objects() {
			object, ok := o.(client.Object)
			if !ok {
				t.Fatalf("a %T cannot be created", o)
			}
			text, _ := Manifest(o)
			object.SetName(string(source) + "-" + object.GetName())
			if err := c.Create(t.Context(), object); err != nil {
				t.Errorf("%s: %v\n%s", source, err, text)
			}
		}
	}
}

// A password is shown nowhere but in the object that it is for.
func TestNotesTellNoPassword(t *testing.T) {
	for source, password := range map[Source]string{MetalLB: "secret", KubeVip: "geheim"} {
		for _, n := range imported(t, source).Notes {
			if strings.Contains(n.Value, password) {
				t.Errorf("%s: %s", source, n)
			}
		}
	}
}

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		name, in, err string
		count         int
	}{
		{"nothing", "", "", 0},
		{"only comments", "# none\n---\n---\n", "", 0},
		{"two", "apiVersion: v1\nkind: A\n---\napiVersion: v1\nkind: B\n", "", 2},
		{"a list", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: A}\n- {apiVersion: v1, kind: B}\n", "", 2},
		{"JSON", `{"apiVersion":"v1","kind":"A"}`, "", 1},
		{"no object", "apiVersion: v1\nkind: A\n---\na: b\n", "document 2", 0},
		{"no YAML", "a: [", "document 1", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Decode([]byte(tt.in))
			switch {
			case tt.err == "" && err != nil:
				t.Error(err)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("the error is %v, want %q in it", err, tt.err)
			case len(got) != tt.count:
				t.Errorf("%d objects, want %d", len(got), tt.count)
			}
		})
	}
}

// kube-vip in static pods is configured alike in each of them.
func TestKubeVipInPods(t *testing.T) {
	pod := func(name string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: kube-system}\n" +
			"spec: {containers: [{image: 'ghcr.io/kube-vip/kube-vip:v1.0.0', env: [{name: vip_arp, value: 'true'}, {name: vip_interface, value: eth0}]}]}\n---\n"
	}
	objects, err := Decode([]byte(pod("kube-vip-a") + pod("kube-vip-b")))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(KubeVip, objects)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.L2Advertisements) != 1 || len(r.L2Advertisements[0].Spec.Interfaces) != 1 {
		t.Errorf("made %+v", r.L2Advertisements)
	}
}

func TestUnknownSource(t *testing.T) {
	if _, err := Read("other", nil); err == nil || !strings.Contains(err.Error(), "metallb") {
		t.Errorf("the error is %v", err)
	}
}

func TestCalicoSelectors(t *testing.T) {
	for in, want := range map[string]string{
		"all()": "", "has(a)": "a", "!has(a)": "!a", "a == 'b'": "a in (b)", `a != "b"`: "a notin (b)",
		"a in {'x','y'} && b not in { 'z' }": "a in (x,y),b notin (z)",
		"a == 'b' || c == 'd'":               "error", "a == b": "error", "has(a b)": "error", "a starts with 'x'": "error", "a in {}": "a in ()",
	} {
		s, err := calicoSelector(in)
		got := "error"
		if err == nil {
			got = metav1.FormatLabelSelector(s)
			if got == "<none>" {
				got = ""
			}
		}
		if got != want {
			t.Errorf("%s is read as %q, want %q (%v)", in, got, want, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, source := range Sources() {
		in, err := os.ReadFile(filepath.Join("testdata", string(source)+".in.yaml"))
		if err != nil {
			f.Fatal(err)
		}
		for _, document := range bytes.Split(in, []byte("---\n")) {
			f.Add(string(source), document)
		}
	}
	f.Fuzz(func(t *testing.T, source string, in []byte) {
		objects, err := Decode(in)
		if err != nil {
			return
		}
		r, err := Read(Source(source), objects)
		if err != nil {
			return
		}
		readable(t, r)
		for i := range r.Pools {
			if n := len(r.Pools[i].Spec.Addresses); n == 0 || n > maxRanges {
				t.Errorf("a pool with %d ranges", n)
			}
		}
		for i := range r.Peers {
			if why, _ := unfitPeer(&r.Peers[i].Spec); why != "" {
				t.Errorf("a peer that cannot be: %s", why)
			}
		}
		for _, n := range r.Notes {
			if n.Object == "" || n.Why == "" {
				t.Errorf("a note without words: %+v", n)
			}
		}
		if _, err := r.YAML(); err != nil {
			t.Error(err)
		}
	})
}
