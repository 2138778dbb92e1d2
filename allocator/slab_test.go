package allocator

import "testing"

func TestSlab(t *testing.T) {
	var s slab[int]
	if got := s.take(0); got == nil || len(got) != 0 {
		t.Fatalf("nothing is %#v", got)
	}
	var all [][]int
	for n := range 2 * slabSize {
		got := s.take(n)
		if len(got) != n || cap(got) != n {
			t.Fatalf("%d of %d, asked for %d", len(got), cap(got), n)
		}
		for i := range got {
			if got[i] != 0 {
				t.Fatalf("value %d of %d is used by another", i, n)
			}
			got[i] = n
		}
		all = append(all, got)
	}
	for n, got := range all {
		for _, v := range got {
			if v != n {
				t.Fatalf("a value of %d was given again to %d", n, v)
			}
		}
	}
}
