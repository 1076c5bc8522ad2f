package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/asset"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

type object = map[string]any

// memory is a logger that keeps what a person would see.
type memory struct {
	mutex    sync.Mutex
	messages []string
}

func (m *memory) status(_ context.Context, _, message string)  { m.add("status: " + message) }
func (m *memory) warning(_ context.Context, _, message string) { m.add("warning: " + message) }

func (m *memory) add(message string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.messages = append(m.messages, message)
}

func (m *memory) all() string {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return strings.Join(m.messages, "\n")
}

// engine does with the provider what Pulumi's does with one resource: check, then diff, then create, update or replace.
type engine struct {
	*testing.T
	provider *provider
	logs     *memory
	urn      string
	id       string
	inputs   resource.PropertyMap
	state    resource.PropertyMap
}

func newEngine(t *testing.T, kind string) *engine {
	logs := &memory{}
	urn := resource.NewURN("dev", "project", "", "", "res")
	return &engine{
		T: t, provider: newProvider(t.Context(), logs), logs: logs,
		urn: strings.Replace(string(urn), "::::", "::"+kind+"::", 1),
	}
}

func (e *engine) check(given object) (resource.PropertyMap, []*pulumirpc.CheckFailure) {
	e.Helper()
	news, err := marshal(resource.NewPropertyMapFromMap(given))
	must(e.T, err)
	response, err := e.provider.Check(e.Context(), &pulumirpc.CheckRequest{Urn: e.urn, News: news})
	must(e.T, err)
	inputs, err := unmarshal(response.Inputs, true)
	must(e.T, err)
	return inputs, response.Failures
}

func (e *engine) checked(given object) resource.PropertyMap {
	e.Helper()
	inputs, failures := e.check(given)
	if len(failures) > 0 {
		e.Fatalf("check failed: %v", failures)
	}
	return inputs
}

func (e *engine) create(given object, preview bool) (resource.PropertyMap, error) {
	e.Helper()
	inputs := e.checked(given)
	properties, err := marshal(inputs)
	must(e.T, err)
	response, err := e.provider.Create(
		e.Context(), &pulumirpc.CreateRequest{Urn: e.urn, Properties: properties, Preview: preview},
	)
	if err != nil {
		return nil, err
	}
	state, err := unmarshal(response.Properties, true)
	must(e.T, err)
	if !preview {
		e.id, e.inputs, e.state = response.Id, inputs, state
	}
	return state, nil
}

func (e *engine) diff(given object) *pulumirpc.DiffResponse {
	e.Helper()
	oldInputs, err := marshal(e.inputs)
	must(e.T, err)
	olds, err := marshal(e.state)
	must(e.T, err)
	news, err := marshal(e.checked(given))
	must(e.T, err)
	response, err := e.provider.Diff(
		e.Context(), &pulumirpc.DiffRequest{Id: e.id, Urn: e.urn, Olds: olds, OldInputs: oldInputs, News: news},
	)
	must(e.T, err)
	return response
}

func (e *engine) update(given object, preview bool) (resource.PropertyMap, error) {
	e.Helper()
	inputs := e.checked(given)
	olds, err := marshal(e.state)
	must(e.T, err)
	news, err := marshal(inputs)
	must(e.T, err)
	response, err := e.provider.Update(
		e.Context(), &pulumirpc.UpdateRequest{Id: e.id, Urn: e.urn, Olds: olds, News: news, Preview: preview},
	)
	if err != nil {
		return nil, err
	}
	state, err := unmarshal(response.Properties, true)
	must(e.T, err)
	if !preview {
		e.inputs, e.state = inputs, state
	}
	return state, nil
}

func (e *engine) delete() error {
	e.Helper()
	properties, err := marshal(e.state)
	must(e.T, err)
	_, err = e.provider.Delete(e.Context(), &pulumirpc.DeleteRequest{Id: e.id, Urn: e.urn, Properties: properties})
	return err
}

func (e *engine) wantOutput(state resource.PropertyMap, name resource.PropertyKey, want string) {
	e.Helper()
	if got := plain(state)[name].StringValue(); got != want {
		e.Errorf("%s is %q, want %q", name, got, want)
	}
}

// site is a server and a connection that reaches it.
func site(t *testing.T, set func(*sshd)) (*sshd, object) {
	t.Helper()
	_, private, authorized := newKey(t)
	server := startSSHD(t, authorized, set)
	return server, object{
		"host": server.host, "port": portOf(server), "privateKey": private, "hostKey": server.hostKeyLine(),
	}
}

func portOf(server *sshd) float64 {
	var port float64
	_ = json.Unmarshal([]byte(server.port), &port)
	return port
}

func with(base object, more object) object {
	merged := object{}
	for key, value := range base {
		merged[key] = value
	}
	for key, value := range more {
		merged[key] = value
	}
	return merged
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q lacks %q", err, part)
		}
	}
}

func TestPreviewNeverRuns(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "ran")
	server, connection := site(t, nil)
	e := newEngine(t, remoteCommandType)
	command := object{"connection": connection, "create": "touch " + marker, "update": "touch " + marker}
	state, err := e.create(command, true)
	must(t, err)
	for _, name := range []resource.PropertyKey{"stdout", "stderr"} {
		if value := state[name]; !value.IsComputed() {
			t.Errorf("%s of a previewed create is %v, want an unknown", name, value)
		}
	}
	e.id, e.inputs, e.state = "id", e.checked(command), e.checked(command)
	state, err = e.update(with(command, object{"stdin": "new"}), true)
	must(t, err)
	if !state["stdout"].ContainsUnknowns() {
		t.Errorf("stdout of a previewed update is %v, want unknown", state["stdout"])
	}
	if _, err := os.Stat(marker); err == nil || server.logins > 0 {
		t.Errorf("a preview ran the command (%d logins)", server.logins)
	}
}

func TestOutputIsPlainAndTrimmed(t *testing.T) {
	_, connection := site(t, nil)
	e := newEngine(t, remoteCommandType)
	state, err := e.create(object{"connection": connection, "create": "printf 'a\\nb\\n\\n'; echo oops >&2"}, false)
	must(t, err)
	e.wantOutput(state, "stdout", "a\nb\n")
	e.wantOutput(state, "stderr", "oops")
	if !state["connection"].IsSecret() {
		t.Error("the connection is not a secret")
	}
	for _, name := range []resource.PropertyKey{"stdout", "stderr"} {
		if state[name].IsSecret() {
			t.Errorf("%s is a secret although nobody asked for it", name)
		}
	}
	if !strings.HasPrefix(e.id, "res") {
		t.Errorf("id %q does not begin with the name", e.id)
	}
}

func TestLocalOutputIsPlain(t *testing.T) {
	e := newEngine(t, localCommandType)
	state, err := e.create(object{"create": "echo $GREETING from $(pwd)", "dir": "/", "environment": object{"GREETING": "hi"}}, false)
	must(t, err)
	e.wantOutput(state, "stdout", "hi from /")
	if state["stdout"].IsSecret() {
		t.Error("stdout is secret although nobody asked for it")
	}
}

func TestChangedInputUpdatesAndSoDoesAChangedTrigger(t *testing.T) {
	_, connection := site(t, nil)
	e := newEngine(t, remoteCommandType)
	base := object{"connection": connection, "create": "echo one", "triggers": []any{"a"}}
	_, err := e.create(base, false)
	must(t, err)

	if same := e.diff(base); same.Changes != pulumirpc.DiffResponse_DIFF_NONE {
		t.Errorf("equal inputs show a change: %v", same)
	}
	changes := map[string]object{
		"create":                      {"create": "echo two"},
		"update":                      {"update": "echo two"},
		"environment":                 {"environment": object{"A": "b"}},
		"stdin":                       {"stdin": "x"},
		"connection.perDialTimeout":   {"connection": with(connection, object{"perDialTimeout": 3.0})},
		"connection.proxy (an added)": {"connection": with(connection, object{"proxy": object{"host": "h"}})},
	}
	for name, change := range changes {
		response := e.diff(with(base, change))
		if response.Changes != pulumirpc.DiffResponse_DIFF_SOME || len(response.Replaces) > 0 {
			t.Errorf("a change of %s gives %v, want an update", name, response)
		}
	}
	for name, triggers := range map[string]any{
		"value": []any{"b"}, "length": []any{"a", "b"}, "none": []any{}, "removed": nil,
	} {
		response := e.diff(with(base, object{"triggers": triggers}))
		if response.Changes != pulumirpc.DiffResponse_DIFF_SOME || len(response.Replaces) > 0 {
			t.Errorf("changed triggers (%s) give %v, want an update", name, response)
		}
	}
}

func TestSecretnessAloneIsNoChange(t *testing.T) {
	e := newEngine(t, localCommandType)
	_, err := e.create(object{"create": "echo one"}, false)
	must(t, err)
	response := e.diff(object{"create": resource.MakeSecret(resource.NewStringProperty("echo one"))})
	if response.Changes != pulumirpc.DiffResponse_DIFF_NONE {
		t.Errorf("got %v", response)
	}
}

func TestUpdateRunsUpdateOrCreateAgain(t *testing.T) {
	_, connection := site(t, func(s *sshd) { s.acceptEnv["PULUMI_COMMAND_STDOUT"] = true })
	e := newEngine(t, remoteCommandType)
	base := object{"connection": connection, "create": "echo created"}
	_, err := e.create(base, false)
	must(t, err)
	state, err := e.update(with(base, object{"stdin": "x"}), false)
	must(t, err)
	e.wantOutput(state, "stdout", "created")
	state, err = e.update(with(base, object{"update": "echo updated, was $PULUMI_COMMAND_STDOUT"}), false)
	must(t, err)
	e.wantOutput(state, "stdout", "updated, was created")
	state, err = e.update(with(base, object{"update": "echo was=$PULUMI_COMMAND_STDOUT", "addPreviousOutputInEnv": false}), false)
	must(t, err)
	e.wantOutput(state, "stdout", "was=")
}

func TestPreviousOutputThatTheServerRefusesIsAWarning(t *testing.T) {
	_, connection := site(t, nil)
	e := newEngine(t, remoteCommandType)
	base := object{"connection": connection, "create": "echo s3cret-out"}
	_, err := e.create(with(base, object{"logging": "none"}), false)
	must(t, err)
	_, err = e.update(with(base, object{"create": "true"}), false)
	must(t, err)
	if seen := e.logs.all(); !strings.Contains(seen, `warning: could not set environment variable "PULUMI_COMMAND_STDOUT"`) ||
		strings.Contains(seen, "s3cret-out") {
		t.Errorf("messages: %s", seen)
	}
}

func TestDeleteRunsWithStoredInputs(t *testing.T) {
	folder := t.TempDir()
	_, connection := site(t, nil)
	e := newEngine(t, remoteCommandType)
	base := object{"connection": connection, "create": "cat > " + folder + "/state", "stdin": "stored",
		"delete": "cat > " + folder + "/deleted"}
	_, err := e.create(base, false)
	must(t, err)
	must(t, e.delete())
	content, err := os.ReadFile(filepath.Join(folder, "deleted"))
	must(t, err)
	if string(content) != "stored" {
		t.Errorf("delete got %q on stdin, want the stored one", content)
	}
}

func TestFailureNamesCommandStatusAndOutput(t *testing.T) {
	_, connection := site(t, nil)
	e := newEngine(t, remoteCommandType)
	_, err := e.create(object{"connection": connection, "create": "echo partly; echo broken >&2; exit 3"}, false)
	wantError(t, err, `Process exited with status 3: running "echo partly; echo broken >&2; exit 3":`, "partly\n", "broken\n")
	local := newEngine(t, localCommandType)
	_, err = local.create(object{"create": "echo broken >&2; exit 4"}, false)
	wantError(t, err, `exit status 4: running "echo broken >&2; exit 4":`, "broken\n")
}

func TestLoggingModes(t *testing.T) {
	_, connection := site(t, nil)
	want := map[string][]string{
		"":                {"status: out", "status: err"},
		"stdoutAndStderr": {"status: out", "status: err"},
		"stdout":          {"status: out"},
		"stderr":          {"status: err"},
		"none":            nil,
	}
	for mode, lines := range want {
		for _, kind := range []string{remoteCommandType, localCommandType} {
			e := newEngine(t, kind)
			given := object{"create": "echo out; sleep 0.05; echo err >&2"}
			if mode != "" {
				given["logging"] = mode
			}
			if kind == remoteCommandType {
				given["connection"] = connection
			}
			_, err := e.create(given, false)
			must(t, err)
			e.wantOutput(e.state, "stdout", "out")
			seen := slices.Sorted(slices.Values(e.logs.messages))
			if slices.Sort(lines); !slices.Equal(seen, lines) {
				t.Errorf("%s with logging %q shows %q, want %q", kind, mode, seen, lines)
			}
		}
	}
}

func TestEnvironmentByRequests(t *testing.T) {
	_, connection := site(t, func(s *sshd) { s.acceptEnv["ALLOWED"] = true })
	e := newEngine(t, remoteCommandType)
	base := object{"connection": connection, "create": "echo $ALLOWED"}
	state, err := e.create(with(base, object{"environment": object{"ALLOWED": "yes"}}), false)
	must(t, err)
	e.wantOutput(state, "stdout", "yes")
	_, err = e.create(with(base, object{"environment": object{"ALLOWED": "yes", "OTHER": "t0ken"}}), false)
	wantError(t, err, `could not set environment variable "OTHER"`, "AcceptEnv")
	if strings.Contains(err.Error(), "t0ken") {
		t.Errorf("the error shows the value: %v", err)
	}
}

func TestHostKey(t *testing.T) {
	server, connection := site(t, nil)
	once := with(connection, object{"dialErrorLimit": 0})
	e := newEngine(t, remoteCommandType)
	_, err := e.create(object{"connection": once, "create": "true"}, false)
	must(t, err)

	anyKey := with(once, nil)
	delete(anyKey, "hostKey")
	_, err = e.create(object{"connection": anyKey, "create": "true"}, false)
	must(t, err)

	_, _, other := newKey(t)
	logins := server.logins
	_, err = e.create(object{"connection": with(once, object{"hostKey": other}), "create": "true"}, false)
	wantError(t, err, "host key mismatch")

	// The pinned algorithm: a server without such a key has none in common.
	ecdsa := "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87" +
		"uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg="
	_, err = e.create(object{"connection": with(once, object{"hostKey": ecdsa}), "create": "true"}, false)
	wantError(t, err, "no common algorithm for host key")
	if server.logins != logins {
		t.Error("it logged in to a server with another key")
	}
	_, err = e.create(object{"connection": with(once, object{"hostKey": "no key"}), "create": "true"}, false)
	wantError(t, err, "authorized_keys")
}

func TestPasswordLogin(t *testing.T) {
	_, connection := site(t, nil)
	delete(connection, "privateKey")
	e := newEngine(t, remoteCommandType)
	state, err := e.create(object{"connection": with(connection, object{"password": testPassword}), "create": "echo in"}, false)
	must(t, err)
	e.wantOutput(state, "stdout", "in")
	_, err = e.create(object{"connection": with(connection, object{"password": "wr0ng", "dialErrorLimit": 0}), "create": "true"}, false)
	wantError(t, err, "unable to authenticate")
	if strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("the error shows the password: %v", err)
	}
}

func TestDialRetriesUntilTheServerIsReady(t *testing.T) {
	server, connection := site(t, func(s *sshd) { s.refuse = 2 })
	e := newEngine(t, remoteCommandType)
	_, err := e.create(object{"connection": connection, "create": "true"}, false)
	must(t, err)
	if server.logins != 3 {
		t.Errorf("%d logins, want 3", server.logins)
	}
	if seen := e.logs.all(); !strings.Contains(seen, "status: Dial 1/10 failed: retrying") || strings.Contains(seen, "not yet") {
		t.Errorf("messages: %s", seen)
	}
}

func TestDialGivesUpAfterTheLimit(t *testing.T) {
	server, connection := site(t, func(s *sshd) { s.refuse = 100 })
	e := newEngine(t, remoteCommandType)
	_, err := e.create(object{"connection": with(connection, object{"dialErrorLimit": 2}), "create": "true"}, false)
	wantError(t, err, "after 2 failed attempts: ssh: handshake failed")
	if server.logins != 3 {
		t.Errorf("%d logins, want 3", server.logins)
	}
}

// perDialTimeout is over the TCP connection: a server that takes it and says nothing holds the dial.
func TestMuteServerHoldsADial(t *testing.T) {
	server, connection := site(t, func(s *sshd) { s.mute = true })
	e := newEngine(t, remoteCommandType)
	given := object{"connection": with(connection, object{"dialErrorLimit": 0, "perDialTimeout": 1}), "create": "true"}
	failed := make(chan error, 1)
	go func() {
		_, err := e.create(given, false)
		failed <- err
	}()
	select {
	case err := <-failed:
		t.Fatalf("it ended with %v", err)
	case <-time.After(2500 * time.Millisecond):
	}
	server.hangUp()
	select {
	case err := <-failed:
		wantError(t, err, "after 0 failed attempts: ssh: handshake failed")
	case <-time.After(10 * time.Second):
		t.Fatal("it still dials a server that has hung up")
	}
}

func TestAnAgentThatIsGoneFailsTheConnectionAlthoughThereIsAKey(t *testing.T) {
	server, connection := site(t, nil)
	gone := filepath.Join(t.TempDir(), "agent")
	e := newEngine(t, remoteCommandType)
	t.Setenv("SSH_AUTH_SOCK", gone)
	_, err := e.create(object{"connection": connection, "create": "true"}, false)
	wantError(t, err, "dial unix "+gone+": connect: no such file or directory")
	t.Setenv("SSH_AUTH_SOCK", "")
	_, err = e.create(object{"connection": connection, "create": "true"}, false)
	must(t, err)
	_, err = e.create(object{"connection": with(connection, object{"agentSocketPath": ""}), "create": "true"}, false)
	wantError(t, err, "dial unix")
	if server.logins != 1 {
		t.Errorf("%d logins, want the one without an agent", server.logins)
	}
}

// The type of such a key is also the name of its signature by SHA-1, and that is all the connection asks for.
func TestAnRsaHostKeyFitsNoServerOfToday(t *testing.T) {
	server, connection := site(t, useRSA)
	e := newEngine(t, remoteCommandType)
	_, err := e.create(object{"connection": with(connection, object{"dialErrorLimit": 0}), "create": "true"}, false)
	wantError(t, err, "no common algorithm for host key", "ssh-rsa", "rsa-sha2-512")
	if server.logins != 0 {
		t.Error("it logged in")
	}
	without := with(connection, nil)
	delete(without, "hostKey")
	_, err = e.create(object{"connection": without, "create": "true"}, false)
	must(t, err)
}

func TestJumpHost(t *testing.T) {
	jump, jumpConnection := site(t, nil)
	target, connection := site(t, nil)
	e := newEngine(t, remoteCommandType)
	state, err := e.create(object{"connection": with(connection, object{"proxy": jumpConnection}), "create": "echo far"}, false)
	must(t, err)
	e.wantOutput(state, "stdout", "far")
	if want := []string{target.host + ":" + target.port}; !slices.Equal(jump.forwards, want) {
		t.Errorf("the jump host forwarded to %v, want %v", jump.forwards, want)
	}
	refused := with(jumpConnection, object{"dialErrorLimit": 0, "privateKey": connection["privateKey"]})
	_, err = e.create(object{"connection": with(connection, object{"proxy": refused}), "create": "true"}, false)
	wantError(t, err, "proxy: after 0 failed attempts")
}

// Whoever counts on a timeout or on Ctrl-C to end what runs on a server counts on nothing.
func TestNeitherCancelNorTimeoutEndsWhatRunsOnAServer(t *testing.T) {
	folder := t.TempDir()
	server, connection := site(t, nil)
	e := newEngine(t, remoteCommandType)
	given := object{
		"connection": connection,
		"create":     "echo begun; until [ -e " + folder + "/go ]; do sleep 0.05; done; echo done",
	}
	properties, err := marshal(e.checked(given))
	must(t, err)
	failed := make(chan error, 1)
	go func() {
		_, err := e.provider.Create(t.Context(), &pulumirpc.CreateRequest{Urn: e.urn, Properties: properties, Timeout: 0.2})
		failed <- err
	}()
	waitFor(t, "the command begins", func() bool { return strings.Contains(e.logs.all(), "begun") })
	_, err = e.provider.Cancel(t.Context(), nil)
	must(t, err)
	select {
	case err := <-failed:
		t.Fatalf("the operation ended with %v before the command", err)
	case <-server.ended:
		t.Fatal("the command ended with its operation")
	case <-time.After(500 * time.Millisecond): // well after the timeout
	}
	must(t, os.WriteFile(filepath.Join(folder, "go"), nil, 0o600))
	select {
	case err := <-failed:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("the operation did not end with its command")
	}
}

func TestCancelEndsALocalCommand(t *testing.T) {
	e := newEngine(t, localCommandType)
	failed := make(chan error, 1)
	go func() {
		_, err := e.create(object{"create": "echo begun; sleep 60"}, false)
		failed <- err
	}()
	waitFor(t, "the command begins", func() bool { return strings.Contains(e.logs.all(), "begun") })
	_, err := e.provider.Cancel(t.Context(), nil)
	must(t, err)
	select {
	case err := <-failed:
		wantError(t, err, "cancelled: running")
	case <-time.After(10 * time.Second):
		t.Fatal("it still runs after Cancel")
	}
}

func TestTimeoutEndsDialingBetweenTwoTries(t *testing.T) {
	_, connection := site(t, func(s *sshd) { s.refuse = 100 })
	e := newEngine(t, remoteCommandType)
	properties, err := marshal(e.checked(object{"connection": with(connection, object{"dialErrorLimit": -1}), "create": "true"}))
	must(t, err)
	_, err = e.provider.Create(t.Context(), &pulumirpc.CreateRequest{Urn: e.urn, Properties: properties, Timeout: 0.3})
	wantError(t, err, "context deadline exceeded")
	if seen := e.logs.all(); !strings.Contains(seen, "Dial 1/inf failed: retrying") {
		t.Errorf("messages: %s", seen)
	}
}

func TestCustomTimeout(t *testing.T) {
	e := newEngine(t, localCommandType)
	properties, err := marshal(e.checked(object{"create": "sleep 60"}))
	must(t, err)
	_, err = e.provider.Create(t.Context(), &pulumirpc.CreateRequest{Urn: e.urn, Properties: properties, Timeout: 0.2})
	wantError(t, err, "not done within 200ms")
}

func TestCheckListsEveryProblem(t *testing.T) {
	e := newEngine(t, remoteCommandType)
	_, failures := e.check(object{
		"connection": object{"user": 7.0, "hots": "h"}, "create": []any{}, "logging": "loud",
		"environment": object{"A": true}, "crate": "typo",
	})
	var seen []string
	for _, failure := range failures {
		seen = append(seen, failure.Property+": "+failure.Reason)
	}
	want := []string{
		"connection.host: connection.host is missing",
		"connection.hots: there is no property connection.hots",
		"connection.user: connection.user must be a string",
		"crate: there is no property crate",
		"create: create must be a string",
		"environment: environment must be a map of strings",
		"logging: logging must be one of stdout, stderr, stdoutAndStderr, none",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("got  %q\nwant %q", seen, want)
	}
	_, failures = newEngine(t, localCommandType).check(object{"assetPaths": []any{"x"}})
	if len(failures) != 1 || !strings.Contains(failures[0].Reason, "stand-in") {
		t.Errorf("assetPaths gives %v", failures)
	}
}

func TestCheckKeepsUnknownsAndFillsDefaults(t *testing.T) {
	e := newEngine(t, remoteCommandType)
	unknown := resource.MakeComputed(resource.NewStringProperty(""))
	inputs := e.checked(object{"connection": object{"host": unknown}, "create": "true"})
	connection := inputs["connection"].SecretValue().Element.ObjectValue()
	if !connection["host"].IsComputed() {
		t.Errorf("host is %v, want unknown", connection["host"])
	}
	for name, want := range map[resource.PropertyKey]any{"user": "root", "port": 22.0, "dialErrorLimit": 10.0, "perDialTimeout": 15.0} {
		if got := connection[name].V; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if inputs = e.checked(object{"connection": unknown, "create": unknown}); !inputs["create"].IsComputed() {
		t.Errorf("create is %v, want unknown", inputs["create"])
	}
}

func TestCopyToRemote(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(here, "tree/sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(here, "tree/sub/a"), []byte("A"), 0o644))
	must(t, os.WriteFile(filepath.Join(here, "file"), []byte("F"), 0o644))
	server, connection := site(t, nil)

	words, err := asset.FromText("words")
	must(t, err)
	file, err := resource.NewPathAsset(filepath.Join(here, "file"))
	must(t, err)
	tree, err := resource.NewPathArchive(filepath.Join(here, "tree"))
	must(t, err)
	cases := []struct {
		source any
		target string
		result string
		want   string
	}{
		{words, "new/deep/words", "new/deep/words", "words"},
		{file, "other/name", "other/name", "F"},
		{file, "other", "other/file", "F"}, // an existing directory
		{words, "other/name", "other/name", "words"},
		{tree, "trees", "trees/tree/sub/a", "A"},
	}
	for _, c := range cases {
		e := newEngine(t, copyToRemoteType)
		given := object{"connection": connection, "source": c.source, "remotePath": filepath.Join(there, c.target)}
		if _, err := e.create(given, false); err != nil {
			t.Errorf("%s: %v", c.target, err)
			continue
		}
		content, err := os.ReadFile(filepath.Join(there, c.result))
		if err != nil || string(content) != c.want {
			t.Errorf("%s is %q (%v), want %q", c.result, content, err, c.want)
		}
	}

	e := newEngine(t, copyToRemoteType)
	given := object{"connection": connection, "source": words, "remotePath": filepath.Join(there, "again")}
	_, err = e.create(given, false)
	must(t, err)
	logins := server.logins
	_, err = e.update(with(given, object{"connection": with(connection, object{"perDialTimeout": 5})}), false)
	must(t, err)
	if server.logins != logins {
		t.Error("a new connection alone copied again")
	}
	others, err := asset.FromText("others")
	must(t, err)
	if change := e.diff(with(given, object{"source": others})); change.Changes != pulumirpc.DiffResponse_DIFF_SOME {
		t.Error("a new text shows no change")
	}
	_, err = e.update(with(given, object{"source": others}), false)
	must(t, err)
	if content, _ := os.ReadFile(filepath.Join(there, "again")); string(content) != "others" {
		t.Errorf("after the update it is %q", content)
	}

	_, err = e.create(with(given, object{"remotePath": there}), false)
	wantError(t, err, "is a directory; a text needs the path of a file")
	_, err = e.create(with(given, object{"source": tree, "remotePath": filepath.Join(there, "again")}), false)
	wantError(t, err, "exists but is not a directory")
}

func TestUnknownResourceAndFunction(t *testing.T) {
	e := newEngine(t, "command:remote:CopyFile")
	_, err := e.provider.Check(t.Context(), &pulumirpc.CheckRequest{Urn: e.urn})
	wantError(t, err, "no resource command:remote:CopyFile")
	_, err = e.provider.Invoke(t.Context(), &pulumirpc.InvokeRequest{Tok: "command:local:run"})
	wantError(t, err, "no function command:local:run")
}

// The schema and the checks are two lists of the same properties.
func TestSchemaMatchesChecks(t *testing.T) {
	var document struct {
		Version   string
		Resources map[string]struct {
			InputProperties map[string]any
			RequiredInputs  []string
			Required        []string
		}
		Types map[string]struct {
			Properties map[string]struct{ Secret bool }
			Required   []string
		}
	}
	must(t, json.Unmarshal([]byte(schema), &document))
	if document.Version != version {
		t.Errorf("the schema's version is %s", document.Version)
	}
	if len(document.Resources) != len(inputFields) {
		t.Errorf("the schema has %d resources", len(document.Resources))
	}
	for kind, fields := range inputFields {
		declared := document.Resources[kind]
		if len(declared.InputProperties) != len(fields) {
			t.Errorf("%s has %d inputs in the schema, %d in the checks", kind, len(declared.InputProperties), len(fields))
		}
		for _, f := range fields {
			if _, there := declared.InputProperties[f.name]; !there {
				t.Errorf("%s.%s is not in the schema", kind, f.name)
			}
			if slices.Contains(declared.RequiredInputs, f.name) != f.required {
				t.Errorf("%s.%s: required in the schema and in the checks differ", kind, f.name)
			}
		}
	}
	for name, fields := range map[string][]field{"Connection": connectionFields, "ProxyConnection": endpointFields} {
		declared := document.Types["command:remote:"+name]
		if len(declared.Properties) != len(fields) {
			t.Errorf("%s has %d properties in the schema, %d in the checks", name, len(declared.Properties), len(fields))
		}
		for _, f := range fields {
			if property, there := declared.Properties[f.name]; !there || property.Secret != f.secret {
				t.Errorf("%s.%s: schema and checks differ", name, f.name)
			}
		}
	}
}

// waitFor waits for a condition, and fails with its name after ten seconds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
