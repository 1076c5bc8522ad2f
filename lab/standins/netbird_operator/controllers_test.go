package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	kubeerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// world is a cluster in memory with the operator's reconcilers, and a NetBird account.
type world struct {
	*testing.T
	*cluster
	account                                 *account
	groups, keys, routers, networkResources reconcile.Func
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	known, err := newScheme()
	must(t, err)
	memory := fake.NewClientBuilder().WithScheme(known).WithObjects(objects...).
		WithStatusSubresource(&group{}, &setupKey{}, &networkRouter{}, &networkResource{}).Build()
	account, api := newAccount(t)
	writer := client.WithFieldOwner(memory, fieldManager)
	// A process that ends runs no line more; here it is the reconcile that panics.
	shared := &cluster{writer, api, askedFaults{writer, memory, "netbird", func() { panic(errEnded) }}}
	given := settings{managementURL: "https://nb.example", clientImage: "agent:1", forwarderImage: "operator:1"}
	return &world{
		T: t, cluster: shared, account: account,
		groups:           reconciler(shared, (&groups{shared}).kind()),
		keys:             reconciler(shared, (&setupKeys{shared}).kind()),
		routers:          reconciler(shared, (&routers{shared, given}).kind()),
		networkResources: reconciler(shared, (&services{shared}).kind()),
	}
}

func at(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "netbird", Name: name}
}

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "netbird", Name: name, UID: types.UID("uid-" + name), Generation: 3}
}

func (w *world) reconcile(do reconcile.Func, name string) error {
	_, err := do(w.Context(), ctrl.Request{NamespacedName: at(name)})
	return err
}

// settle reconciles everything often enough, as watches would; errors of things that wait for others are left out.
func (w *world) settle() {
	for range 4 {
		for _, do := range []reconcile.Func{w.groups, w.keys, w.routers, w.networkResources} {
			for _, name := range []string{"r", "networkrouter-r", "own", "web"} {
				_ = w.reconcile(do, name)
			}
		}
	}
}

func get[T any, P interface {
	*T
	client.Object
}](w *world, name string) P {
	w.Helper()
	found := P(new(T))
	must(w.T, w.Get(w.Context(), at(name), found))
	return found
}

func exists[T any, P interface {
	*T
	client.Object
}](w *world, name string) bool {
	w.Helper()
	err := w.Get(w.Context(), at(name), P(new(T)))
	if err != nil && !kubeerrors.IsNotFound(err) {
		w.Fatal(err)
	}
	return err == nil
}

func condition(of resource) string {
	for _, found := range of.common().Conditions {
		return string(found.Status) + " " + found.Reason + " " + found.Message
	}
	return ""
}

func testRouter(change func(*networkRouterSpec)) *networkRouter {
	router := &networkRouter{ObjectMeta: named("r")}
	router.Spec.DNSZoneRef.Name = "zone.example"
	if change != nil {
		change(&router.Spec)
	}
	return router
}

func TestRouterWaitsForItsZone(t *testing.T) {
	w := newWorld(t, testRouter(nil))
	err := w.reconcile(w.routers, "r")
	if err == nil || !strings.Contains(err.Error(), "zone with name zone.example cannot be found") {
		t.Errorf("got %v", err)
	}
	router := get[networkRouter](w, "r")
	if got := condition(router); got != "" {
		t.Errorf("the operator says it in its log alone, and here is a condition %q", got)
	}
	if names := w.account.names("/networks"); len(names) > 0 || len(router.Finalizers) > 0 {
		t.Errorf("it made %v, finalizers %v", names, router.Finalizers)
	}
	w.account.add("/dns/zones", map[string]any{"name": "zone.example"})
	w.settle()
	if got := condition(get[networkRouter](w, "r")); got != "True Reconciled " {
		t.Errorf("condition %q", got)
	}
}

func TestRouterMakesEverything(t *testing.T) {
	w := newWorld(t, testRouter(nil))
	w.account.add("/dns/zones", map[string]any{"name": "zone.example"})
	w.settle()

	router := get[networkRouter](w, "r")
	if condition(router) != "True Reconciled " || router.Status.ObservedGeneration != 3 {
		t.Errorf("condition %q, generation %d", condition(router), router.Status.ObservedGeneration)
	}
	if !slices.Equal(w.account.names("/networks"), []string{"r"}) {
		t.Errorf("networks %v", w.account.names("/networks"))
	}
	name := "networkrouter-" + router.Status.NetworkID + "-" + uidSum
	peers, key := get[group](w, "networkrouter-r"), get[setupKey](w, "networkrouter-r")
	if peers.Spec.Name != name || key.Spec.Name != name || !key.Spec.Ephemeral {
		t.Errorf("group %v, key %v, want the name %s", peers.Spec, key.Spec, name)
	}
	if owner := metav1.GetControllerOf(peers); owner == nil || owner.UID != "uid-r" || !*owner.BlockOwnerDeletion {
		t.Errorf("the group's owner is %v", owner)
	}
	object := w.account.objects[routersOf(router.Status.NetworkID)+"/"+router.Status.RoutingPeerID]
	if object["metric"] != 9999.0 || object["masquerade"] != true || object["enabled"] != true ||
		!slices.Equal(object["peer_groups"].([]any), []any{peers.Status.GroupID}) {
		t.Errorf("router object %v", object)
	}
	made := w.account.objects["/setup-keys/"+key.Status.SetupKeyID]
	if made["type"] != "reusable" || made["ephemeral"] != true || made["expires_in"] != 0.0 || made["usage_limit"] != 0.0 {
		t.Errorf("setup key %v", made)
	}
	if stored := secretValue(w, "setup-key-networkrouter-r"); stored != made["key"] {
		t.Errorf("the Secret has %q, want %q", stored, made["key"])
	}

	deployment := get[appsv1.Deployment](w, "networkrouter-r")
	pod := deployment.Spec.Template.Spec
	if *deployment.Spec.Replicas != 3 || pod.Containers[0].Image != "agent:1" || len(pod.Containers) != 2 {
		t.Errorf("deployment %v", deployment.Spec)
	}
	if deployment.Spec.Selector.MatchLabels["app.kubernetes.io/instance"] != "r" ||
		deployment.Spec.Template.Labels["app.kubernetes.io/instance"] != "r" {
		t.Errorf("selector %v, labels %v", deployment.Spec.Selector, deployment.Spec.Template.Labels)
	}
	if !exists[corev1.Service](w, "networkrouter-r-forwarder") || !exists[corev1.ServiceAccount](w, "networkrouter-r-forwarder") ||
		!exists[policyv1.PodDisruptionBudget](w, "networkrouter-r") {
		t.Error("something that belongs to the Deployment is missing")
	}
}

// The first 8 hex digits of sha256("uid-r").
const uidSum = "57407e47"

func secretValue(w *world, name string) string {
	secret := get[corev1.Secret](w, name)
	// The API server turns stringData into data; the client in memory does not.
	if value := secret.StringData[setupKeyEntry]; value != "" {
		secret.Data = map[string][]byte{setupKeyEntry: []byte(value)}
		secret.StringData = nil
		must(w.T, w.Update(w.Context(), secret))
	}
	return string(secret.Data[setupKeyEntry])
}

func TestRouterFollowsItsSpec(t *testing.T) {
	one := int32(1)
	w := newWorld(t, testRouter(func(spec *networkRouterSpec) {
		spec.Image, spec.LogLevel = "agent:2", "debug"
		spec.WorkloadOverride = &workloadOverride{
			Replicas: &one, Labels: map[string]string{"a": "b", "app.kubernetes.io/name": "mine"},
			Annotations: map[string]string{"c": "d"}, PodTemplate: json.RawMessage(`{"spec":{"hostNetwork":true}}`),
		}
	}))
	w.account.add("/dns/zones", map[string]any{"name": "zone.example"})
	w.settle()
	deployment := get[appsv1.Deployment](w, "networkrouter-r")
	pod := deployment.Spec.Template.Spec
	if *deployment.Spec.Replicas != 1 || !pod.HostNetwork || pod.Containers[0].Image != "agent:2" ||
		variable(t, pod, "NB_LOG_LEVEL").Value != "debug" {
		t.Errorf("deployment %v", deployment.Spec)
	}
	if deployment.Labels["a"] != "b" || deployment.Labels["app.kubernetes.io/name"] != "networkrouter" ||
		deployment.Annotations["c"] != "d" {
		t.Errorf("labels %v, annotations %v", deployment.Labels, deployment.Annotations)
	}
	if exists[policyv1.PodDisruptionBudget](w, "networkrouter-r") {
		t.Error("one replica has a disruption budget, which would block every drain")
	}
}

func TestDisruptionBudgetGoesWithTheSecondReplica(t *testing.T) {
	w := newWorld(t, testRouter(nil))
	w.account.add("/dns/zones", map[string]any{"name": "zone.example"})
	w.settle()
	router, one := get[networkRouter](w, "r"), int32(1)
	router.Spec.WorkloadOverride = &workloadOverride{Replicas: &one}
	must(t, w.Update(t.Context(), router))
	w.settle()
	if exists[policyv1.PodDisruptionBudget](w, "networkrouter-r") {
		t.Error("it is still there")
	}
}

// A dead node's pod stays pending, so a change of the router is not Ready until that node is back.
func TestAChangeIsReadyOnceEveryReplicaIs(t *testing.T) {
	two := int32(2)
	w := newWorld(t, testRouter(func(spec *networkRouterSpec) { spec.WorkloadOverride = &workloadOverride{Replicas: &two} }))
	w.account.add("/dns/zones", map[string]any{"name": "zone.example"})
	w.settle()
	if budget := get[policyv1.PodDisruptionBudget](w, "networkrouter-r"); budget.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("budget %v", budget.Spec)
	}
	spread := get[appsv1.Deployment](w, "networkrouter-r").Spec.Template.Spec.TopologySpreadConstraints
	if len(spread) != 1 || spread[0].WhenUnsatisfiable != corev1.ScheduleAnyway {
		t.Errorf("spread %v: that of the operator keeps no two replicas apart", spread)
	}
	router := get[networkRouter](w, "r")
	router.Generation = 4
	must(t, w.Update(t.Context(), router))
	for _, seen := range []struct {
		ready      int32
		generation int64
	}{{1, 3}, {2, 4}} {
		deployment := get[appsv1.Deployment](w, "networkrouter-r")
		deployment.Status.Replicas, deployment.Status.ReadyReplicas = two, seen.ready
		must(t, w.Status().Update(t.Context(), deployment))
		w.settle()
		found := get[networkRouter](w, "r").Status.Conditions[0]
		if found.Status != metav1.ConditionTrue || found.ObservedGeneration != seen.generation {
			t.Errorf("%d of 2 ready: %s of generation %d", seen.ready, found.Status, found.ObservedGeneration)
		}
	}
}

func TestRouterKeepsFieldsOfOthersAndTakesItsOwnBack(t *testing.T) {
	w := newWorld(t, testRouter(nil))
	w.account.add("/dns/zones", map[string]any{"name": "zone.example"})
	w.settle()
	deployment := get[appsv1.Deployment](w, "networkrouter-r")
	deployment.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType
	deployment.Spec.Template.Spec.Containers[0].Image = "other:1"
	must(t, w.Update(t.Context(), deployment, client.FieldOwner("someone")))
	w.settle()
	deployment = get[appsv1.Deployment](w, "networkrouter-r")
	if deployment.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Error("the strategy that someone else set is gone")
	}
	if image := deployment.Spec.Template.Spec.Containers[0].Image; image != "agent:1" {
		t.Errorf("the image is %s", image)
	}
}

func TestRouterHealsWhatIsGoneInNetBird(t *testing.T) {
	w := newWorld(t, testRouter(nil))
	w.account.add("/dns/zones", map[string]any{"name": "zone.example"})
	w.settle()
	network := get[networkRouter](w, "r").Status.NetworkID
	delete(w.account.objects, "/networks/"+network)
	for path := range w.account.objects {
		if strings.HasPrefix(path, "/networks/"+network+"/") {
			delete(w.account.objects, path)
		}
	}
	w.settle()
	router := get[networkRouter](w, "r")
	if router.Status.NetworkID == network || w.account.objects[routersOf(router.Status.NetworkID)+"/"+router.Status.RoutingPeerID] == nil {
		t.Errorf("status %v, account %v", router.Status, w.account.names("/networks"))
	}
}

func TestReconcilingAgainChangesNothing(t *testing.T) {
	w := newWorld(t, testRouter(nil))
	w.account.add("/dns/zones", map[string]any{"name": "zone.example"})
	w.settle()
	secretValue(w, "setup-key-networkrouter-r")
	w.settle()
	objects := len(w.account.objects)
	version := get[appsv1.Deployment](w, "networkrouter-r").ResourceVersion
	w.account.calls = nil
	w.settle()
	if len(w.account.objects) != objects {
		t.Errorf("%d objects, had %d", len(w.account.objects), objects)
	}
	for _, call := range w.account.calls {
		if strings.HasPrefix(call, "POST") || strings.HasPrefix(call, "DELETE") {
			t.Errorf("it called %s", call)
		}
	}
	if now := get[appsv1.Deployment](w, "networkrouter-r").ResourceVersion; now != version {
		t.Errorf("the Deployment changed: %s, was %s", now, version)
	}
}

func TestDeletionLeavesNothing(t *testing.T) {
	w := newWorld(t, testRouter(nil))
	zone := w.account.add("/dns/zones", map[string]any{"name": "zone.example"})
	w.settle()
	peers := get[group](w, "networkrouter-r").Status.GroupID
	policy := "/policies/" + w.account.add("/policies", map[string]any{"name": "p", "sources": []any{peers}})

	must(t, w.Delete(t.Context(), get[networkRouter](w, "r")))
	must(t, w.reconcile(w.routers, "r"))
	if exists[networkRouter](w, "r") || len(w.account.names("/networks")) > 0 {
		t.Error("the router or its network is still there")
	}
	// The garbage collector of Kubernetes, which the client in memory lacks.
	must(t, w.Delete(t.Context(), get[group](w, "networkrouter-r")))
	must(t, w.Delete(t.Context(), get[setupKey](w, "networkrouter-r")))
	if err := w.reconcile(w.groups, "networkrouter-r"); err == nil || !strings.Contains(err.Error(), "group has been linked to") {
		t.Errorf("a group in use: %v", err)
	}
	must(t, w.reconcile(w.keys, "networkrouter-r"))
	if err := w.reconcile(w.groups, "networkrouter-r"); err == nil || !exists[group](w, "networkrouter-r") {
		t.Errorf("a group that a policy still uses: %v", err)
	}
	delete(w.account.objects, policy)
	must(t, w.reconcile(w.groups, "networkrouter-r"))
	if exists[group](w, "networkrouter-r") || exists[setupKey](w, "networkrouter-r") {
		t.Error("group or key is still there")
	}
	delete(w.account.objects, "/dns/zones/"+zone)
	if len(w.account.objects) > 0 {
		t.Errorf("left in NetBird: %v", w.account.objects)
	}
}

func TestDeletionOfWhatIsGoneInNetBird(t *testing.T) {
	w := newWorld(t, testRouter(nil))
	w.account.add("/dns/zones", map[string]any{"name": "zone.example"})
	w.settle()
	clear(w.account.objects)
	must(t, w.Delete(t.Context(), get[networkRouter](w, "r")))
	must(t, w.reconcile(w.routers, "r"))
	must(t, w.Delete(t.Context(), get[setupKey](w, "networkrouter-r")))
	must(t, w.reconcile(w.keys, "networkrouter-r"))
	if exists[networkRouter](w, "r") || exists[setupKey](w, "networkrouter-r") {
		t.Error("they hang on their finalizers")
	}
}

func TestServerErrorIsTriedAgain(t *testing.T) {
	w := newWorld(t, &group{ObjectMeta: named("own"), Spec: groupSpec{Name: "mine"}})
	w.account.fails = 1
	if err := w.reconcile(w.groups, "own"); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("got %v", err)
	}
	must(t, w.reconcile(w.groups, "own"))
	if !slices.Equal(w.account.names("/groups"), []string{"mine"}) {
		t.Errorf("groups %v", w.account.names("/groups"))
	}
}

func TestGroupKeepsItsMembersAndDoesNotAdopt(t *testing.T) {
	w := newWorld(t, &group{ObjectMeta: named("own"), Spec: groupSpec{Name: "mine"}})
	other := w.account.add("/groups", map[string]any{"name": "mine"})
	if err := w.reconcile(w.groups, "own"); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("a second group of the name: %v", err)
	}
	delete(w.account.objects, "/groups/"+other)
	must(t, w.reconcile(w.groups, "own"))
	path := "/groups/" + get[group](w, "own").Status.GroupID
	w.account.objects[path]["peers"] = []any{"peer-1", "peer-2"}
	w.account.objects[path]["resources"] = []any{map[string]any{"id": "res-1", "type": "subnet"}}
	must(t, w.reconcile(w.groups, "own"))
	kept := w.account.objects[path]
	peers, _ := kept["peers"].([]any)
	resources, _ := kept["resources"].([]any)
	if !slices.Equal(peers, []any{"peer-1", "peer-2"}) || len(resources) != 1 {
		t.Errorf("the group is %v", kept)
	}
	if generation := get[group](w, "own").Status.ObservedGeneration; generation != 3 {
		t.Errorf("observed generation %d", generation)
	}
}

func TestOwnSetupKey(t *testing.T) {
	peers := &group{ObjectMeta: named("peers"), Spec: groupSpec{Name: "peers"}}
	key := &setupKey{ObjectMeta: named("own")}
	key.Spec = setupKeySpec{Name: "mine", AutoGroups: []groupReference{{LocalRef: &nameReference{"peers"}}}}
	w := newWorld(t, peers, key)
	if err := w.reconcile(w.keys, "own"); err == nil || !strings.Contains(err.Error(), "group peers in groups list is not ready") {
		t.Errorf("a group without an id: %v", err)
	}
	must(t, w.reconcile(w.groups, "peers"))
	must(t, w.reconcile(w.keys, "own"))
	first := get[setupKey](w, "own").Status.SetupKeyID
	value := secretValue(w, "setup-key-own")
	made := w.account.objects["/setup-keys/"+first]
	if made["ephemeral"] != false || value != made["key"] ||
		!slices.Equal(made["auto_groups"].([]any), []any{get[group](w, "peers").Status.GroupID}) {
		t.Errorf("the key is %v, the Secret has %q", made, value)
	}
	must(t, w.reconcile(w.keys, "own"))
	if get[setupKey](w, "own").Status.SetupKeyID != first {
		t.Error("a valid key was made anew")
	}
	if got := condition(get[setupKey](w, "own")); got != "True Reconciled " {
		t.Errorf("condition %q", got)
	}

	loss := map[string]func(){
		"the Secret is gone":   func() { must(t, w.Delete(t.Context(), get[corev1.Secret](w, "setup-key-own"))) },
		"the key is revoked":   func() { w.account.objects["/setup-keys/"+first]["state"] = "revoked" },
		"the key is gone":      func() { delete(w.account.objects, "/setup-keys/"+first) },
		"the Secret is edited": func() { editSecret(w, "setup-key-own", "another value") },
	}
	for name, lose := range loss {
		lose()
		must(t, w.reconcile(w.keys, "own"))
		second := get[setupKey](w, "own").Status.SetupKeyID
		if second == first || secretValue(w, "setup-key-own") != w.account.objects["/setup-keys/"+second]["key"] {
			t.Errorf("%s: no new key", name)
		}
		if w.account.objects["/setup-keys/"+first] != nil {
			t.Errorf("%s: the old key stays", name)
		}
		first = second
	}
}

func editSecret(w *world, name, value string) {
	secret := get[corev1.Secret](w, name)
	secret.Data = map[string][]byte{setupKeyEntry: []byte(value)}
	must(w.T, w.Update(w.Context(), secret))
}

func TestNetworkResource(t *testing.T) {
	wanted := &networkResource{ObjectMeta: named("web")}
	wanted.Spec.NetworkRouterRef.Name, wanted.Spec.NetworkRouterRef.Namespace = "r", "netbird"
	wanted.Spec.ServiceRef.Name = "web"
	wanted.Spec.Groups = []groupReference{{Name: "offered"}}
	w := newWorld(t, wanted, testRouter(nil))
	zone := w.account.add("/dns/zones", map[string]any{"name": "zone.example"})
	offered := w.account.add("/groups", map[string]any{"name": "offered"})
	expect := func(message string) {
		t.Helper()
		must(t, w.reconcile(w.networkResources, "web"))
		if got := condition(get[networkResource](w, "web")); got != "False Dependency "+message {
			t.Errorf("condition %q", got)
		}
	}
	expect("Referenced Service cannot be found.")
	service := &corev1.Service{ObjectMeta: named("web")}
	service.Spec.Type, service.Spec.ClusterIP = corev1.ServiceTypeClusterIP, corev1.ClusterIPNone
	must(t, w.Create(t.Context(), service))
	expect("Referenced Service does not have a ClusterIP set.")
	service.Spec.ClusterIP = "10.43.0.7"
	must(t, w.Update(t.Context(), service))
	expect("Referenced NetworkRouter is not ready.")

	w.settle()
	status := get[networkResource](w, "web").Status
	object := w.account.objects[resourcesOf(status.NetworkID)+"/"+status.ResourceID]
	if object["address"] != "10.43.0.7" || !slices.Equal(object["groups"].([]any), []any{offered}) {
		t.Errorf("resource %v", object)
	}
	record := w.account.objects[recordsOf(zone)+"/"+status.DNSRecordID]
	if record["name"] != "web.netbird.zone.example" || record["content"] != "10.43.0.7" || record["ttl"] != 300.0 {
		t.Errorf("record %v", record)
	}
	if found := (&services{w.cluster}).ofService(t.Context(), service); len(found) != 1 || found[0].Name != "web" {
		t.Errorf("a change of the Service looks at %v", found)
	}
	must(t, w.Delete(t.Context(), get[networkResource](w, "web")))
	must(t, w.reconcile(w.networkResources, "web"))
	if exists[networkResource](w, "web") || len(w.account.names(recordsOf(zone))) > 0 ||
		len(w.account.names(resourcesOf(status.NetworkID))) > 0 {
		t.Error("something is left")
	}
}

func TestSettings(t *testing.T) {
	environment := func(name string) string {
		return map[string]string{"POD_NAMESPACE": "netbird"}[name]
	}
	read, err := parseSettings([]string{
		"--leader-elect", "--netbird-management-url=https://nb", "--netbird-client-image=agent:1", "--cluster-name=x",
		"--egress-forwarder-image=operator:1", "--gateway-api-enabled=true", "--netbird-api-key=t", "--webhook-cert-path=/c",
	}, environment)
	must(t, err)
	want := settings{
		managementURL: "https://nb", apiKey: "t", clientImage: "agent:1", forwarderImage: "operator:1", probeAddress: ":8081", webhookPort: 9443,
		metricsAddress: "0", namespace: "netbird", leaderElection: true, certificates: "/c",
	}
	if read != want {
		t.Errorf("got %+v", read)
	}
	_, err = parseSettings([]string{
		"--netbird-client-image=a", "--egress-forwarder-image=b", "--webhook-cert-path=/c",
	}, func(string) string { return "" })
	if err == nil || err.Error() != "missing: --netbird-api-key" {
		t.Errorf("got %v", err)
	}
}
