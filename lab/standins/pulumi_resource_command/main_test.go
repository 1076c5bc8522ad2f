package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

// The test binary is the plugin when this is set.
const asPlugin = "ISTHMUS_TEST_AS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The process as the engine starts it: its flags, the port as the first line, an end by interrupt.
func TestProcess(t *testing.T) {
	process := exec.Command(os.Args[0], "-logtostderr", "-v=3", "--tracing", "file:x")
	process.Env = append(os.Environ(), asPlugin+"=1")
	process.Stderr = os.Stderr
	stdout, err := process.StdoutPipe()
	must(t, err)
	must(t, process.Start())
	port, err := bufio.NewReader(stdout).ReadString('\n')
	must(t, err)
	connection, err := grpc.NewClient(
		"127.0.0.1:"+strings.TrimSpace(port), grpc.WithTransportCredentials(insecure.NewCredentials()),
	)
	must(t, err)
	client := pulumirpc.NewResourceProviderClient(connection)
	info, err := client.GetPluginInfo(t.Context(), &emptypb.Empty{})
	must(t, err)
	if info.GetVersion() != "1.2.1" {
		t.Errorf("version %s", info.GetVersion())
	}
	configured, err := client.Configure(t.Context(), &pulumirpc.ConfigureRequest{})
	must(t, err)
	if !configured.GetAcceptSecrets() || !configured.GetSupportsPreview() {
		t.Errorf("Configure says %v", configured)
	}
	connection.Close()
	must(t, process.Process.Signal(os.Interrupt))
	if err := process.Wait(); err != nil {
		t.Errorf("the plugin ended with %v", err)
	}
}
