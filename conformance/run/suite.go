package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

const (
	suitePackage = "./conformance"
	// suiteTimeout ends a suite that hangs. It is no limit of a test.
	suiteTimeout = "90m"
	// gatewayClass is the name in the manifests of both modes.
	gatewayClass = "fairlead"
	// usableAddress is in the pool conformance-static of manifests/addresses.yaml.
	usableAddress = "172.30.0.200"
	// unusableAddress is in no pool: it is one of those for documentation (RFC 5737).
	unusableAddress = "192.0.2.1"
	// envoySockets is where Envoys' admin sockets are in a testbed cluster's
	// folder: its nodes share this machine's files.
	envoySockets = "node*/kubelet/pods/*/volumes/kubernetes.io~empty-dir/*/admin.sock"
)

// compile makes the program of the suite, which can be run on another host.
func (o options) compile(ctx context.Context, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, suitePackage)
	cmd.Dir = lab.Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling the suite: %w\n%s", err, out)
	}
	return nil
}

// args are those of the suite's program: no feature is named, none is exempt, no
// test is skipped and no time limit is changed.
func (o options) args(kubeconfig, runDir string) []string {
	pattern := "^(TestConformance|TestOwnCases)$"
	if o.tests != "" {
		pattern += "/" + o.tests
	}
	verbose := "-test.v"
	if o.json {
		verbose += "=test2json"
	}
	args := []string{
		verbose, "-test.run=" + pattern, "-test.timeout=" + suiteTimeout, "-test.artifacts", "-test.outputdir=" + o.artefacts,
		"--kubeconfig=" + kubeconfig, "--gateway-class=" + gatewayClass, "--mode=" + o.mode, "--version=" + o.version,
		"--usable-address=" + usableAddress, "--unusable-address=" + unusableAddress,
		"--fairlead-namespace=" + lab.Namespace, "--envoy-sockets=" + filepath.Join(runDir, envoySockets),
	}
	if path := o.report(); path != "" {
		args = append(args, "--report-output="+path)
	}
	return args
}

// suite runs the suite on the host outside the cluster, which reaches the
// Gateways' addresses as any machine of the network does, and keeps its output.
func (o options) suite(ctx context.Context, cluster *testbed.Cluster, binary string, out io.Writer) (err error) {
	log, err := os.Create(filepath.Join(o.artefacts, "suite.log"))
	if err != nil {
		return fmt.Errorf("keeping the suite's output: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	cmd := cluster.CommandContext(ctx, testbed.Client, append([]string{binary}, o.args(cluster.SegmentKubeconfig(), cluster.RunDir())...)...)
	cmd.WaitDelay = 10 * time.Second
	to := io.MultiWriter(log, out)
	if o.json {
		return o.withEvents(ctx, cmd, to)
	}
	cmd.Stdout, cmd.Stderr = to, to
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the suite ended with %w; its output is in %s", err, log.Name())
	}
	return nil
}

// withEvents runs the suite and turns its output into what go test -json prints.
func (o options) withEvents(ctx context.Context, suite *exec.Cmd, to io.Writer) error {
	convert := exec.CommandContext(ctx, "go", "tool", "test2json", "-t", "-p", "conformance/"+o.channel+"-"+o.mode)
	convert.Dir, convert.Stdout, convert.Stderr = lab.Root(), to, os.Stderr
	in, err := convert.StdinPipe()
	if err != nil {
		return err
	}
	if err := convert.Start(); err != nil {
		return fmt.Errorf("starting go tool test2json: %w", err)
	}
	suite.Stdout, suite.Stderr = in, in
	failed := suite.Run()
	in.Close()
	if err := convert.Wait(); err != nil {
		return errors.Join(failed, fmt.Errorf("go tool test2json: %w", err))
	}
	if failed != nil {
		return fmt.Errorf("the suite ended with %w; its output is in %s", failed, o.artefacts)
	}
	return nil
}
