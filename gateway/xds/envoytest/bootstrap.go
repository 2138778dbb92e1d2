package envoytest

import "github.com/fairlead/fairlead/gateway/fleet"

// server is the name of the cluster of the xDS server.
const server = "xds"

// bootstrap of an Envoy that takes everything over delta ADS.
func bootstrap(host string, port int) map[string]any {
	socket := func(host string, port int) map[string]any {
		return map[string]any{"socket_address": map[string]any{"address": host, "port_value": port}}
	}
	ads := map[string]any{"ads": map[string]any{}, "resource_api_version": "V3"}
	return map[string]any{
		"node":  map[string]any{"id": "test", "cluster": "test"},
		"admin": map[string]any{"address": socket("127.0.0.1", 0)},
		"layered_runtime": map[string]any{"layers": []any{
			map[string]any{"name": "static", "static_layer": fleet.Runtime()},
		}},
		"dynamic_resources": map[string]any{
			"ads_config": map[string]any{
				"api_type":              "DELTA_GRPC",
				"transport_api_version": "V3",
				"grpc_services":         []any{map[string]any{"envoy_grpc": map[string]any{"cluster_name": server}}},
			},
			"lds_config": ads,
			"cds_config": ads,
		},
		"static_resources": map[string]any{"clusters": []any{map[string]any{
			"name": server,
			"type": "STATIC",
			"load_assignment": map[string]any{
				"cluster_name": server,
				"endpoints": []any{map[string]any{"lb_endpoints": []any{
					map[string]any{"endpoint": map[string]any{"address": socket(host, port)}},
				}}},
			},
			"typed_extension_protocol_options": map[string]any{
				"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": map[string]any{
					"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
					"explicit_http_config": map[string]any{"http2_protocol_options": map[string]any{}},
				},
			},
		}}},
	}
}
