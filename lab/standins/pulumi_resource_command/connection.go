package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

const (
	firstPause = 100 * time.Millisecond
	pauseGrows = 1.5
	longPause  = 5 * time.Second
)

// endpoint is one SSH server to log in to.
type endpoint struct {
	address        string
	user           string
	password       *string
	privateKey     *string
	passphrase     *string
	agentSocket    *string
	hostKey        *string
	dialErrorLimit int
	dialTimeout    time.Duration
}

// connection is a server and the jump host before it, if any.
type connection struct {
	endpoint
	proxy *endpoint
}

// connectionOf reads a checked connection.
func connectionOf(inputs resource.PropertyMap) connection {
	object := inputs["connection"].ObjectValue()
	read := connection{endpoint: endpointOf(object)}
	if proxy, there := object["proxy"]; there && proxy.IsObject() {
		jump := endpointOf(proxy.ObjectValue())
		read.proxy = &jump
	}
	return read
}

func endpointOf(object resource.PropertyMap) endpoint {
	optional := func(name string) *string {
		if value, there := optionalText(object, name); there {
			return &value
		}
		return nil
	}
	agentSocket := optional("agentSocketPath")
	if fromEnvironment := os.Getenv("SSH_AUTH_SOCK"); agentSocket == nil && fromEnvironment != "" {
		agentSocket = &fromEnvironment
	}
	return endpoint{
		address:        net.JoinHostPort(textOr(object, "host", ""), strconv.Itoa(numberOr(object, "port", 22))),
		user:           textOr(object, "user", "root"),
		password:       optional("password"),
		privateKey:     optional("privateKey"),
		passphrase:     optional("privateKeyPassword"),
		agentSocket:    agentSocket,
		hostKey:        optional("hostKey"),
		dialErrorLimit: numberOr(object, "dialErrorLimit", 10),
		dialTimeout:    time.Duration(numberOr(object, "perDialTimeout", 15)) * time.Second,
	}
}

// config is how to log in. The second result closes what it holds (a connection to an agent).
func (e endpoint) config() (*ssh.ClientConfig, func(), error) {
	config := &ssh.ClientConfig{User: e.user, Timeout: e.dialTimeout, HostKeyCallback: ssh.InsecureIgnoreHostKey()}
	if e.hostKey != nil {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(*e.hostKey))
		if err != nil {
			return nil, nil, fmt.Errorf("hostKey of %s is not in the format of authorized_keys: %w", e.address, err)
		}
		// Without the pinned algorithm a server with several keys may present another one, which is then refused. With it
		// an ssh-rsa key never fits a server of today: the key's type is also the name of its old signature by SHA-1.
		config.HostKeyCallback = ssh.FixedHostKey(key)
		config.HostKeyAlgorithms = []string{key.Type()}
	}
	if e.privateKey != nil {
		signer, err := e.signer()
		if err != nil {
			return nil, nil, fmt.Errorf("privateKey for %s: %w", e.address, err)
		}
		config.Auth = append(config.Auth, ssh.PublicKeys(signer))
	}
	if e.password != nil {
		answer := func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range answers {
				answers[i] = *e.password
			}
			return answers, nil
		}
		config.Auth = append(config.Auth, ssh.Password(*e.password), ssh.KeyboardInteractive(answer))
	}
	release := func() {}
	// Asked although there is a key, and an agent that is gone ends it all.
	if e.agentSocket != nil {
		socket, err := net.Dial("unix", *e.agentSocket)
		if err != nil {
			return nil, nil, err
		}
		release = func() { socket.Close() }
		config.Auth = append(config.Auth, ssh.PublicKeysCallback(agent.NewClient(socket).Signers))
	}
	return config, release, nil
}

func (e endpoint) signer() (ssh.Signer, error) {
	if e.passphrase != nil {
		return ssh.ParsePrivateKeyWithPassphrase([]byte(*e.privateKey), []byte(*e.passphrase))
	}
	return ssh.ParsePrivateKey([]byte(*e.privateKey))
}

// dialer makes the connection that SSH then speaks on.
type dialer func(address string) (net.Conn, error)

// dial logs in, through the jump host when there is one. progress hears of failed tries.
func (c connection) dial(ctx context.Context, progress func(string)) (*ssh.Client, func(), error) {
	direct := func(address string) (net.Conn, error) {
		return net.DialTimeout("tcp", address, c.endpoint.dialTimeout)
	}
	if c.proxy == nil {
		return c.endpoint.login(ctx, "Dial", direct, progress)
	}
	directToProxy := func(address string) (net.Conn, error) {
		return net.DialTimeout("tcp", address, c.proxy.dialTimeout)
	}
	jump, closeJump, err := c.proxy.login(ctx, "Dial proxy", directToProxy, progress)
	if err != nil {
		return nil, nil, fmt.Errorf("proxy: %w", err)
	}
	through := func(address string) (net.Conn, error) { return jump.Dial("tcp", address) }
	client, closeClient, err := c.endpoint.login(ctx, "Dial from proxy", through, progress)
	if err != nil {
		closeJump()
		return nil, nil, fmt.Errorf("proxy: %w", err)
	}
	return client, func() { closeClient(); closeJump() }, nil
}

// login tries until it works or the limit of errors is passed, with growing pauses. A machine that just boots refuses
// connections at first, and refuses logins while it makes its users, so every error counts alike. The operation's end is
// seen between two tries only, and what went wrong is not said before the last one.
func (e endpoint) login(ctx context.Context, what string, dial dialer, progress func(string)) (*ssh.Client, func(), error) {
	config, release, err := e.config()
	if err != nil {
		return nil, nil, err
	}
	limit := "inf"
	if e.dialErrorLimit >= 0 {
		limit = strconv.Itoa(e.dialErrorLimit)
	}
	pause := firstPause
	for failures := 1; ; failures++ {
		client, err := e.once(dial, config)
		if err == nil {
			return client, func() { client.Close(); release() }, nil
		}
		if e.dialErrorLimit >= 0 && failures > e.dialErrorLimit {
			release()
			return nil, nil, fmt.Errorf("after %d failed attempts: %w", failures-1, err)
		}
		progress(fmt.Sprintf("%s %d/%s failed: retrying", what, failures, limit))
		select {
		case <-ctx.Done():
			release()
			return nil, nil, ctx.Err()
		case <-time.After(pause):
		}
		pause = min(time.Duration(float64(pause)*pauseGrows), longPause)
	}
}

// once is a single try. perDialTimeout is over the TCP connection only: a server that accepts and then says nothing holds it.
func (e endpoint) once(dial dialer, config *ssh.ClientConfig) (*ssh.Client, error) {
	stream, err := dial(e.address)
	if err != nil {
		return nil, err
	}
	transport, channels, requests, err := ssh.NewClientConn(stream, e.address, config)
	if err != nil {
		stream.Close()
		return nil, err
	}
	return ssh.NewClient(transport, channels, requests), nil
}
