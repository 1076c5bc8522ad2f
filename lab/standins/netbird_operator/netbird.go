package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// netbird is NetBird's management API (shared/management/http/api/openapi.yml at v0.77.1), as far as it is used.
type netbird struct {
	base  string
	token string
	http  *http.Client
}

func newNetbird(managementURL, token string) *netbird {
	return &netbird{
		base: strings.TrimRight(managementURL, "/") + "/api", token: token, http: &http.Client{Timeout: 30 * time.Second},
	}
}

// apiError is an answer that is no success. It names the request, and never the token.
type apiError struct {
	method, path string
	status       int
	message      string
}

func (e *apiError) Error() string {
	return fmt.Sprintf("NetBird answered %d to %s %s: %s", e.status, e.method, e.path, e.message)
}

func isGone(err error) bool {
	var answer *apiError
	return errors.As(err, &answer) && answer.status == http.StatusNotFound
}

// ignoreGone is for deletions: what is not there is deleted.
func ignoreGone(err error) error {
	if isGone(err) {
		return nil
	}
	return err
}

// send makes a request. body and answer may be nil.
func (n *netbird) send(ctx context.Context, method, path string, body, answer any) error {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, n.base+path, content)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Token "+n.token)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "netbird-operator/"+version)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := n.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	received, err := io.ReadAll(io.LimitReader(response.Body, 32<<20))
	if err != nil {
		return err
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		failure := &apiError{method, path, response.StatusCode, strings.TrimSpace(string(received))}
		var explained struct{ Message string }
		if json.Unmarshal(received, &explained) == nil && explained.Message != "" {
			failure.message = explained.Message
		}
		return failure
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(received, answer); err != nil {
		return fmt.Errorf("the answer to %s %s: %w", method, path, err)
	}
	return nil
}

// identified is what every object of the API has.
type identified struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// put changes the object of a known id, or makes a new one when there is none (any more); it returns the id.
func (n *netbird) put(ctx context.Context, collection, id string, body any) (string, error) {
	var answer identified
	if id != "" {
		err := n.send(ctx, http.MethodPut, collection+"/"+id, body, &answer)
		if err == nil || !isGone(err) {
			return answer.ID, err
		}
	}
	err := n.send(ctx, http.MethodPost, collection, body, &answer)
	return answer.ID, err
}

func (n *netbird) remove(ctx context.Context, collection, id string) error {
	if id == "" {
		return nil
	}
	return ignoreGone(n.send(ctx, http.MethodDelete, collection+"/"+id, nil, nil))
}

type networkBody struct {
	Name string `json:"name"`
}

type routerBody struct {
	PeerGroups []string `json:"peer_groups"`
	Metric     int      `json:"metric"`
	Masquerade bool     `json:"masquerade"`
	Enabled    bool     `json:"enabled"`
}

type resourceBody struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Address     string   `json:"address"`
	Enabled     bool     `json:"enabled"`
	Groups      []string `json:"groups"`
}

type recordBody struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Content string `json:"content"`
	TTL     int    `json:"ttl"`
}

type setupKeyBody struct {
	Name                string   `json:"name"`
	Type                string   `json:"type"`
	ExpiresIn           int      `json:"expires_in"`
	AutoGroups          []string `json:"auto_groups"`
	UsageLimit          int      `json:"usage_limit"`
	Ephemeral           bool     `json:"ephemeral"`
	AllowExtraDNSLabels bool     `json:"allow_extra_dns_labels"`
}

type setupKeyChange struct {
	Revoked    bool     `json:"revoked"`
	AutoGroups []string `json:"auto_groups"`
}

// setupKeyAnswer has the key in plain text only in the answer that made it; later it is masked from the sixth character.
type setupKeyAnswer struct {
	ID    string `json:"id"`
	Key   string `json:"key"`
	State string `json:"state"`
}

// groupState has what a change of a group has to send back: whatever is left out is taken away.
type groupState struct {
	identified
	Peers     []identified      `json:"peers"`
	Resources []json.RawMessage `json:"resources"`
}

type groupBody struct {
	Name      string            `json:"name"`
	Peers     []string          `json:"peers,omitempty"`
	Resources []json.RawMessage `json:"resources,omitempty"`
}

// zoneID is the id of the custom DNS zone of this name.
func (n *netbird) zoneID(ctx context.Context, name string) (string, error) {
	var zones []identified
	if err := n.send(ctx, http.MethodGet, "/dns/zones", nil, &zones); err != nil {
		return "", err
	}
	for _, zone := range zones {
		if zone.Name == name {
			return zone.ID, nil
		}
	}
	return "", fmt.Errorf("zone with name %s cannot be found", name)
}
