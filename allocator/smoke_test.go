package allocator

import "testing"

func TestSmoke(t *testing.T) {
	b := New()
	b.SetPools([]Pool{{Name: "p", Ranges: []Range{rangeOf("10.0.0.0/30"), rangeOf("fd00::/126")}, AutoAssign: true}})
	c := Claim{Key: Key{"Service", "a", "x"}, Families: []Family{IPv4, IPv6}}
	d := b.Decide(benchNow, c)
	t.Logf("%+v", d)
	if !d.Bound || len(d.Addresses) != 2 || len(d.Touched) != 3 {
		t.Fatal(d)
	}
	for _, a := range d.Touched {
		e, ok := b.Entry(a)
		t.Log(ok, a, e.Holders[0].Bound)
		b.Load(e)
	}
	if d := b.Decide(benchNow, c); len(d.Touched) != 0 {
		t.Fatal(d)
	}
	t.Log(b.Usage("p"))
	t.Log(b.Release(benchNow, c.Key))
}
