package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/announcer/bgp"
	"github.com/fairlead/fairlead/announcer/members"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// say is what a speaker says of sessions, as in "tor Active; rr Established Up".
func say(b *v1alpha1.SpeakerBGP) string {
	if b == nil {
		return ""
	}
	var out []string
	for _, s := range b.Sessions {
		words := strings.TrimSpace(fmt.Sprintf("%s %s %s", s.Peer, s.State, s.BFD))
		if s.LastError != nil {
			words += " (" + s.LastError.Message + ")"
		}
		if s.BFDError != "" {
			words += " [" + s.BFDError + "]"
		}
		out = append(out, words)
	}
	return strings.Join(out, "; ")
}

func (l *selfLedger) since(n int) (at []time.Time, last string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.at[n:]), say(l.wrote[len(l.wrote)-1].BGP)
}

// What somebody may wait for is written soon, and at the common pace when it goes on
// changing.
func TestSessionsAreToldEarly(t *testing.T) {
	one := func(state v1alpha1.SessionState, bfd, why string) *v1alpha1.SpeakerBGP {
		s := v1alpha1.SpeakerSession{Peer: "tor", State: state, BFD: bfd}
		if why != "" {
			s.LastError = &v1alpha1.SpeakerError{Message: why, At: metav1.NewTime(time.Now().Truncate(time.Second))}
		}
		return &v1alpha1.SpeakerBGP{Sessions: []v1alpha1.SpeakerSession{s}}
	}
	const active, up = v1alpha1.SessionActive, v1alpha1.SessionEstablished
	for _, c := range []struct {
		what string
		do   func(w *selfWriter)
		// within is how long after do began the last write was, least and most how
		// many there were.
		within      time.Duration
		least, most int
		last        string
	}{
		{"nothing happens", func(*selfWriter) {}, 0, 0, 0, "tor Active"},
		{"a session is established", func(w *selfWriter) { w.setSessions(one(up, "", "")) }, selfSoon, 1, 1, "tor Established"},
		{"another one is listed", func(w *selfWriter) {
			b := one(active, "", "")
			b.Sessions = append([]v1alpha1.SpeakerSession{{Peer: "rr", State: active}}, b.Sessions...)
			w.setSessions(b)
		}, selfSoon, 1, 1, "rr Active; tor Active"},
		{"a peer goes", func(w *selfWriter) { w.setSessions(nil) }, selfSoon, 1, 1, ""},
		{"BFD sees the peer", func(w *selfWriter) { w.setSessions(one(active, "Up", "")) }, selfSoon, 1, 1, "tor Active Up"},
		{"all happens at once", func(w *selfWriter) {
			w.setSessions(one(active, "Up", ""))
			time.Sleep(selfSoon / 2)
			w.setSessions(one(up, "Up", ""))
		}, selfSoon, 1, 1, "tor Established Up"},
		{"something else waits already", func(w *selfWriter) {
			w.setWork(7, members.Stats{})
			time.Sleep(time.Second)
			w.setSessions(one(up, "", ""))
		}, time.Second + selfSoon, 1, 1, "tor Established"},
		{"BFD cannot work, again and again", func(w *selfWriter) {
			for range 20 {
				b := one(up, "Down", "")
				b.Sessions[0].BFDError = "UDP port 3784 is in use."
				w.setSessions(b)
				time.Sleep(time.Second)
			}
		}, selfSoon, 1, 1, "tor Established Down [UDP port 3784 is in use.]"},
		{"what keeps BFD from working comes and goes", func(w *selfWriter) {
			for n := range 120 {
				b := one(up, "Down", "")
				if n%2 == 0 {
					b.Sessions[0].BFDError = "interface eth0 is down."
				}
				w.setSessions(b)
				time.Sleep(time.Second)
			}
		}, 2*time.Minute + selfEvery, 2 * 60 / 5, 2*60/5 + selfBurst + 1, "tor Established Down"},
		{"another error", func(w *selfWriter) { w.setSessions(one(active, "", "connection refused")) }, selfEvery, 1, 1, "tor Active (connection refused)"},
		{"the same error again and again", func(w *selfWriter) {
			for range 20 {
				w.setSessions(one(active, "", "connection refused"))
				time.Sleep(8 * time.Second)
			}
		}, selfEvery, 1, 1, "tor Active (connection refused)"},
		{"a session comes and goes", func(w *selfWriter) {
			for n := range 120 {
				w.setSessions(one(up, "", fmt.Sprint(n)))
				time.Sleep(500 * time.Millisecond)
				w.setSessions(one(active, "", fmt.Sprint(n)))
				time.Sleep(500 * time.Millisecond)
			}
			w.setSessions(one(up, "", ""))
		}, 2*time.Minute + selfEvery, 2 * 60 / 5, 2*60/5 + selfBurst + 1, "tor Established"},
		{"it is calm again", func(w *selfWriter) {
			for n := range 20 {
				w.setSessions(one(up, "", fmt.Sprint(n)))
				time.Sleep(500 * time.Millisecond)
				w.setSessions(one(active, "", fmt.Sprint(n)))
				time.Sleep(500 * time.Millisecond)
			}
			time.Sleep((selfBurst + 1) * selfEvery)
			w.setSessions(one(up, "", ""))
		}, 20*time.Second + (selfBurst+1)*selfEvery + selfSoon, selfBurst, 20/5 + selfBurst + 2, "tor Established"},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, l := startSelfWriter(t)
				w.setWork(1, members.Stats{})
				synctest.Wait()
				w.setSessions(one(active, "", ""))
				time.Sleep(time.Second)
				if at, last := l.since(0); len(at) != 2 || last != "tor Active" {
					t.Fatalf("after a second there are %d writes, the last says %q", len(at), last)
				}
				time.Sleep(time.Minute)
				begun := time.Now()
				c.do(w)
				time.Sleep(time.Minute)
				at, last := l.since(2)
				if len(at) < c.least || len(at) > c.most || last != c.last {
					t.Errorf("%d writes, want %d to %d; the last says %q, want %q", len(at), c.least, c.most, last, c.last)
				}
				if n := len(at); n > 0 && at[n-1].Sub(begun) > c.within {
					t.Errorf("the last write was after %s, want %s at most", at[n-1].Sub(begun), c.within)
				}
			})
		})
	}
}

// A session is listed as it stands, in the words of the API, also before anything
// has happened.
func TestSessionsInTheWordsOfTheAPI(t *testing.T) {
	started, since := time.Unix(1000, 0), time.Unix(2000, 0)
	remote := netip.MustParseAddrPort("192.0.2.1:179")
	taken := fmt.Errorf("UDP port 3784 is in use: %w", unix.EADDRINUSE).Error()
	for _, c := range []struct {
		what, waiting string
		in            bgp.Session
		bfd           sight
		want          string
		since         time.Time
	}{
		{"the router does not know it yet", "", bgp.Session{}, sight{}, "tor Active", started},
		{"tried for, and not reached yet", "", bgp.Session{State: bgp.Connect, Why: "not yet connected", Since: since}, sight{}, "tor Active", since},
		{"agreeing on terms", "", bgp.Session{State: bgp.OpenSent, Remote: remote, Since: since}, sight{}, "tor Active", since},
		{"not reached", "", bgp.Session{State: bgp.Connect, Why: "connection refused", LastError: "connection refused", Since: since}, sight{}, "tor Active (connection refused)", since},
		{"without its password", "no password", bgp.Session{}, sight{}, "tor Idle (no password)", started},
		{"held", "", bgp.Session{State: bgp.Idle, Why: "BFD: no packet", LastError: "old", Since: since}, sight{}, "tor Idle (BFD: no packet)", since},
		{"refused", "", bgp.Session{State: bgp.Idle, Refused: true, Why: "refused: no ASN", Since: since}, sight{}, "tor Idle (refused: no ASN)", since},
		{"established", "", bgp.Session{State: bgp.Established, Remote: remote, Since: since}, sight{}, "tor Established", since},
		{"established again", "", bgp.Session{State: bgp.Established, LastError: "hold timer expired", Since: since}, sight{}, "tor Established (hold timer expired)", since},
		{"watched", "", bgp.Session{State: bgp.Established, Since: since}, sight{state: "Up", strict: true}, "tor Established Up", since},
		{
			"BFD cannot receive", "",
			bgp.Session{State: bgp.Established, Since: since},
			sight{state: "Down", trouble: taken},
			"tor Established Down [UDP port 3784 is in use: address already in use. Stop the other program; BFD tries again every second. " +
				"Until then the loss of the peer is noticed after the hold time of BGP only.]", since,
		},
		{
			"BFD cannot send, and BGP does not come up either", "",
			bgp.Session{State: bgp.Connect, LastError: "connection refused", Since: since},
			sight{state: "Down", trouble: "interface eth0 is down"},
			"tor Active Down (connection refused) [interface eth0 is down. Mend that on the node; BFD tries again every second. " +
				"Until then the loss of the peer is noticed after the hold time of BGP only.]", since,
		},
		{
			"BFD cannot send any more, and the peer is heard", "",
			bgp.Session{State: bgp.Established, Since: since},
			sight{state: "Up", trouble: "sending to the peer: network is unreachable", strict: true},
			"tor Established Up [sending to the peer: network is unreachable. Mend that on the node; BFD tries again every second. " +
				"Until then the peer may take this node for lost.]", since,
		},
		{
			"held back for BFD, which has no key", "",
			bgp.Session{State: bgp.Idle, Since: since},
			sight{state: "Down", keyless: "The key is not there.", strict: true},
			"tor Idle Down (BFD: The key is not there. Until it is, the profile, which is strict, keeps the session of BGP down.) " +
				"[The key is not there. Until it is, the profile, which is strict, keeps the session of BGP down.]", since,
		},
		{
			"held back for BFD, which cannot receive", "",
			bgp.Session{State: bgp.Idle, Why: "held", Since: since},
			sight{state: "Down", trouble: taken, strict: true},
			"tor Idle Down (BFD: UDP port 3784 is in use: address already in use. Stop the other program; BFD tries again every second. " +
				"Until then the profile, which is strict, keeps the session of BGP down.) " +
				"[UDP port 3784 is in use: address already in use. Stop the other program; BFD tries again every second. " +
				"Until then the profile, which is strict, keeps the session of BGP down.]", since,
		},
		{
			"refused, and BFD cannot receive", "",
			bgp.Session{State: bgp.Idle, Refused: true, Why: "refused: no ASN", Since: since},
			sight{state: "Down", trouble: "x", strict: true},
			"tor Idle Down (refused: no ASN) [x. Mend that on the node; BFD tries again every second. " +
				"Until then the profile, which is strict, keeps the session of BGP down.]", since,
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := sessionOf(c.in, "tor", c.waiting, c.bfd, started)
			if got := say(&v1alpha1.SpeakerBGP{Sessions: []v1alpha1.SpeakerSession{s}}); got != c.want || !s.Since.Time.Equal(c.since) {
				t.Errorf("it says %q since %s, want %q since %s", got, s.Since, c.want, c.since)
			}
		})
	}
}
