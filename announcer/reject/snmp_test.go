package reject

import (
	"strconv"
	"strings"
)

// snmp finds a counter of the group Ip in /proc/net/snmp, whose lines come in pairs of names and values.
func snmp(text, name string) uint64 {
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		if len(names) == 0 || names[0] != "Ip:" {
			continue
		}
		for j, n := range names {
			if n == name {
				v, _ := strconv.ParseUint(values[j], 10, 64)
				return v
			}
		}
	}
	panic("no counter " + name)
}

// snmp6 finds a counter in /proc/net/snmp6.
func snmp6(text, name string) uint64 {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			v, _ := strconv.ParseUint(f[1], 10, 64)
			return v
		}
	}
	panic("no counter " + name)
}
