package xds

import (
	"bytes"
	"crypto/sha256"
	"regexp"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fairlead/fairlead/gateway"
)

// downstreamTLS ends TLS from clients; nil passes it through.
func (e *encoder) downstreamTLS(s *gateway.TLSServer, alpn ...string) *corev3.TransportSocket {
	if len(s.Certificates) == 0 {
		return nil
	}
	common := &tlsv3.CommonTlsContext{AlpnProtocols: alpn}
	for _, id := range s.Certificates {
		common.TlsCertificateSdsSecretConfigs = append(common.TlsCertificateSdsSecretConfigs, secret(e.certificateName(id)))
	}
	context := &tlsv3.DownstreamTlsContext{CommonTlsContext: common}
	if s.Client != nil {
		validation := &tlsv3.CertificateValidationContext{}
		if s.Client.InsecureFallback {
			// A certificate is still asked for, and passed over if it is wrong.
			validation.TrustChainVerification = tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED
		}
		common.ValidationContextType = e.validation(validation, s.Client.Authorities)
		context.RequireClientCertificate = wrapperspb.Bool(!s.Client.InsecureFallback)
	}
	return tlsSocket(context)
}

// upstreamTLS begins TLS to a backend.
func (e *encoder) upstreamTLS(b *gateway.Backend) *corev3.TransportSocket {
	common := &tlsv3.CommonTlsContext{}
	switch b.Protocol {
	case gateway.ProtocolHTTP, gateway.ProtocolWebSocket:
		common.AlpnProtocols = []string{"http/1.1"}
	case gateway.ProtocolH2C:
		common.AlpnProtocols = []string{"h2"}
	case gateway.ProtocolTCP, gateway.ProtocolUDP:
	}
	if id := b.TLS.ClientCertificate; id != "" {
		common.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{secret(e.certificateName(id))}
	}
	validation := &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: identities(b.TLS)}
	if b.TLS.System {
		validation.TrustedCa = &corev3.DataSource{
			Specifier: &corev3.DataSource_Filename{Filename: e.settings.systemAuthorities()},
		}
		common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: validation}
	} else {
		common.ValidationContextType = e.validation(validation, b.TLS.Authorities)
	}
	return tlsSocket(&tlsv3.UpstreamTlsContext{CommonTlsContext: common, Sni: b.TLS.ServerName})
}

// identities are what a backend's certificate may say: one of the names given,
// else the server's name.
func identities(t *gateway.BackendTLS) []*tlsv3.SubjectAltNameMatcher {
	if len(t.SANs) == 0 {
		return []*tlsv3.SubjectAltNameMatcher{dnsName(t.ServerName)}
	}
	var all []*tlsv3.SubjectAltNameMatcher
	for _, san := range t.SANs {
		if san.URI != "" {
			all = append(all, &tlsv3.SubjectAltNameMatcher{
				SanType: tlsv3.SubjectAltNameMatcher_URI, Matcher: exactly(san.URI),
			})
			continue
		}
		all = append(all, dnsName(san.DNS))
	}
	return all
}

// dnsName compares with the names in a certificate. Envoy lets a wildcard there
// stand for one label of an exact name; a wildcard of ours likewise stands for
// one label, and for itself.
func dnsName(name string) *tlsv3.SubjectAltNameMatcher {
	matcher := exactly(name)
	if suffix, wild := strings.CutPrefix(name, "*."); wild {
		matcher = fully(`(?i:(\*|[^.]+)\.` + regexp.QuoteMeta(suffix) + `)`)
	}
	return &tlsv3.SubjectAltNameMatcher{SanType: tlsv3.SubjectAltNameMatcher_DNS, Matcher: matcher}
}

// validation takes the authorities over SDS, and the rest from here.
func (e *encoder) validation(rest *tlsv3.CertificateValidationContext, authorities []string) *tlsv3.CommonTlsContext_CombinedValidationContext {
	return &tlsv3.CommonTlsContext_CombinedValidationContext{
		CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
			DefaultValidationContext:         rest,
			ValidationContextSdsSecretConfig: secret(e.authorities(authorities)),
		},
	}
}

// nobody is a hash that no certificate has.
var nobody = strings.Repeat("00", sha256.Size)

// authorities is the name of a secret with the certificates of all. One without
// any would let every certificate through in Envoy: it asks for one that cannot
// be instead.
func (e *encoder) authorities(ids []string) string {
	ids = setOf(ids)
	name := e.authoritiesName(ids)
	context := &tlsv3.CertificateValidationContext{VerifyCertificateHash: []string{nobody}}
	if bundle := e.bundle(ids); len(bundle) > 0 {
		context = &tlsv3.CertificateValidationContext{TrustedCa: inline(bundle)}
	}
	e.out.Secrets[name] = &tlsv3.Secret{
		Name: name,
		Type: &tlsv3.Secret_ValidationContext{ValidationContext: context},
	}
	return name
}

func setOf(ids []string) []string { return slices.Compact(slices.Sorted(slices.Values(ids))) }

// bundle is the certificates of all of them.
func (e *encoder) bundle(authorities []string) []byte {
	var all bytes.Buffer
	for _, id := range authorities {
		all.Write(e.bundles[id])
		if n := all.Len(); n > 0 && all.Bytes()[n-1] != '\n' {
			all.WriteByte('\n')
		}
	}
	return all.Bytes()
}

func (e *encoder) certificate(c gateway.Certificate) {
	name := e.certificateName(c.ID)
	e.out.Secrets[name] = &tlsv3.Secret{
		Name: name,
		Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inline(c.Chain),
			PrivateKey:       inline(c.Key),
		}},
	}
}

func secret(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: overADS()}
}

func inline(value []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: value}}
}

func tlsSocket(context proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(context)},
	}
}

func exactly(value string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: value}}
}

// fully matches the whole value with a regular expression.
func fully(regex string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: re2(regex)}}
}

func re2(regex string) *matcherv3.RegexMatcher { return &matcherv3.RegexMatcher{Regex: regex} }
