package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/announcer/bfd"
	"github.com/fairlead/fairlead/announcer/bgp"
)

// The metrics of sessions, which are asked for when they are read.
var (
	bgpUpDesc = prometheus.NewDesc(metricsPrefix+"bgp_session_up",
		"Whether the session with a BGPPeer is established (1) or not (0).", []string{"peer"}, nil)
	bgpEstablishedDesc = prometheus.NewDesc(metricsPrefix+"bgp_established_total",
		"How often the session with a BGPPeer came up.", []string{"peer"}, nil)
	bgpUpdatesDesc = prometheus.NewDesc(metricsPrefix+"bgp_updates_total",
		"UPDATE messages sent to a BGPPeer.", []string{"peer"}, nil)
	bgpRoutesDesc = prometheus.NewDesc(metricsPrefix+"bgp_routes",
		"Routes of a BGPPeer, by state: wanted (to be announced to it), sent (announced to it), received (what it announces, which nobody uses).",
		[]string{"peer", "state"}, nil)
	bfdUpDesc = prometheus.NewDesc(metricsPrefix+"bfd_session_up",
		"Whether a session of BFD is up (1) or not (0).", []string{"session"}, nil)
	bfdPacketsDesc = prometheus.NewDesc(metricsPrefix+"bfd_packets_total",
		"Control packets of a session of BFD, by kind: sent, received, refused (came from the peer and was not taken).", []string{"session", "kind"}, nil)
	bfdDownsDesc = prometheus.NewDesc(metricsPrefix+"bfd_downs_total",
		"How often a session of BFD that was up went down.", []string{"session"}, nil)
)

func collectBGP(out chan<- prometheus.Metric, sessions []bgp.Session) {
	for _, s := range sessions {
		out <- prometheus.MustNewConstMetric(bgpUpDesc, prometheus.GaugeValue, oneIf(s.State == bgp.Established), s.Peer)
		out <- prometheus.MustNewConstMetric(bgpEstablishedDesc, prometheus.CounterValue, float64(s.EstablishedCount), s.Peer)
		out <- prometheus.MustNewConstMetric(bgpUpdatesDesc, prometheus.CounterValue, float64(s.UpdatesSent), s.Peer)
		for state, n := range map[string]int{"wanted": s.RoutesWanted, "sent": s.RoutesSent, "received": s.PrefixesReceived} {
			out <- prometheus.MustNewConstMetric(bgpRoutesDesc, prometheus.GaugeValue, float64(n), s.Peer, state)
		}
	}
}

func collectBFD(out chan<- prometheus.Metric, sessions []bfd.Status) {
	for _, s := range sessions {
		out <- prometheus.MustNewConstMetric(bfdUpDesc, prometheus.GaugeValue, oneIf(s.State == bfd.Up), s.Session)
		out <- prometheus.MustNewConstMetric(bfdDownsDesc, prometheus.CounterValue, float64(s.Downs), s.Session)
		for kind, n := range map[string]uint64{"sent": s.Sent, "received": s.Received, "refused": s.Refused} {
			out <- prometheus.MustNewConstMetric(bfdPacketsDesc, prometheus.CounterValue, float64(n), s.Session, kind)
		}
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
