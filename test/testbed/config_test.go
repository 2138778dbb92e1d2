package testbed

import (
	"strings"
	"testing"
)

func TestConfigComplete(t *testing.T) {
	got, err := Config{}.complete()
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "demo" || got.Nodes != 3 || got.ProxyMode != "nftables" || got.GatewayAPI != "experimental" || got.Timeout == 0 {
		t.Errorf("defaults: %+v", got)
	}
	refused := map[string]Config{
		"upper case":         {Name: "Demo"},
		"a dot":              {Name: "a.b"},
		"dash first":         {Name: "-a"},
		"dash last":          {Name: "a-"},
		"a path":             {Name: "../x"},
		"21 characters":      {Name: strings.Repeat("a", 21)},
		"too many nodes":     {Nodes: MaxNodes + 1},
		"negative nodes":     {Nodes: -1},
		"proxy mode":         {ProxyMode: "ipvs"},
		"channel":            {GatewayAPI: "beta"},
		"unknown extra args": {ExtraArgs: map[string][]string{"kubelte": {"--v=4"}}},
	}
	for what, config := range refused {
		if _, err := config.complete(); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	for _, name := range []string{"a", "a-b", strings.Repeat("a", 20), "9"} {
		if _, err := (Config{Name: name}).complete(); err != nil {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestSameShape(t *testing.T) {
	base := Config{Name: "a", Nodes: 2, ProxyMode: "nftables"}
	other := func(change func(*Config)) Config { c := base; change(&c); return c }
	if !sameShape(base, other(func(c *Config) { c.Reuse, c.ExtraArgs = true, map[string][]string{} })) {
		t.Error("what does not shape the cluster made it another one")
	}
	for what, c := range map[string]Config{
		"nodes": other(func(c *Config) { c.Nodes = 3 }),
		"proxy": other(func(c *Config) { c.ProxyMode = "iptables" }),
		"API":   other(func(c *Config) { c.GatewayAPI = "standard" }),
		"args":  other(func(c *Config) { c.ExtraArgs = map[string][]string{"etcd": {"--x"}} }),
	} {
		if sameShape(base, c) {
			t.Errorf("another %s: taken for the same", what)
		}
	}
}
