package xds_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
	"github.com/fairlead/fairlead/gateway/xds/envoytest"
)

// TestManifests holds for whatever the CRDs let through.
func TestManifests(t *testing.T) {
	c, crds := newCluster(t), readSchemas(t)
	rapid.Check(t, func(t *rapid.T) {
		in := input(t, c)
		built := gateway.Build(in)
		r := xds.Encode(built.Model, shifted, xds.Settings{})
		again := gateway.Build(shuffled(in, rapid.Uint64().Draw(t, "order")))
		if !bytes.Equal(wire(t, r), wire(t, xds.Encode(again.Model, shifted, xds.Settings{}))) {
			t.Error("another order gives other bytes")
		}
		if status, other := said(t, built), said(t, again); status != other {
			t.Errorf("another order gives another status:\n%s\n%s", status, other)
		}
		crds.checkAll(t, in, built.Status(gateway.Progress{}))
		checkNames(t, built.Model, r)
		checkReferences(t, r)
		for _, l := range r.Listeners {
			checkChains(t, l)
		}
		for _, table := range r.Routes {
			checkHosts(t, table)
		}
	})
}

func said(t failer, b *gateway.Built) string {
	text, err := json.Marshal(b.Status(gateway.Progress{}))
	if err != nil {
		t.Fatalf("%v", err)
	}
	return string(text)
}

// shuffled is the same input in another order.
func shuffled(in gateway.Input, seed uint64) gateway.Input {
	r := rand.New(rand.NewPCG(seed, 0))
	c := in.Objects.(*cluster)
	in.ListenerSets = inAnyOrder(r, in.ListenerSets)
	in.Routes = gateway.Routes{
		HTTP: inAnyOrder(r, in.Routes.HTTP), GRPC: inAnyOrder(r, in.Routes.GRPC), TLS: inAnyOrder(r, in.Routes.TLS),
		TCP: inAnyOrder(r, in.Routes.TCP), UDP: inAnyOrder(r, in.Routes.UDP),
	}
	in.Objects = c.with(inAnyOrder(r, c.grants), inAnyOrder(r, c.policies))
	return in
}

func inAnyOrder[T any](r *rand.Rand, list []T) []T {
	out := slices.Clone(list)
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// checks is how many examples are asked for (-rapid.checks).
func checks(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(flag.Lookup("rapid.checks").Value.String())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// apart gives each Gateway of an Envoy its own ports.
func apart(gw int) xds.PortOf {
	numbers := []uint16{80, 443, 8080, 1, 65535}
	return func(number uint16, _ gateway.Transport) uint16 {
		return uint16(10000 + len(numbers)*gw + slices.Index(numbers, number))
	}
}

// TestEnvoyTakesManifests has the real Envoy load what comes of many drawn
// Gateways, all at once, and each alone if it refuses them.
func TestEnvoyTakesManifests(t *testing.T) {
	envoytest.Binary(t)
	settings := xds.Settings{SystemAuthorities: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(settings.SystemAuthorities, authority(t, "system").bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t)
	drawn := rapid.Custom(func(t *rapid.T) gateway.Input { return input(t, c) })
	const together = 50
	for first := 0; first < checks(t); first += together {
		all := xds.Resources{Listeners: map[string]*listenerv3.Listener{}, Routes: map[string]*routev3.RouteConfiguration{}, Clusters: map[string]*clusterv3.Cluster{}, Secrets: map[string]*tlsv3.Secret{}}
		each := map[int]xds.Resources{}
		for i := range together {
			built := gateway.Build(drawn.Example(first + i))
			m := *built.Model
			m.Gateway.Name = fmt.Sprint("drawn", first+i)
			r := xds.Encode(&m, apart(i), settings)
			each[first+i] = r
			maps.Copy(all.Listeners, r.Listeners)
			maps.Copy(all.Routes, r.Routes)
			maps.Copy(all.Clusters, r.Clusters)
			maps.Copy(all.Secrets, r.Secrets)
		}
		if envoytest.Refusal(t, all) == "" {
			continue
		}
		for _, seed := range slices.Sorted(maps.Keys(each)) {
			if refusal := envoytest.Refusal(t, each[seed]); refusal != "" {
				t.Errorf("Envoy refuses example %d: %s", seed, refusal)
			}
		}
	}
}
