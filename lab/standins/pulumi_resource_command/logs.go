package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// logger shows messages to the person at the engine. Status messages are those that a display may drop again.
type logger interface {
	status(ctx context.Context, urn, message string)
	warning(ctx context.Context, urn, message string)
}

// engineLog sends messages to the engine. A message that gets lost must not fail the operation, so errors are dropped.
type engineLog struct{ engine pulumirpc.EngineClient }

func (l engineLog) status(ctx context.Context, urn, message string) {
	l.send(ctx, &pulumirpc.LogRequest{Severity: pulumirpc.LogSeverity_INFO, Message: message, Urn: urn, Ephemeral: true})
}

func (l engineLog) warning(ctx context.Context, urn, message string) {
	l.send(ctx, &pulumirpc.LogRequest{Severity: pulumirpc.LogSeverity_WARNING, Message: message, Urn: urn})
}

func (l engineLog) send(ctx context.Context, request *pulumirpc.LogRequest) {
	_, _ = l.engine.Log(context.WithoutCancel(ctx), request)
}

type discard struct{}

func (discard) status(context.Context, string, string)  {}
func (discard) warning(context.Context, string, string) {}

// recorder keeps what a command writes, and shows it line by line as far as its logging mode allows. SSH sessions and
// processes write both streams from goroutines of their own, hence the lock.
type recorder struct {
	show    func(line string)
	logging string

	mutex          sync.Mutex
	stdout, stderr bytes.Buffer
	both           bytes.Buffer
	pending        map[string]*bytes.Buffer
}

// The logging modes, as the schema has them. An empty mode means both.
const (
	logStdout = "stdout"
	logStderr = "stderr"
	logBoth   = "stdoutAndStderr"
	logNone   = "none"
)

func newRecorder(logging string, show func(line string)) *recorder {
	return &recorder{show: show, logging: logging, pending: map[string]*bytes.Buffer{}}
}

// stream is an end of the recorder to write into: "stdout" or "stderr".
func (r *recorder) stream(name string) io.Writer {
	whole := &r.stdout
	if name == logStderr {
		whole = &r.stderr
	}
	shown := r.logging == "" || r.logging == logBoth || r.logging == name
	r.pending[name] = &bytes.Buffer{}
	return writerFunc(func(data []byte) {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		whole.Write(data)
		r.both.Write(data)
		if shown {
			r.pending[name].Write(data)
			r.flush(name, false)
		}
	})
}

// flush shows the complete lines of a stream, and with rest the incomplete last one.
func (r *recorder) flush(name string, rest bool) {
	buffer := r.pending[name]
	for {
		line, err := buffer.ReadString('\n')
		if err != nil {
			if rest && line != "" {
				r.show(line)
			} else {
				buffer.WriteString(line)
			}
			return
		}
		r.show(strings.TrimRight(line, "\r\n"))
	}
}

// finish shows what has no newline at its end.
func (r *recorder) finish() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, name := range []string{logStdout, logStderr} {
		if r.pending[name] != nil {
			r.flush(name, true)
		}
	}
}

// outputs are the streams as properties: without the one newline at the end that a command line has.
func (r *recorder) outputs() output {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return output{
		stdout: strings.TrimSuffix(r.stdout.String(), "\n"),
		stderr: strings.TrimSuffix(r.stderr.String(), "\n"),
	}
}

// transcript is both streams as they came, for the error of a failed command.
func (r *recorder) transcript() string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.both.String()
}

type writerFunc func(data []byte)

func (f writerFunc) Write(data []byte) (int, error) {
	f(data)
	return len(data), nil
}
