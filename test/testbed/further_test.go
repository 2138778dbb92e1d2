package testbed

import (
	"strings"
	"testing"
)

func TestFurtherHosts(t *testing.T) {
	var f further
	first, err := f.add("router2", true)
	if err != nil || first.v4() != "172.30.0.3" || first.v6() != "fd00:30::3" || first.node() != 0 || !first.Routes {
		t.Fatalf("the first is %+v, %v", first, err)
	}
	if second, err := f.add("client2", false); err != nil || second.Number != first.Number+1 || second.Routes {
		t.Fatalf("the second is %+v, %v", second, err)
	}
	f.remove("router2")
	if again, err := f.add("router3", true); err != nil || again.Number != first.Number {
		t.Fatalf("one that comes after the first has gone is %+v, %v", again, err)
	}
	for {
		h, err := f.add("more", false)
		if err != nil {
			if n := len(f.list()); n != lastFurther-firstFurther+1 || !strings.Contains(err.Error(), "at most 7") {
				t.Errorf("there are %d, and the next is refused with %v", n, err)
			}
			return
		}
		if h.Number >= controlHost.Number {
			t.Fatalf("%+v has the number of another host", h)
		}
	}
}
