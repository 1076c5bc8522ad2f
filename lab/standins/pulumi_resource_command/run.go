package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// output is what a command wrote.
type output struct{ stdout, stderr string }

// runRemote runs a command line on the server of the inputs. state holds the output of the run before.
func runRemote(
	ctx context.Context, command string, inputs, state resource.PropertyMap, logs logger, urn string,
) (output, error) {
	show := func(message string) { logs.status(ctx, urn, message) }
	client, closeClient, err := connectionOf(inputs).dial(ctx, show)
	if err != nil {
		return output{}, err
	}
	defer closeClient()
	session, err := client.NewSession()
	if err != nil {
		return output{}, err
	}
	defer session.Close()

	for _, pair := range environmentOf(inputs) {
		if err := session.Setenv(pair[0], pair[1]); err != nil {
			return output{}, fmt.Errorf("could not set environment variable %q: %w; %s", pair[0], err, acceptEnvHint)
		}
	}
	for _, pair := range previousOutput(inputs, state) {
		if err := session.Setenv(pair[0], pair[1]); err != nil {
			logs.warning(ctx, urn, fmt.Sprintf("could not set environment variable %q: %v; %s", pair[0], err, acceptEnvHint))
		}
	}
	if stdin := textOr(inputs, "stdin", ""); stdin != "" {
		session.Stdin = strings.NewReader(stdin)
	}
	record := newRecorder(textOr(inputs, "logging", ""), show)
	session.Stdout, session.Stderr = record.stream(logStdout), record.stream(logStderr)

	// Neither a custom timeout nor a cancelled operation ends what runs on the server, and it is waited for.
	err = session.Run(command)
	record.finish()
	return finished(record, command, err)
}

const acceptEnvHint = "the SSH server has to allow it by AcceptEnv; else write 'NAME=value command', or use stdin"

// runLocal runs a command line on this machine.
func runLocal(
	ctx context.Context, command string, inputs, state resource.PropertyMap, logs logger, urn string,
) (output, error) {
	interpreter := textsOf(inputs, "interpreter")
	if len(interpreter) == 0 {
		interpreter = []string{"/bin/sh", "-c"}
	}
	process := exec.CommandContext(ctx, interpreter[0], append(interpreter[1:len(interpreter):len(interpreter)], command)...)
	process.Dir = textOr(inputs, "dir", "")
	process.Env = os.Environ()
	for _, pair := range append(environmentOf(inputs), previousOutput(inputs, state)...) {
		process.Env = append(process.Env, pair[0]+"="+pair[1])
	}
	if stdin := textOr(inputs, "stdin", ""); stdin != "" {
		process.Stdin = strings.NewReader(stdin)
	}
	record := newRecorder(textOr(inputs, "logging", ""), func(line string) { logs.status(ctx, urn, line) })
	process.Stdout, process.Stderr = record.stream(logStdout), record.stream(logStderr)

	// A group of its own, so that a cancelled shell takes what it started with it.
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	process.Cancel = func() error { return syscall.Kill(-process.Process.Pid, syscall.SIGKILL) }
	process.WaitDelay = 5 * time.Second
	err := process.Run()
	record.finish()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return finished(record, command, err)
}

// finished gives the output, or the error in the real plugin's words: programs and people search for them.
func finished(record *recorder, command string, err error) (output, error) {
	if err == nil {
		return record.outputs(), nil
	}
	return output{}, fmt.Errorf("%w: running %q:\n%s", err, command, record.transcript())
}
