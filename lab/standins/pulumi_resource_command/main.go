// Command pulumi-resource-command is the lab's stand-in for the Pulumi plugin "command" 1.2.1.
//
// Why it exists: the real plugin (github.com/pulumi/pulumi-command) is published as a binary only, and where downloads are
// not possible no module proxy serves its source. With a network the toolchain takes the real one.
//
// What it stands in for: the resources command:remote:Command, command:remote:CopyToRemote and command:local:Command, with
// the properties of the Python package pulumi-command 1.2.1, over real SSH. It keeps the behaviour that programs meet:
//
//   - A preview never runs anything; stdout and stderr are unknown in it when the command would run.
//   - A change of any input runs update, or create again without one. A change of triggers is one like any other to the
//     plugin; the SDK's class asks the engine to replace for it.
//   - delete runs with the inputs in the state, so with the old connection.
//   - stdout and stderr are plain unless the resource names them in additionalSecretOutputs.
//   - A host key, when given, pins the key and its algorithm; without one any key is accepted. An ssh-rsa key fits no server
//     that signs by SHA-2 only, which OpenSSH does since 8.8.
//   - An agent is asked whenever SSH_AUTH_SOCK or agentSocketPath names one, and one that is gone fails the connection
//     although there is a key.
//   - A custom timeout and Cancel are looked at between two dials only. They end nothing that runs on a server: the operation
//     lasts as long as the command. perDialTimeout is over the TCP connection and not over the handshake.
//   - A failed dial is told as "Dial 1/10 failed: retrying", without its cause.
//   - Environment variables go by SSH's "env" requests, and one that the server refuses is an error.
//   - Output lines are shown live as status messages unless logging says otherwise; with "none" nothing is sent.
//   - A failed command's error is `<status>: running "<command>":` and what it wrote.
//
// What it does not do: the function command:local:run, the deprecated command:remote:CopyFile, assetPaths and archivePaths
// of the local command (refused by name), assets made of a URL and archives made of assets.
//
// What differs: a cancelled operation kills a local command with its children; a value that only became secret is no change
// (the real plugin shows one, pulumi/pulumi-command#447).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// version is that of the plugin it stands in for; the engine asks for exactly this one.
const version = "1.2.1"

// engineCheckInterval is how often a plugin looks whether its engine is still alive; the real plugins use the same.
const engineCheckInterval = 5 * time.Minute

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "pulumi-resource-command: %v\n", err)
		os.Exit(1)
	}
}

// serve is the plugin protocol: the engine's address is the one argument, the chosen port is the first line of the output.
func serve(arguments []string) error {
	// A set of its own: the libraries have registered some of these in the common one.
	flags := flag.NewFlagSet("pulumi-resource-command", flag.ContinueOnError)
	flags.Bool("logtostderr", false, "accepted, unused")
	flags.Int("v", 0, "accepted, unused")
	flags.String("tracing", "", "accepted, unused")
	showVersion := flags.Bool("version", false, "print the version")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *showVersion {
		fmt.Println(version)
		return nil
	}

	// The engine ends a plugin with an interrupt.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()

	var logs logger = discard{}
	switch flags.NArg() {
	case 0: // A plugin that a person started by hand, to attach to.
	case 1:
		address := flags.Arg(0)
		connection, err := grpc.NewClient(
			address, grpc.WithTransportCredentials(insecure.NewCredentials()), rpcutil.GrpcChannelOptions(),
		)
		if err != nil {
			return fmt.Errorf("can't reach the engine at %s: %w", address, err)
		}
		defer connection.Close()
		logs = engineLog{pulumirpc.NewEngineClient(connection)}
		if err := rpcutil.Healthcheck(ctx, address, engineCheckInterval, cancel); err != nil {
			return fmt.Errorf("can't watch the engine at %s: %w", address, err)
		}
	default:
		return fmt.Errorf("want one argument, the engine's address, not %d", flags.NArg())
	}

	stop := make(chan bool)
	go func() {
		<-ctx.Done()
		close(stop)
	}()
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: stop,
		Init: func(server *grpc.Server) error {
			pulumirpc.RegisterResourceProviderServer(server, newProvider(ctx, logs))
			return nil
		},
	})
	if err != nil {
		return err
	}
	fmt.Println(handle.Port)
	return <-handle.Done
}
