package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

var errEnded = errors.New("the process has ended")

// ask writes the ConfigMap with the faults.
func (w *world) ask(faults map[string]string) {
	w.Helper()
	asked := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "netbird", Name: faultsName}, Data: faults}
	must(w.T, w.Create(w.Context(), asked))
}

// ends reconciles, and the process has to end in it.
func (w *world) ends(do reconcile.Func, name string) {
	w.Helper()
	defer func() {
		if ended := recover(); ended != errEnded {
			w.Errorf("it did not end but gave %v", ended)
		}
	}()
	w.Errorf("it came to its end: %v", w.reconcile(do, name))
}

func ownKey() *setupKey {
	key := &setupKey{ObjectMeta: named("own")}
	key.Spec.Name = "mine"
	return key
}

func TestAnEndBeforeTheStatusMakesASecondNetwork(t *testing.T) {
	w := newWorld(t, testRouter(nil))
	w.account.add("/dns/zones", map[string]any{"name": "zone.example"})
	w.ask(map[string]string{"exit-at": networkMade})
	w.ends(w.routers, "r")
	if router := get[networkRouter](w, "r"); router.Status.NetworkID != "" || len(router.Finalizers) > 0 {
		t.Errorf("status %v, finalizers %v", router.Status, router.Finalizers)
	}
	w.settle() // ends once, not each time
	if names := w.account.names("/networks"); !slices.Equal(names, []string{"r", "r"}) {
		t.Errorf("networks %v", names)
	}
	if got := condition(get[networkRouter](w, "r")); got != "True Reconciled " {
		t.Errorf("condition %q", got)
	}
}

func TestAStaleCacheMakesASecondNetwork(t *testing.T) {
	w := newWorld(t, testRouter(nil))
	w.account.add("/dns/zones", map[string]any{"name": "zone.example"})
	w.ask(map[string]string{"reconcile-twice": "true"})
	w.settle()
	if names := w.account.names("/networks"); !slices.Equal(names, []string{"r", "r"}) {
		t.Errorf("networks %v", names)
	}
	router := get[networkRouter](w, "r")
	if w.account.objects[routersOf(router.Status.NetworkID)+"/"+router.Status.RoutingPeerID] == nil {
		t.Errorf("the network of the status has no router: %v", router.Status)
	}
}

func TestAnEndBeforeTheStatusMakesASecondKey(t *testing.T) {
	w := newWorld(t, ownKey())
	w.ask(map[string]string{"exit-at": keyMade})
	w.ends(w.keys, "own")
	must(t, w.reconcile(w.keys, "own"))
	if names := w.account.names("/setup-keys"); !slices.Equal(names, []string{"mine", "mine"}) {
		t.Errorf("keys %v", names)
	}
}

func TestASetupKeyThatMissedItsReadyNeverGetsIt(t *testing.T) {
	w := newWorld(t, ownKey())
	w.ask(map[string]string{"exit-at": secretWritten})
	w.ends(w.keys, "own")
	value := secretValue(w, "setup-key-own")
	must(t, w.reconcile(w.keys, "own"))
	key := get[setupKey](w, "own")
	if got := condition(key); got != "" || key.Status.SetupKeyID == "" || secretValue(w, "setup-key-own") != value {
		t.Errorf("condition %q, status %v", got, key.Status)
	}
}

func TestAChangedSetupKeyKeepsTheGenerationOfBefore(t *testing.T) {
	w := newWorld(t, ownKey())
	must(t, w.reconcile(w.keys, "own"))
	secretValue(w, "setup-key-own")
	changed := get[setupKey](w, "own")
	changed.Generation = 4
	must(t, w.Update(t.Context(), changed))
	must(t, w.reconcile(w.keys, "own"))
	status := get[setupKey](w, "own").Status
	if status.ObservedGeneration != 3 || status.Conditions[0].ObservedGeneration != 3 {
		t.Errorf("status %v", status)
	}
}

func TestSlowness(t *testing.T) {
	for _, key := range []string{"reconcile-delay", "status-delay"} {
		w := newWorld(t, ownKey())
		w.ask(map[string]string{key: "30ms"})
		begun := time.Now()
		must(t, w.reconcile(w.keys, "own"))
		if took := time.Since(begun); took < 30*time.Millisecond {
			t.Errorf("%s: %s", key, took)
		}
	}
	w := newWorld(t, ownKey())
	w.ask(map[string]string{"status-delay": "soon"})
	if err := w.reconcile(w.keys, "own"); err == nil || !strings.Contains(err.Error(), faultsName) {
		t.Errorf("got %v", err)
	}
}
