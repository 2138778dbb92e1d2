package kube

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// WatchClient is a client with the caller's rights that can also follow objects.
func (e *Env) WatchClient() (client.WithWatch, error) {
	c, err := e.Connect()
	if err != nil {
		return nil, err
	}
	w, ok := c.(client.WithWatch)
	if !ok {
		return nil, fmt.Errorf("a client of type %T cannot follow objects", c)
	}
	return w, nil
}
