package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

const testToken = "nbp_t0ken"

// account is a NetBird management server in memory: the answers, the status codes and the refusals of 0.77.1, as far as the
// operator meets them. Objects are kept by their path, like /groups/id-1.
type account struct {
	*testing.T
	mutex   sync.Mutex
	objects map[string]map[string]any
	next    int
	calls   []string
	// fails answers 500 to the next requests.
	fails int
}

func newAccount(t *testing.T) (*account, *netbird) {
	a := &account{T: t, objects: map[string]map[string]any{}}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	return a, newNetbird(server.URL+"/", testToken)
}

func (a *account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/api")
	a.calls = append(a.calls, r.Method+" "+path)
	if r.Header.Get("Authorization") != "Token "+testToken {
		refuse(w, http.StatusUnauthorized, "token invalid")
		return
	}
	if a.fails > 0 {
		a.fails--
		refuse(w, http.StatusInternalServerError, "internal server error")
		return
	}
	var body map[string]any
	if r.Body != nil {
		_ = json.NewDecoder(r.Body).Decode(&body)
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	collection := parts[len(parts)-1]
	if r.Method == http.MethodPost || r.Method == http.MethodGet && isCollection(collection) {
		if parent := strings.TrimSuffix(path, "/"+collection); parent != "" && parent != "/dns" && a.objects[parent] == nil {
			refuse(w, http.StatusNotFound, parent+" not found")
			return
		}
	}
	switch {
	case r.Method == http.MethodPost:
		a.create(w, path, body)
	case r.Method == http.MethodGet && isCollection(collection):
		answer(w, a.list(path))
	case a.objects[path] == nil:
		// A missing group can be read (404) but deleting it is answered with 400.
		status := http.StatusNotFound
		if r.Method == http.MethodDelete && strings.HasPrefix(path, "/groups/") {
			status = http.StatusBadRequest
		}
		refuse(w, status, path+" not found")
	case r.Method == http.MethodGet:
		answer(w, a.shown(path))
	case r.Method == http.MethodPut:
		if strings.HasPrefix(path, "/groups/") { // what a change of a group leaves out is taken away
			delete(a.objects[path], "peers")
			delete(a.objects[path], "resources")
		}
		for key, value := range body {
			a.objects[path][key] = value
		}
		answer(w, a.shown(path))
	case r.Method == http.MethodDelete:
		if user := a.userOf(path); user != "" {
			refuse(w, http.StatusBadRequest, "group has been linked to "+user)
			return
		}
		for other := range a.objects {
			if other == path || strings.HasPrefix(other, path+"/") {
				delete(a.objects, other)
			}
		}
		answer(w, map[string]any{})
	}
}

func isCollection(name string) bool {
	return slices.Contains([]string{"groups", "setup-keys", "networks", "routers", "resources", "zones", "records"}, name)
}

func (a *account) create(w http.ResponseWriter, path string, body map[string]any) {
	if path == "/groups" {
		for _, other := range a.list(path) {
			if other["name"] == body["name"] {
				refuse(w, http.StatusConflict, fmt.Sprintf("group with name %s already exists", body["name"]))
				return
			}
		}
	}
	if path == "/setup-keys" {
		body["key"], body["state"] = fmt.Sprintf("KEY%d-PLAIN-VALUE-%s", a.next, body["name"]), "valid"
	}
	id := a.add(path, body)
	created := a.shown(path + "/" + id)
	if path == "/setup-keys" {
		created["key"] = body["key"]
	}
	answer(w, created)
}

// add puts an object there without the API.
func (a *account) add(path string, body map[string]any) string {
	a.next++
	id := fmt.Sprintf("id-%d", a.next)
	body["id"] = id
	a.objects[path+"/"+id] = body
	return id
}

func (a *account) list(path string) []map[string]any {
	var found []map[string]any
	for _, key := range slices.Sorted(keys(a.objects)) {
		if strings.HasPrefix(key, path+"/") && !strings.Contains(key[len(path)+1:], "/") {
			found = append(found, a.shown(key))
		}
	}
	return found
}

// shown is an object as a GET answers it: peers as objects, setup keys masked.
func (a *account) shown(path string) map[string]any {
	copied := map[string]any{}
	for key, value := range a.objects[path] {
		copied[key] = value
	}
	if key, isKey := copied["key"].(string); isKey {
		copied["key"] = key[:5] + "****"
	}
	if peers, has := copied["peers"].([]any); has && strings.HasPrefix(path, "/groups/") {
		var objects []any
		for _, peer := range peers {
			objects = append(objects, map[string]any{"id": peer, "name": "peer"})
		}
		copied["peers"] = objects
	}
	return copied
}

// userOf names what still uses a group.
func (a *account) userOf(path string) string {
	id, isGroup := strings.CutPrefix(path, "/groups/")
	if !isGroup {
		return ""
	}
	for other, object := range a.objects {
		for _, field := range []string{"auto_groups", "peer_groups", "sources"} {
			if used, has := object[field].([]any); has && slices.Contains(used, any(id)) {
				return other
			}
		}
	}
	return ""
}

// names are the names of a collection's objects.
func (a *account) names(path string) []string {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	names := []string{}
	for _, object := range a.list(path) {
		name, _ := object["name"].(string)
		names = append(names, name)
	}
	return names
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"message": message, "code": status})
}

func answer(w http.ResponseWriter, body any) {
	_ = json.NewEncoder(w).Encode(body)
}

func TestErrorsNameTheRequestAndNotTheToken(t *testing.T) {
	_, api := newAccount(t)
	err := api.send(t.Context(), http.MethodGet, "/groups/none", nil, nil)
	if want := "NetBird answered 404 to GET /groups/none: /groups/none not found"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	api.token = "nbp_wrong"
	err = api.send(t.Context(), http.MethodGet, "/groups", nil, nil)
	if err == nil || strings.Contains(err.Error(), "nbp_") || !strings.Contains(err.Error(), "401") {
		t.Errorf("got %v", err)
	}
}
