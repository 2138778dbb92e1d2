package lab

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// An API server whose minute for a request is over has deleted a part, and deletes more when it is asked again.
func TestRemovalGoesOnWhereARequestRanOutOfTime(t *testing.T) {
	ranOut := apierrors.NewTimeoutError("not in the time allotted", 0)
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		answers []error
		want    error
		asked   int
	}{
		"at once":     {answers: []error{nil}, asked: 1},
		"in portions": {answers: []error{ranOut, ranOut, nil}, asked: 3},
		"not at all":  {answers: []error{ranOut, refused}, want: refused, asked: 2},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			l := &Lab{Client: interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
				DeleteAllOf: func(context.Context, client.WithWatch, client.Object, ...client.DeleteAllOfOption) error {
					asked++
					return c.answers[asked-1]
				},
			})}
			if err := l.deleteAllOf(t.Context(), &corev1.Service{}); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if asked != c.asked {
				t.Errorf("it was asked %d times, want %d", asked, c.asked)
			}
		})
	}
}

func TestRemovalEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ranOut := apierrors.NewTimeoutError("not in the time allotted", 0)
	l := &Lab{Client: interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		DeleteAllOf: func(context.Context, client.WithWatch, client.Object, ...client.DeleteAllOfOption) error {
			cancel()
			return ranOut
		},
	})}
	if err := l.deleteAllOf(ctx, &corev1.Service{}); !errors.Is(err, ranOut) {
		t.Errorf("got %v, want %v", err, ranOut)
	}
}
