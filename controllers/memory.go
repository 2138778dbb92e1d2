package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/service"
)

// memory is what is remembered of objects by name. It is safe for concurrent use.
type memory[V any] struct {
	mu sync.Mutex
	of map[types.NamespacedName]V
}

// get gives the zero value for what is not remembered.
func (m *memory[V]) get(name types.NamespacedName) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[name]
}

func (m *memory[V]) put(name types.NamespacedName, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[types.NamespacedName]V{}
	}
	m.of[name] = v
}

func (m *memory[V]) forget(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.of, name)
}

// take is get, and forget.
func (m *memory[V]) take(name types.NamespacedName) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.of[name]
	delete(m.of, name)
	return v
}

func (m *memory[V]) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.of)
}

func (m *memory[V]) count(matches func(V) bool) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, v := range m.of {
		if matches(v) {
			n++
		}
	}
	return n
}

// contests are the states of all Services, from one look to the next.
type contests struct {
	memory[service.Contest]
	pace service.Pace
}

// get gives a new contest for a Service that is not remembered.
func (c *contests) get(name types.NamespacedName) service.Contest {
	c.mu.Lock()
	defer c.mu.Unlock()
	if was, ok := c.of[name]; ok {
		return was
	}
	return service.Contest{Pace: c.pace}
}

// since is from when on something waits, for a metric.
type since struct{ memory[time.Time] }

// see takes when something has begun to wait, if it does not already.
func (a *since) see(name types.NamespacedName, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = map[types.NamespacedName]time.Time{}
	}
	if _, ok := a.of[name]; !ok {
		a.of[name] = now
	}
}

func (a *since) began(name types.NamespacedName) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.of[name]
	return t, ok
}
