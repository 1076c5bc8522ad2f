package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// sshd is a real SSH server for the tests: public-key and password logins, commands by /bin/sh, SFTP, and forwarding for
// jump hosts. Like OpenSSH it refuses environment variables that it was not told to accept, signs by SHA-2 alone, and leaves
// the command of a session that goes away as it is.
type sshd struct {
	host, port string
	hostKey    ssh.Signer
	streams    []net.Conn
	processes  []int
	acceptEnv  map[string]bool
	refuse     int // logins to refuse before one is let in
	mute       bool

	mutex    sync.Mutex
	logins   int
	forwards []string
	ended    chan error // what became of a command
	listener net.Listener
}

const testPassword = "pw-6b1f"

// newKey makes a key: to sign with, as a PEM text, and as a line of authorized_keys.
func newKey(t *testing.T) (ssh.Signer, string, string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	key, err := ssh.NewPublicKey(public)
	must(t, err)
	return signer, string(pem.EncodeToMemory(block)), string(ssh.MarshalAuthorizedKey(key))
}

// startSSHD runs a server until the test ends. authorized is the line of authorized_keys that may log in.
func startSSHD(t *testing.T, authorized string, set func(*sshd)) *sshd {
	t.Helper()
	hostKey, _, _ := newKey(t)
	server := &sshd{hostKey: hostKey, acceptEnv: map[string]bool{}, ended: make(chan error, 16)}
	if set != nil {
		set(server)
	}
	allowed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(authorized))
	must(t, err)
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if string(key.Marshal()) != string(allowed.Marshal()) {
				return nil, errors.New("unknown key")
			}
			return nil, server.admit()
		},
		PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if string(password) != testPassword {
				return nil, errors.New("wrong password")
			}
			return nil, server.admit()
		},
	}
	config.AddHostKey(server.hostKey)
	server.listener, err = net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() {
		server.listener.Close()
		server.mutex.Lock()
		defer server.mutex.Unlock()
		for _, process := range server.processes {
			_ = syscall.Kill(-process, syscall.SIGKILL)
		}
	})
	server.host, server.port, _ = net.SplitHostPort(server.listener.Addr().String())
	go func() {
		for {
			stream, err := server.listener.Accept()
			if err != nil {
				return
			}
			server.mutex.Lock()
			server.streams = append(server.streams, stream)
			server.mutex.Unlock()
			if server.mute {
				continue
			}
			go server.serve(stream, config)
		}
	}()
	return server
}

func (s *sshd) hostKeyLine() string { return string(ssh.MarshalAuthorizedKey(s.hostKey.PublicKey())) }

// hangUp closes every connection there is.
func (s *sshd) hangUp() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, stream := range s.streams {
		stream.Close()
	}
}

// useRSA gives the server an RSA host key.
func useRSA(s *sshd) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		panic(err)
	}
	modern := []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	s.hostKey, err = ssh.NewSignerWithAlgorithms(signer.(ssh.AlgorithmSigner), modern)
	if err != nil {
		panic(err)
	}
}

func (s *sshd) admit() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.logins++
	if s.refuse > 0 {
		s.refuse--
		return errors.New("not yet")
	}
	return nil
}

func (s *sshd) serve(stream net.Conn, config *ssh.ServerConfig) {
	transport, channels, requests, err := ssh.NewServerConn(stream, config)
	if err != nil {
		stream.Close()
		return
	}
	defer transport.Close()
	go ssh.DiscardRequests(requests)
	for channel := range channels {
		switch channel.ChannelType() {
		case "session":
			opened, requests, err := channel.Accept()
			if err == nil {
				go s.session(opened, requests)
			}
		case "direct-tcpip":
			go s.forward(channel)
		default:
			_ = channel.Reject(ssh.UnknownChannelType, "")
		}
	}
}

func (s *sshd) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	environment := []string{"PATH=/usr/bin:/bin"}
	var process *exec.Cmd
	for request := range requests {
		switch request.Type {
		case "env":
			var variable struct{ Name, Value string }
			_ = ssh.Unmarshal(request.Payload, &variable)
			if s.acceptEnv[variable.Name] {
				environment = append(environment, variable.Name+"="+variable.Value)
			}
			_ = request.Reply(s.acceptEnv[variable.Name], nil)
		case "exec":
			var command struct{ Line string }
			_ = ssh.Unmarshal(request.Payload, &command)
			process = exec.Command("/bin/sh", "-c", command.Line)
			process.Env = environment
			process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			input, _ := process.StdinPipe()
			go func() { _, _ = io.Copy(input, channel); input.Close() }()
			process.Stdout, process.Stderr = channel, channel.Stderr()
			started := process.Start() == nil
			if started {
				s.mutex.Lock()
				s.processes = append(s.processes, process.Process.Pid)
				s.mutex.Unlock()
			}
			_ = request.Reply(started, nil)
			go func(process *exec.Cmd) {
				err := process.Wait()
				s.ended <- err
				status := struct{ Status uint32 }{uint32(process.ProcessState.ExitCode())}
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
				channel.Close()
			}(process)
		case "subsystem":
			_ = request.Reply(true, nil)
			files, err := sftp.NewServer(channel)
			if err == nil {
				_ = files.Serve()
			}
			channel.Close()
		default:
			_ = request.Reply(false, nil)
		}
	}
}

func (s *sshd) forward(channel ssh.NewChannel) {
	var target struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	_ = ssh.Unmarshal(channel.ExtraData(), &target)
	address := net.JoinHostPort(target.Host, strconv.Itoa(int(target.Port)))
	s.mutex.Lock()
	s.forwards = append(s.forwards, address)
	s.mutex.Unlock()
	far, err := net.Dial("tcp", address)
	if err != nil {
		_ = channel.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	near, requests, err := channel.Accept()
	if err != nil {
		far.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	go func() { _, _ = io.Copy(far, near); far.Close() }()
	_, _ = io.Copy(near, far)
	near.Close()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
