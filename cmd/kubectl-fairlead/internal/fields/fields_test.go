package fields

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWriters(t *testing.T) {
	at := func(minute int) *metav1.Time {
		return &metav1.Time{Time: time.Date(2026, 7, 1, 12, minute, 0, 0, time.UTC)}
	}
	entry := func(manager, subresource, fields string, t *metav1.Time) metav1.ManagedFieldsEntry {
		f := &metav1.FieldsV1{}
		f.SetRawBytes([]byte(fields))
		return metav1.ManagedFieldsEntry{Manager: manager, Subresource: subresource, FieldsV1: f, Time: t}
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{
		entry("kubectl", "", `{"f:spec":{"f:ports":{}}}`, at(9)),
		entry("fairlead", "status", `{"f:status":{"f:loadBalancer":{"f:ingress":{}}}}`, at(1)),
		entry("chisel", "status", `{"f:status":{"f:loadBalancer":{"f:ingress":{".":{}}}}}`, at(2)),
		entry("other", "status", `{"f:status":{"f:conditions":{}}}`, at(3)),
		entry("wrong", "status", `not JSON`, at(4)),
		{Manager: "nothing", Subresource: "status"},
	}}}
	got := Writers(svc, "status", "status", "loadBalancer", "ingress")
	if want := []Writer{{"chisel", *at(2)}, {"fairlead", *at(1)}}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func FuzzWriters(f *testing.F) {
	for _, seed := range []string{`{"f:status":{"f:loadBalancer":{}}}`, `{"f:status":null}`, `[]`, `{`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		fields := &metav1.FieldsV1{}
		fields.SetRawBytes(raw)
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m", Subresource: "status", FieldsV1: fields}}}}
		deep := Writers(svc, "status", "status", "loadBalancer")
		if shallow := Writers(svc, "status", "status"); len(deep) > len(shallow) {
			t.Errorf("%s: who owns a part does not own the whole: %v, %v", raw, deep, shallow)
		}
	})
}
