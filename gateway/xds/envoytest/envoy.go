package envoytest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
)

// patience is how long something may take that takes a moment.
const patience = 30 * time.Second

// AnyPort lets the kernel choose every port: Envoy.Address knows which.
func AnyPort(uint16, gateway.Transport) uint16 { return 0 }

// Envoy is a running one. It ends with the test.
type Envoy struct {
	t       testing.TB
	source  *source // nil: another xDS server feeds it
	process *os.Process
	admin   string
	client  *http.Client
	log     string
}

// Start runs an Envoy that has taken the resources. The test fails if Envoy
// refuses any, now or later. More goes into the bootstrap.
func Start(t testing.TB, r xds.Resources, where Endpoints, more map[string]any) *Envoy {
	t.Helper()
	Binary(t)
	e := &Envoy{t: t, source: newSource(t)}
	e.source.set(t, r, where)
	e.start(e.source.port, more)
	e.Await("all its listeners", func() error {
		if n := e.Stat("listener_manager.total_listeners_active"); n != len(r.Listeners) {
			return fmt.Errorf("%d of %d", n, len(r.Listeners))
		}
		return nil
	})
	return e
}

// Follow runs an Envoy that takes everything from an xDS server of the test's own, at
// a port of loopback. Nothing fails if it refuses something.
func Follow(t testing.TB, port int) *Envoy {
	t.Helper()
	e := &Envoy{t: t}
	e.start(port, nil)
	return e
}

// start waits until Envoy is ready.
func (e *Envoy) start(port int, more map[string]any) {
	e.t.Helper()
	e.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	dir := e.t.TempDir()
	e.log = filepath.Join(dir, "log")
	admin := filepath.Join(dir, "admin")
	config := bootstrap("127.0.0.1", port)
	maps.Copy(config, more)
	e.run(exec.Command(Binary(e.t), "-c", write(e.t, config),
		"--admin-address-path", admin, "--disable-hot-restart", "--concurrency", "1",
		"--log-level", "info", "--log-path", e.log))
	e.Await("its admin address", func() error {
		address, err := os.ReadFile(admin)
		e.admin = "http://" + string(address)
		if err == nil && len(address) == 0 {
			err = fmt.Errorf("%s is empty", admin)
		}
		return err
	})
	e.Await("Envoy to be ready", func() error {
		_, err := e.Admin("/ready")
		return err
	})
}

// PID is that of its process.
func (e *Envoy) PID() int { return e.process.Pid }

// refusals are what it refused of its own source.
func (e *Envoy) refusals() []string {
	if e.source == nil {
		return nil
	}
	return e.source.refusals()
}

// run ends the process whatever becomes of the test, and shows the log if it
// failed.
func (e *Envoy) run(cmd *exec.Cmd) {
	e.t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		e.t.Fatalf("starting Envoy: %v", err)
	}
	e.process = cmd.Process
	e.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for _, refused := range e.refusals() {
			e.t.Errorf("Envoy refused %s", refused)
		}
		if e.t.Failed() {
			text, _ := os.ReadFile(e.log)
			e.t.Logf("Envoy's log:\n%s", text[max(0, len(text)-8000):])
		}
	})
}

// Update replaces all resources. It does not wait for Envoy.
func (e *Envoy) Update(r xds.Resources, where Endpoints) {
	e.t.Helper()
	e.source.set(e.t, r, where)
}

// Await tries until there is no error.
func (e *Envoy) Await(what string, try func() error) {
	e.t.Helper()
	end := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			e.t.Fatalf("waiting for %s: %v (refused: %v)", what, err, e.refusals())
		}
		time.Sleep(10 * time.Millisecond) // another process: there is nothing to wait on
	}
}

// Admin asks Envoy about itself.
func (e *Envoy) Admin(path string) (string, error) {
	response, err := e.client.Get(e.admin + path)
	if err != nil {
		return "", fmt.Errorf("asking Envoy for %s: %w", path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", response.StatusCode, body)
	}
	return string(body), err
}

// Stat is the value of a counter or gauge, 0 if there is none.
func (e *Envoy) Stat(name string) int {
	e.t.Helper()
	text, err := e.Admin("/stats?filter=" + name)
	if err != nil {
		e.t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && key == name {
			n, err := strconv.Atoi(value)
			if err != nil {
				e.t.Fatalf("the statistic %s: %v", name, err)
			}
			return n
		}
	}
	return 0
}

// Address is where a listener listens.
func (e *Envoy) Address(listener string) string {
	e.t.Helper()
	text, err := e.Admin("/listeners?format=json")
	if err != nil {
		e.t.Fatal(err)
	}
	var all struct {
		Statuses []struct {
			Name    string `json:"name"`
			Address struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		e.t.Fatalf("reading Envoy's listeners: %v", err)
	}
	for _, l := range all.Statuses {
		if l.Name == listener {
			return net.JoinHostPort(l.Address.Socket.Address, strconv.Itoa(l.Address.Socket.Port))
		}
	}
	e.t.Fatalf("Envoy has no listener %s: %s", listener, text)
	return ""
}
