package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/fairlead/fairlead/test/lab"
)

// auditPolicy has the API server write down every request of Fairlead's own
// accounts, and nothing else.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts:` + lab.Namespace + `"]
  - level: None
`

func (b *bench) auditLog() string { return b.path("audit.log") }

// writeAuditPolicy returns the flags of the API server that apply it.
func (b *bench) writeAuditPolicy() ([]string, error) {
	if err := os.WriteFile(b.path("audit.yaml"), []byte(auditPolicy), 0o600); err != nil {
		return nil, fmt.Errorf("writing the audit policy: %w", err)
	}
	// One file for the whole run: it is read from marks on.
	return []string{"--audit-policy-file=" + b.path("audit.yaml"), "--audit-log-path=" + b.auditLog(), "--audit-log-maxsize=100000"}, nil
}

// request is what is used of an audit.k8s.io/v1 Event.
type request struct {
	AuditID string `json:"auditID"`
	Verb    string `json:"verb"`
	User    struct {
		Username string `json:"username"`
	} `json:"user"`
	Object struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	Received time.Time `json:"requestReceivedTimestamp"`
}

// who is the component that made the request.
func (r *request) who() string {
	name := r.User.Username[strings.LastIndexByte(r.User.Username, ':')+1:]
	return strings.TrimPrefix(name, lab.ReleaseName+"-")
}

func (r *request) what() string {
	if r.Object.Subresource != "" {
		return r.Object.Resource + "/" + r.Object.Subresource
	}
	return r.Object.Resource
}

func (r *request) writes() bool {
	switch r.Verb {
	case "get", "list", "watch":
		return false
	}
	return true
}

// mark is a place in the audit log.
type mark struct {
	offset int64
	at     time.Time
}

func (b *bench) markAudit() (mark, error) {
	at := time.Now()
	info, err := os.Stat(b.auditLog())
	if err != nil {
		return mark{}, fmt.Errorf("looking at the API server's audit log: %w", err)
	}
	return mark{info.Size(), at}, nil
}

// requestsSince are those received after the mark, each once.
func (b *bench) requestsSince(m mark) ([]request, error) {
	f, err := os.Open(b.auditLog())
	if err != nil {
		return nil, fmt.Errorf("opening the API server's audit log: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(m.offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the API server's audit log: %w", err)
	}
	return readAudit(f, m.at)
}

func readAudit(in io.Reader, from time.Time) ([]request, error) {
	var out []request
	seen := map[string]bool{} // a request may have several stages
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF { // a line without an end is still being written
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		if r.Received.Before(from) || seen[r.AuditID] {
			continue
		}
		seen[r.AuditID] = true
		out = append(out, r)
	}
}

// tally writes how many requests there were of each kind, most first.
func tally(requests []request) string {
	counts := map[string]int{}
	for i := range requests {
		r := &requests[i]
		counts[fmt.Sprintf("%s %s %s", r.who(), r.Verb, r.what())]++
	}
	keys := make([]string, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if counts[keys[i]] != counts[keys[j]] {
			return counts[keys[i]] > counts[keys[j]]
		}
		return keys[i] < keys[j]
	})
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%d %s", counts[k], k)
	}
	return strings.Join(keys, ", ")
}
