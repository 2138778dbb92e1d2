package controllers

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func namespaceKind() metav1.TypeMeta { return metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"} }

// namespaceObject is a Namespace of which only the metadata is read.
func namespaceObject() *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: namespaceKind()}
}

// keep keeps an object as it is.
func keep(o any) (any, error) { return o, nil }

// slimNode keeps of a Node what decides where addresses can be announced and
// which addresses the cluster uses itself.
func slimNode(o any) (any, error) {
	n, ok := o.(*corev1.Node)
	if !ok {
		return o, nil
	}
	n.ManagedFields, n.Annotations = nil, nil
	var conditions []corev1.NodeCondition
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady || c.Type == corev1.NodeNetworkUnavailable {
			conditions = append(conditions, corev1.NodeCondition{Type: c.Type, Status: c.Status})
		}
	}
	n.Status = corev1.NodeStatus{Addresses: n.Status.Addresses, Conditions: conditions}
	return n, nil
}

// slimSlice keeps of an EndpointSlice which nodes have endpoints, in what state,
// and how they are reached.
func slimSlice(o any) (any, error) {
	s, ok := o.(*discoveryv1.EndpointSlice)
	if !ok {
		return o, nil
	}
	s.ManagedFields, s.Annotations = nil, nil
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		*e = discoveryv1.Endpoint{Addresses: e.Addresses, NodeName: e.NodeName, Zone: e.Zone, Conditions: e.Conditions, TargetRef: e.TargetRef}
	}
	return s, nil
}

// slimSecret keeps of a Secret the certificate and its key.
func slimSecret(o any) (any, error) {
	s, ok := o.(*corev1.Secret)
	if !ok {
		return o, nil
	}
	s.ManagedFields, s.Annotations, s.Labels = nil, nil, nil
	kept := map[string][]byte{}
	for _, k := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
		if v, ok := s.Data[k]; ok {
			kept[k] = v
		}
	}
	s.Data = kept
	return s, nil
}

// caCertificates is the entry of a ConfigMap that certificates of authorities
// are read from.
const caCertificates = "ca.crt"

// slimConfigMap keeps of a ConfigMap the certificates of authorities.
func slimConfigMap(o any) (any, error) {
	c, ok := o.(*corev1.ConfigMap)
	if !ok {
		return o, nil
	}
	c.ManagedFields, c.Annotations, c.BinaryData = nil, nil, nil
	if v, ok := c.Data[caCertificates]; ok {
		c.Data = map[string]string{caCertificates: v}
	} else {
		c.Data = nil
	}
	return c, nil
}
