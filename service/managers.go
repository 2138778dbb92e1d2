package service

import (
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// rewriter is the manager that wrote a field of the status last, by the newest
// entry of managedFields that owns it and is not ours. Empty: not known.
func rewriter(svc *corev1.Service, path ...string) string {
	return newest(svc, func(e *metav1.ManagedFieldsEntry) bool { return e.Subresource == "status" && Owns(e, path) })
}

// StatusWriter is the manager that wrote the addresses in the status of a Service
// last, ours among them. Empty: not known.
func StatusWriter(svc *corev1.Service) string {
	path := pathOf(placeIngress)
	return latest(svc, func(e *metav1.ManagedFieldsEntry) bool { return Owns(e, path) })
}

// changer is the manager that changed what is asked for: the newest that owns
// one of the places now, else (where something was removed) the newest that
// wrote anything but a status.
func changer(svc *corev1.Service, changed []change) string {
	if m := newest(svc, func(e *metav1.ManagedFieldsEntry) bool {
		for _, c := range changed {
			if c.is != "" && e.Subresource == "" && Owns(e, pathOf(c.place)) {
				return true
			}
		}
		return false
	}); m != "" {
		return m
	}
	return newest(svc, func(e *metav1.ManagedFieldsEntry) bool { return e.Subresource == "" })
}

// newest is the manager of the newest entry that fits and is not ours.
func newest(svc *corev1.Service, fits func(*metav1.ManagedFieldsEntry) bool) string {
	return latest(svc, func(e *metav1.ManagedFieldsEntry) bool {
		return e.Manager != v1alpha1.FieldManager && e.Manager != "" && fits(e)
	})
}

// latest is the manager of the newest entry that fits.
func latest(svc *corev1.Service, fits func(*metav1.ManagedFieldsEntry) bool) string {
	var best *metav1.ManagedFieldsEntry
	for i := range svc.ManagedFields {
		e := &svc.ManagedFields[i]
		if !fits(e) {
			continue
		}
		if best == nil || e.Time != nil && (best.Time == nil || !e.Time.Before(best.Time)) {
			best = e
		}
	}
	if best == nil {
		return ""
	}
	return best.Manager
}

// pathOf is the path of a place in managedFields.
func pathOf(place string) []string {
	if name, ok := strings.CutPrefix(place, annotationPrefix); ok {
		return []string{"f:metadata", "f:annotations", "f:" + name}
	}
	var path []string
	for p := range strings.SplitSeq(place, ".") {
		path = append(path, "f:"+p)
	}
	return path
}

// Owns tells whether an entry of managedFields owns a path, written as it is there
// ("f:status"), or something below it.
func Owns(e *metav1.ManagedFieldsEntry, path []string) bool {
	if e.FieldsV1 == nil {
		return false
	}
	raw := json.RawMessage(e.FieldsV1.GetRawBytes())
	for _, step := range path {
		var fields map[string]json.RawMessage
		if json.Unmarshal(raw, &fields) != nil {
			return false
		}
		below, ok := fields[step]
		if !ok {
			return false
		}
		raw = below
	}
	return true
}

// named shows a manager in a sentence.
func named(manager string) string {
	if manager == "" {
		return "Another writer"
	}
	return quoted(manager)
}
