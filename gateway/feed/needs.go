package feed

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// needsOf is what an Envoy asks us for once it has a cluster, and without which the
// cluster is of no use: its endpoints, and the secrets of its TLS.
func needsOf(c *clusterv3.Cluster) []ref {
	var out []ref
	if eds := c.GetEdsClusterConfig(); c.GetType() == clusterv3.Cluster_EDS && eds.GetEdsConfig().GetAds() != nil {
		name := eds.GetServiceName()
		if name == "" {
			name = c.GetName()
		}
		out = append(out, ref{assignments, name})
	}
	out = append(out, secretsOf(c.GetTransportSocket())...)
	for _, m := range c.GetTransportSocketMatches() {
		out = append(out, secretsOf(m.GetTransportSocket())...)
	}
	return out
}

func secretsOf(s *corev3.TransportSocket) []ref {
	t := &tlsv3.UpstreamTlsContext{}
	if !s.GetTypedConfig().MessageIs(t) || s.GetTypedConfig().UnmarshalTo(t) != nil {
		return nil
	}
	common := t.GetCommonTlsContext()
	configs := append([]*tlsv3.SdsSecretConfig{
		common.GetValidationContextSdsSecretConfig(), common.GetCombinedValidationContext().GetValidationContextSdsSecretConfig(),
	}, common.GetTlsCertificateSdsSecretConfigs()...)
	var out []ref
	for _, c := range configs {
		if c.GetSdsConfig().GetAds() != nil {
			out = append(out, ref{secrets, c.GetName()})
		}
	}
	return out
}
