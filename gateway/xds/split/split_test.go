package split

import (
	"fmt"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/fairlead/fairlead/gateway/xds/envoytest"
)

// header carries a request's scope from its arrival to the choice of a table. What a
// client sends under that name is overwritten.
const header = "x-fairlead-scope"

// scopeOf names a part of a table, and is the key by which it is chosen. Every listener
// takes all scopes that there are, so the key tells tables apart too.
func scopeOf(table string, group any) string { return fmt.Sprintf("%s/%v", table, group) }

// part is one group of a table: what is exactly of the group, and what may match a host
// of any. It has the virtual hosts of the whole table, and not copies.
func part(table *routev3.RouteConfiguration, group, groups int) *routev3.RouteConfiguration {
	out := &routev3.RouteConfiguration{
		Name:                     scopeOf(table.GetName(), group),
		IgnorePortInHostMatching: table.GetIgnorePortInHostMatching(),
		RequestHeadersToRemove:   []string{header},
	}
	for _, host := range table.GetVirtualHosts() {
		domain := host.GetDomains()[0]
		if strings.HasPrefix(domain, "*") || groupOf(domain, groups) == group {
			out.VirtualHosts = append(out.VirtualHosts, host)
		}
	}
	return out
}

// scope has a table chosen for its group.
func scope(table string, group int) *routev3.ScopedRouteConfiguration {
	name := scopeOf(table, group)
	return &routev3.ScopedRouteConfiguration{
		Name: name, RouteConfigurationName: name,
		Key: &routev3.ScopedRouteConfiguration_Key{Fragments: []*routev3.ScopedRouteConfiguration_Key_Fragment{{
			Type: &routev3.ScopedRouteConfiguration_Key_Fragment_StringKey{StringKey: name},
		}}},
	}
}

// choosing is a listener that chooses among the parts of its table.
func choosing(l *listenerv3.Listener, groups int) (*listenerv3.Listener, error) {
	l = proto.CloneOf(l)
	err := envoytest.Walk(l, func(m proto.Message) error {
		hcm, ok := m.(*hcmv3.HttpConnectionManager)
		if !ok {
			return nil
		}
		table := hcm.GetRds().GetRouteConfigName()
		mutation, err := anypb.New(&earlyv3.HeaderMutation{Mutations: []*mutationv3.HeaderMutation{{
			Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
				Header:       &corev3.HeaderValue{Key: header, Value: scopeOf(table, "%CEL("+expression(groups)+")%")},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			}},
		}}})
		if err != nil {
			return err
		}
		hcm.EarlyHeaderMutationExtensions = []*corev3.TypedExtensionConfig{{Name: "group", TypedConfig: mutation}}
		hcm.RouteSpecifier = &hcmv3.HttpConnectionManager_ScopedRoutes{ScopedRoutes: scopedRoutes(hcm.GetRds().GetConfigSource())}
		return nil
	})
	return l, err
}

func scopedRoutes(ads *corev3.ConfigSource) *hcmv3.ScopedRoutes {
	type fragment = hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder
	return &hcmv3.ScopedRoutes{
		Name: "scopes",
		ScopeKeyBuilder: &hcmv3.ScopedRoutes_ScopeKeyBuilder{Fragments: []*fragment{{
			Type: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_{
				HeaderValueExtractor: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor{
					Name:        header,
					ExtractType: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_Index{},
				},
			},
		}}},
		RdsConfigSource: ads,
		ConfigSpecifier: &hcmv3.ScopedRoutes_ScopedRds{ScopedRds: &hcmv3.ScopedRds{ScopedRdsConfigSource: ads}},
	}
}
