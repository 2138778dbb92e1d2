package testbed

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
)

// further are hosts that were added to a cluster, by this process.
type further struct {
	mu    sync.Mutex
	hosts []host
}

func (f *further) list() []host {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.hosts)
}

// add gives a host of that name the lowest number that is free.
func (f *further) add(name string, routes bool) (host, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := firstFurther; n <= lastFurther; n++ {
		if !slices.ContainsFunc(f.hosts, func(h host) bool { return h.Number == n }) {
			h := host{Name: name, Number: n, Routes: routes}
			f.hosts = append(f.hosts, h)
			return h, nil
		}
	}
	return host{}, fmt.Errorf("a cluster has at most %d hosts that were added", lastFurther-firstFurther+1)
}

func (f *further) remove(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hosts = slices.DeleteFunc(f.hosts, func(h host) bool { return h.Name == name })
}

// AddRouter makes a further host on the segment that forwards packets, beside Router, which stays everybody's default
// gateway. Who calls it removes the host; Down removes it too.
func (c *Cluster) AddRouter(name string) error { return c.addHost(name, true) }

// AddClient makes a further host on the segment that is like Client.
func (c *Cluster) AddClient(name string) error { return c.addHost(name, false) }

func (c *Cluster) addHost(name string, routes bool) error {
	if len(portName(name)) > maxLinkName {
		return fmt.Errorf("add a host: the name %s is too long", name)
	}
	if slices.Contains(append(c.Hosts(), lan), name) {
		return fmt.Errorf("add a host: there is one named %s", name)
	}
	h, err := c.further.add(name, routes)
	if err != nil {
		return fmt.Errorf("add the host %s: %w", name, err)
	}
	if err := c.makeHost(h); err != nil {
		return errors.Join(fmt.Errorf("add the host %s: %w", name, err), c.RemoveHost(name))
	}
	return nil
}

func (c *Cluster) makeHost(h host) error {
	if exists(c.layout.nsPath(h.Name)) { // of a process that did not end in order
		if err := c.takeApart(h.Name); err != nil {
			return err
		}
	}
	if err := addNamespace(c.layout.ns(h.Name)); err != nil {
		return fmt.Errorf("make its network namespace: %w", err)
	}
	if err := c.cgroups.make(c.layout, []host{h}); err != nil {
		return err
	}
	return network{c.layout, c.state.Config.Nodes}.connect(h)
}

// RemoveHost ends a host that was added, and all that runs on it.
func (c *Cluster) RemoveHost(name string) error {
	if !slices.ContainsFunc(c.further.list(), func(h host) bool { return h.Name == name }) {
		return fmt.Errorf("remove the host %s: none of that name was added", name)
	}
	if err := c.takeApart(name); err != nil {
		return fmt.Errorf("remove the host %s: %w", name, err)
	}
	c.further.remove(name)
	return nil
}

func (c *Cluster) takeApart(name string) error {
	if err := c.cgroups.killAll(c.layout.hostCgroup(name)); err != nil {
		return err
	}
	// The kernel frees a namespace a while after it is removed, and the port with it.
	port := inNamespace(c.layout.nsPath(lan), func() error { return removeLink(portName(name)) })
	removeGroups(filepath.Join(c.cgroups.tracker, c.layout.hostCgroup(name)))
	return errors.Join(port, removeNamespace(c.layout.ns(name)))
}
