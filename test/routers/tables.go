package routers

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Route is a path to a prefix as a router has it. Routers of all kinds are given the words of FRR.
type Route struct {
	// Path are the ASNs of the path, NextHop is the first of its next hops.
	Path, NextHop string
	// LocalPref is empty for 100, which is what routers take a route to have that says nothing of it.
	LocalPref string
	// Communities, LargeCommunities are in order.
	Communities, LargeCommunities string
}

// Neighbour is what a router knows of the other side of a session.
type Neighbour struct {
	Established bool
	ASN         uint32
	RouterID    string
	// Hold is the hold time that was agreed on, Restart for how long routes are to be kept (RFC 4724), and LongLived whether that
	// may be longer (RFC 9494).
	Hold, Restart time.Duration
	LongLived     bool
	// Keepalives counts those that came. BIRD does not count them.
	Keepalives int
}

func unlessUsual(pref string) string {
	if pref == "100" {
		return ""
	}
	return pref
}

// Routes are those that FRR has for a prefix.
func (f *FRR) Routes(prefix string) ([]Route, error) {
	var table struct {
		Paths []struct {
			Path struct {
				String string `json:"string"`
			} `json:"aspath"`
			Pref      json.Number `json:"locPrf"`
			Community struct {
				String string `json:"string"`
			} `json:"community"`
			Large struct {
				String string `json:"string"`
			} `json:"largeCommunity"`
			Hops []struct {
				IP string `json:"ip"`
			} `json:"nexthops"`
		} `json:"paths"`
	}
	family := "ipv4"
	if strings.Contains(prefix, ":") {
		family = "ipv6"
	}
	if err := f.Show("show bgp "+family+" unicast "+prefix, &table); err != nil {
		return nil, err
	}
	var out []Route
	for _, p := range table.Paths {
		r := Route{strings.TrimPrefix(p.Path.String, "Local"), "", unlessUsual(p.Pref.String()), p.Community.String, p.Large.String}
		if len(p.Hops) > 0 {
			r.NextHop = p.Hops[0].IP
		}
		out = append(out, r)
	}
	return out, nil
}

// Neighbour is what FRR knows of a neighbour.
func (f *FRR) Neighbour(address string) (Neighbour, error) {
	var all map[string]struct {
		State    string `json:"bgpState"`
		ASN      uint32 `json:"remoteAs"`
		ID       string `json:"remoteRouterId"`
		Hold     int    `json:"bgpTimerHoldTimeMsecs"`
		Messages struct {
			Keepalives int `json:"keepalivesRecv"`
		} `json:"messageStats"`
		Capabilities struct {
			LongLived string `json:"longLivedGracefulRestart"`
		} `json:"neighborCapabilities"`
		Restart struct {
			Timers struct {
				Received int `json:"receivedRestartTimer"`
			} `json:"timers"`
		} `json:"gracefulRestartInfo"`
	}
	if err := f.Show("show bgp neighbors "+address, &all); err != nil {
		return Neighbour{}, err
	}
	n := all[address]
	return Neighbour{
		Established: n.State == "Established", ASN: n.ASN, RouterID: n.ID, Hold: time.Duration(n.Hold) * time.Millisecond,
		Restart: time.Duration(n.Restart.Timers.Received) * time.Second, LongLived: strings.Contains(strings.ToLower(n.Capabilities.LongLived), "received"),
		Keepalives: n.Messages.Keepalives,
	}, nil
}

// Routes are those that BIRD has for a prefix.
func (b *BIRD) Routes(prefix string) ([]Route, error) {
	out, err := b.Run("show route " + prefix + " all")
	if err != nil {
		return nil, err
	}
	var routes []Route
	for _, one := range strings.Split(out, "BGP.origin:")[1:] {
		hop, _, _ := strings.Cut(behind(one, "BGP.next_hop:"), " ")
		routes = append(routes, Route{
			behind(one, "BGP.as_path:"), hop, unlessUsual(behind(one, "BGP.local_pref:")),
			inFRRsWords(behind(one, "BGP.community:")), inFRRsWords(behind(one, "BGP.large_community:")),
		})
	}
	return routes, nil
}

// Neighbour is what BIRD knows of a neighbour.
func (b *BIRD) Neighbour(address string) (Neighbour, error) {
	out, err := b.Run("show protocols all")
	if err != nil {
		return Neighbour{}, err
	}
	for _, one := range strings.Split(out, "BGP state:") {
		if behind(one, "Neighbor address:") != address {
			continue
		}
		_, theirs, _ := strings.Cut(one, "Neighbor capabilities")
		asn, _ := strconv.ParseUint(behind(one, "Neighbor AS:"), 10, 32)
		_, hold, _ := strings.Cut(behind(one, "Hold timer:"), "/")
		return Neighbour{
			Established: strings.HasPrefix(strings.TrimSpace(one), "Established"), ASN: uint32(asn), RouterID: behind(one, "Neighbor ID:"),
			Hold: seconds(hold), Restart: seconds(behind(theirs, "Restart time:")), LongLived: strings.Contains(theirs, "Long-lived graceful restart"),
		}, nil
	}
	return Neighbour{}, fmt.Errorf("BIRD has no neighbour %s: %s", address, out)
}

func seconds(s string) time.Duration {
	n, _ := strconv.Atoi(s)
	return time.Duration(n) * time.Second
}

// behind finds what stands behind a word on a line.
func behind(text, word string) string {
	for line := range strings.Lines(text) {
		if _, rest, found := strings.Cut(line, word); found {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

var birdCommunity = regexp.MustCompile(`\(([0-9, ]+)\)`)

// inFRRsWords writes communities as FRRouting does, in order.
func inFRRsWords(communities string) string {
	var all [][]int
	for _, m := range birdCommunity.FindAllStringSubmatch(communities, -1) {
		var c []int
		for n := range strings.SplitSeq(m[1], ",") {
			number, _ := strconv.Atoi(strings.TrimSpace(n))
			c = append(c, number)
		}
		all = append(all, c)
	}
	slices.SortFunc(all, slices.Compare)
	words := make([]string, len(all))
	for i, c := range all {
		words[i] = strings.ReplaceAll(strings.Trim(fmt.Sprint(c), "[]"), " ", ":")
		if name := frrNames[words[i]]; name != "" {
			words[i] = name
		}
	}
	return strings.Join(words, " ")
}

var frrNames = map[string]string{
	"65535:0": "graceful-shutdown", "65535:6": "llgr-stale", "65535:666": "blackhole", "65535:65281": "no-export", "65535:65284": "no-peer",
}
