package lab

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// All of a namespace go and nothing of another one, also where some go by themselves meanwhile.
func TestDeleteAll(t *testing.T) {
	builder := fake.NewClientBuilder()
	for i := range 20 {
		for _, namespace := range []string{"emptied", "other"} {
			builder = builder.WithObjects(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprint("s", i)}})
		}
	}
	l := &Lab{Client: interceptor.NewClient(builder.Build(), interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			err := c.Delete(ctx, o, options...)
			if o.GetName() == "s7" {
				err = apierrors.NewNotFound(schema.GroupResource{Resource: "services"}, "s7")
			}
			return err
		},
	})}
	if err := l.deleteAll(t.Context(), &corev1.ServiceList{}, "emptied"); err != nil {
		t.Fatal(err)
	}
	for namespace, want := range map[string]int{"emptied": 0, "other": 20} {
		var left corev1.ServiceList
		if err := l.Client.List(t.Context(), &left, client.InNamespace(namespace)); err != nil || len(left.Items) != want {
			t.Errorf("%d are left in namespace %s, want %d; %v", len(left.Items), namespace, want, err)
		}
	}
}

func TestDeleteAllSaysWhatFailed(t *testing.T) {
	refused := errors.New("refused")
	l := &Lab{Client: interceptor.NewClient(
		fake.NewClientBuilder().WithObjects(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "emptied", Name: "s"}}).Build(),
		interceptor.Funcs{Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return refused }},
	)}
	if err := l.deleteAll(t.Context(), &corev1.ServiceList{}, "emptied"); !errors.Is(err, refused) {
		t.Errorf("got %v, want %v", err, refused)
	}
}
