package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/test/lab"
)

// resourcesPart fills the ledger in steps, and looks at the processes at each.
func resourcesPart(ctx context.Context, b *bench) (rows []row, err error) {
	clear, err := b.stage(ctx, scene{addresses: []string{manyIPv4}, backends: []string{"node1", "node2", "node3"}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	// What earlier parts left in memory is not to be counted.
	b.say("fresh controllers and speakers")
	if err := errors.Join(b.stopController(ctx), b.startController(ctx), b.replaceSpeakers(ctx)); err != nil {
		return nil, err
	}
	have := 0
	for _, n := range []int{0, b.pick(1000, 100), b.pick(5000, 200)} {
		b.say("%d addresses", n)
		before, err := b.usage(ctx)
		if err != nil {
			return rows, err
		}
		if _, err := b.createServices(ctx, have, n); err != nil {
			return rows, err
		}
		if err := b.settled(ctx, n); err != nil {
			return rows, err
		}
		after, err := b.usage(ctx)
		if err != nil {
			return rows, err
		}
		if added := n - have; added > 0 {
			rows = append(rows, busyRows(before, after, have, n)...)
		}
		have = n
		quiet, err := b.quietRows(ctx, n)
		rows = append(rows, quiet...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// replaceSpeakers restarts all speakers.
func (b *bench) replaceSpeakers(ctx context.Context) error {
	return b.restart(ctx, "daemonset/"+speakerDaemonSet)
}

// restart replaces the pods of a workload as an update does.
func (b *bench) restart(ctx context.Context, workload string) error {
	for _, command := range [][]string{{"restart", workload}, {"status", workload, "--timeout=300s"}} {
		if _, err := b.cluster.Kubectl(ctx, append([]string{"-n", lab.Namespace, "rollout"}, command...)...); err != nil {
			return err
		}
	}
	return nil
}

// usage is what the processes of Fairlead have used, by process id.
type usage map[int]used

type used struct {
	role string
	mib  float64
	cpu  time.Duration
}

// The roles of processes. Of the speakers the table has the one with most.
const (
	working    = "controller"
	standingBy = "controller that stands by"
	speaker    = "speaker (the largest of them)"
)

var roles = []string{working, standingBy, speaker}

func (b *bench) usage(ctx context.Context) (usage, error) {
	leader, err := b.leader(ctx)
	if err != nil {
		return nil, err
	}
	out := usage{}
	for _, component := range []string{"controller", "speaker"} {
		all, err := b.processes(ctx, component)
		if err != nil {
			return nil, err
		}
		for _, p := range all {
			role := speaker
			if component == "controller" {
				role = standingBy
				if p.Pod == leader {
					role = working
				}
			}
			if out[p.PID], err = usedBy(p.PID, role); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func usedBy(pid int, role string) (used, error) {
	mib, err := residentMiB(pid)
	if err != nil {
		return used{}, err
	}
	cpu, err := cpuTime(pid)
	return used{role, mib, cpu}, err
}

// memory is the most that a process of the role has.
func (u usage) memory(role string) float64 {
	most := 0.0
	for _, p := range u {
		if p.role == role {
			most = max(most, p.mib)
		}
	}
	return most
}

// cpuSince is the most that a process of the role has used since before.
func (u usage) cpuSince(before usage, role string) time.Duration {
	most := time.Duration(0)
	for pid, p := range u {
		if p.role == role {
			most = max(most, p.cpu-before[pid].cpu)
		}
	}
	return most
}

// busyRows is what going from one number of addresses to another has cost.
func busyRows(before, after usage, from, to int) []row {
	var rows []row
	for _, role := range roles {
		spent := after.cpuSince(before, role).Seconds()
		rows = append(rows, row{
			what:   fmt.Sprintf("from %d to %d addresses: CPU of the %s", from, to, role),
			figure: spent * 1000 / float64(to-from), unit: "CPU s per 1000 addresses", runs: 1,
		})
	}
	return rows
}

// quietRows watches while nothing happens.
func (b *bench) quietRows(ctx context.Context, n int) ([]row, error) {
	before, err := b.usage(ctx)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := sleep(ctx, time.Duration(b.pick(30, 5))*time.Second); err != nil {
		return nil, err
	}
	after, err := b.usage(ctx)
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	var rows []row
	for _, role := range roles {
		what := fmt.Sprintf("%d addresses: ", n)
		load := after.cpuSince(before, role).Seconds() / took.Seconds()
		rows = append(
			rows,
			row{what: what + "memory (RSS) of the " + role, figure: after.memory(role), unit: "MiB", runs: 1},
			row{what: what + "CPU of the " + role + " at rest", figure: load * 1000, unit: "millicores", runs: 1},
		)
	}
	return rows, nil
}
