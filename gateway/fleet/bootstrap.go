package fleet

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// XDSCluster is the name of the cluster by which Envoy reaches the xDS server. The
// encoder must not define one of that name.
const XDSCluster = "fairlead-xds"

const (
	adminCluster = "fairlead-admin"
	// observePrefix is the prefix of the statistics of our own listener, so that
	// they can be told from the Gateways'.
	observePrefix = "fairlead-observe"
)

type (
	object = map[string]any
	list   = []any
)

// Bootstrap is the configuration that Envoy starts with, as YAML: how it reaches
// the xDS server, what it counts, what it refuses before it runs out of memory,
// and the listener for probes and metrics.
func Bootstrap(id ID, c Config, s Settings) (string, error) {
	text, err := yaml.Marshal(object{
		// The id and cluster of the node are arguments (arguments).
		"admin": object{"address": object{"pipe": object{"path": adminSocket, "mode": 0o600}}},
		"static_resources": object{
			"listeners": list{observeListener(s)},
			"clusters":  list{xdsCluster(s), adminOverSocket()},
		},
		"dynamic_resources": dynamicResources(),
		"overload_manager":  overloadManager(c.Workload),
		"layered_runtime":   layeredRuntime(),
		"stats_config":      statsConfig(),
		// Statistics of a cluster are made when it is first used.
		"deferred_stat_options": object{"enable_deferred_creation_stats": true},
	})
	if err != nil {
		return "", fmt.Errorf("writing the bootstrap of fleet %s: %w", id.Name(), err)
	}
	return string(text), nil
}

// dynamicResources asks for everything on one stream. Without a limit on the wait
// for the first listeners and clusters, Envoy is not ready before it has them.
func dynamicResources() object {
	ads := object{"ads": object{}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
	return object{
		"ads_config": object{
			"api_type": "DELTA_GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": true,
			"grpc_services": list{object{"envoy_grpc": object{
				"cluster_name": XDSCluster,
				// A standby refuses connections, so the next try is soon; a
				// leader that died is followed within seconds.
				"retry_policy": object{"retry_back_off": object{"base_interval": "0.25s", "max_interval": "2s"}},
			}}},
		},
		"lds_config": ads, "cds_config": ads,
	}
}

// xdsCluster has an endpoint per controller; only the leader takes connections.
func xdsCluster(s Settings) object {
	return object{
		"name": XDSCluster, "connect_timeout": "2s", "lb_policy": "ROUND_ROBIN",
		"cluster_type": object{"name": "envoy.cluster.dns", "typed_config": typed("envoy.extensions.clusters.dns.v3.DnsCluster", object{
			"dns_lookup_family": lookupFamily(s.Families), "dns_refresh_rate": "5s",
			// While no controller runs there is no address to be had: look
			// more often then.
			"dns_failure_refresh_rate": object{"base_interval": "0.5s", "max_interval": "2s"},
		})},
		"load_assignment": object{"cluster_name": XDSCluster, "endpoints": list{object{"lb_endpoints": list{
			object{"endpoint": object{"address": socket(s.XDSServerName(), s.XDSPort)}},
		}}}},
		"upstream_connection_options": object{"tcp_keepalive": object{"keepalive_probes": 3, "keepalive_time": 10, "keepalive_interval": 5}},
		"typed_extension_protocol_options": object{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", object{
			"explicit_http_config": object{"http2_protocol_options": object{
				"connection_keepalive": object{"interval": "10s", "timeout": "5s"},
			}},
		})},
		"transport_socket": object{"name": "envoy.transport_sockets.tls", "typed_config": typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", object{
			"sni":                s.XDSServerName(),
			"common_tls_context": xdsTLS(s),
		})},
	}
}

func xdsTLS(s Settings) object {
	file := func(name string) object {
		return object{"path_config_source": object{"path": fileIn(name)}, "resource_api_version": "V3"}
	}
	return object{
		// As a client, Envoy offers TLS 1.2 at most if it is not told.
		"tls_params":                         object{"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
		"tls_certificate_sds_secret_configs": list{object{"name": "certificate", "sds_config": file(certificateFile)}},
		"combined_validation_context": object{
			"default_validation_context": object{"match_typed_subject_alt_names": list{
				object{"san_type": "DNS", "matcher": object{"exact": s.XDSServerName()}},
			}},
			"validation_context_sds_secret_config": object{"name": "authority", "sds_config": file(authorityFile)},
		},
	}
}

// adminOverSocket leads to the admin interface, which listens on a socket in a
// folder of the pod and nowhere else.
func adminOverSocket() object {
	return object{
		"name": adminCluster, "type": "STATIC", "connect_timeout": "1s",
		"load_assignment": object{"cluster_name": adminCluster, "endpoints": list{object{"lb_endpoints": list{
			object{"endpoint": object{"address": object{"pipe": object{"path": adminSocket}}}},
		}}}},
	}
}

// observeListener answers probes and Prometheus, and no other path of the admin
// interface. It goes on when Envoy is at its limit of connections.
func observeListener(s Settings) object {
	get := func(path string, action object) object {
		route := object{"match": object{"path": path, "headers": list{object{"name": ":method", "string_match": object{"exact": "GET"}}}}}
		for k, v := range action {
			route[k] = v
		}
		return route
	}
	admin := object{"route": object{"cluster": adminCluster, "timeout": "15s"}}
	routes := list{get("/ready", admin), get("/stats/prometheus", admin), get("/live", object{"direct_response": object{"status": 200}})}
	return object{
		"name": observePrefix, "stat_prefix": observePrefix, "address": everywhere(s.Families, ObservePort),
		"ignore_global_conn_limit": true, "bypass_overload_manager": true,
		"filter_chains": list{object{"filters": list{object{
			"name": "envoy.filters.network.http_connection_manager",
			"typed_config": typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", object{
				"stat_prefix": observePrefix, "codec_type": "HTTP1", "generate_request_id": false,
				"request_headers_timeout": "5s", "common_http_protocol_options": object{"idle_timeout": "60s"},
				"route_config": object{"name": observePrefix, "virtual_hosts": list{object{"name": "all", "domains": list{"*"}, "routes": routes}}},
				"http_filters": list{object{"name": "envoy.filters.http.router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", object{})}},
			}),
		}}}},
	}
}

// overloadManager refuses new work before the kernel kills Envoy for its memory.
func overloadManager(w Workload) object {
	monitors := list{object{
		"name":         "envoy.resource_monitors.global_downstream_max_connections",
		"typed_config": typed("envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig", object{"max_active_downstream_connections": w.MaxConnections}),
	}}
	out := object{"refresh_interval": "0.25s"}
	if limit := w.memoryLimit(); limit > 0 {
		const heap = "envoy.resource_monitors.fixed_heap"
		monitors = append(monitors, object{
			"name": heap,
			// A part is for what is not heap: code, stacks, the kernel's share.
			"typed_config": typed("envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig", object{"max_heap_size_bytes": limit / 10 * 8}),
		})
		at := func(share float64) list {
			return list{object{"name": heap, "threshold": object{"value": share}}}
		}
		out["actions"] = list{
			object{"name": "envoy.overload_actions.shrink_heap", "triggers": at(0.9)},
			object{"name": "envoy.overload_actions.disable_http_keepalive", "triggers": at(0.92)},
			object{"name": "envoy.overload_actions.stop_accepting_requests", "triggers": at(0.95)},
			object{"name": "envoy.overload_actions.stop_accepting_connections", "triggers": at(0.98)},
		}
	}
	out["resource_monitors"] = monitors
	return out
}

func layeredRuntime() object {
	return object{"layers": list{object{"name": "fairlead", "static_layer": Runtime()}}}
}

// Runtime is what an Envoy must be started with for what package xds encodes, in a
// static layer of its runtime.
func Runtime() map[string]any {
	return object{
		// Envoy refuses a regular expression whose program is bigger than 100
		// instructions, which a long literal path already is, and with it the
		// whole route table. RE2 runs in linear time, so the size of one is
		// harmless; that of all is bounded by the size of the objects.
		"re2.max_program_size.error_level": 1 << 20,
		"re2.max_program_size.warn_level":  1 << 20,
	}
}

// statsConfig bounds what is counted. Of what grows with the number of clusters
// and routes, only a few statistics are made; Envoy has more than a hundred for
// each.
func statsConfig() object {
	patterns := list{}
	for _, prefix := range []string{
		"access_logs.", "cluster." + XDSCluster + ".", "cluster_manager.", "control_plane.", "http.", "listener.", "listener_manager.",
		"main_thread.", "overload.", "server.", "tcp.", "tls_inspector.", "tracing.", "udp.", "workers.",
	} {
		patterns = append(patterns, object{"prefix": prefix})
	}
	cluster := []string{
		"membership_(healthy|total)",
		"upstream_cx_(active|connect_fail|connect_timeout|rx_bytes_total|total|tx_bytes_total)",
		"upstream_rq_(active|pending_overflow|retry|time|timeout|total|[1-5]xx)",
	}
	for _, regex := range []string{
		`cluster\.[^.]+\.(` + strings.Join(cluster, "|") + `)`,
		`vhost\.[^.]+\.route\.[^.]+\.upstream_rq_(retry|time|timeout|total|[1-5]xx)`,
	} {
		patterns = append(patterns, object{"safe_regex": object{"regex": regex}})
	}
	return object{"stats_matcher": object{"inclusion_list": object{"patterns": patterns}}, "stats_tags": statsTags()}
}

// statsTags read labels out of the names that the encoder gives: NAMESPACE/GATEWAY
// and, of listeners, PORT/TRANSPORT. Envoy's own labels stay as they are.
func statsTags() list {
	tag := func(name, regex string) object { return object{"tag_name": "fairlead." + name, "regex": regex} }
	return list{
		tag("namespace", `^(?:cluster|http|listener|tcp|udp|vhost)\.(([^./]+)/)`),
		tag("gateway", `^(?:cluster|http|listener|tcp|udp|vhost)\.[^./]+/(([^./]+)[./])`),
		tag("port", `^(?:http|listener|tcp|udp)\.[^./]+/[^./]+/(([0-9]+/(?:tcp|udp))\.)`),
	}
}

func typed(kind string, fields object) object {
	fields["@type"] = "type.googleapis.com/" + kind
	return fields
}

func socket(host string, port uint16) object {
	return object{"socket_address": object{"address": host, "port_value": port}}
}

// everywhere is where to listen to be reached by all families of the pods, and by
// none that the kernel may not have.
func everywhere(families []corev1.IPFamily, port uint16) object {
	v4, v6 := has(families)
	if !v6 {
		return socket("0.0.0.0", port)
	}
	return object{"socket_address": object{"address": "::", "port_value": port, "ipv4_compat": v4}}
}

func lookupFamily(families []corev1.IPFamily) string {
	v4, v6 := has(families)
	switch {
	case v4 && v6:
		return "ALL"
	case v6:
		return "V6_ONLY"
	default:
		return "V4_ONLY"
	}
}

func has(families []corev1.IPFamily) (v4, v6 bool) {
	for _, f := range families {
		v4, v6 = v4 || f == corev1.IPv4Protocol, v6 || f == corev1.IPv6Protocol
	}
	return v4, v6
}
