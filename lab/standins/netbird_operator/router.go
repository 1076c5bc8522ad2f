package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	routerMetric    = 9999
	defaultReplicas = 3
)

// routers keeps a NetBird network with a routing peer group for each NetworkRouter, and the Deployment of the peers.
type routers struct {
	*cluster
	settings settings
}

func (r *routers) kind() object[networkRouter] {
	return object[networkRouter]{finalizer: "finalizers.netbird.io/networkrouter", make: r.make, unmake: r.unmake}
}

// workloadName is the name of what a router makes in Kubernetes.
func workloadName(router string) string { return "networkrouter-" + router }

// accountName is the name of what a router makes in NetBird, besides the network: unique in an account that clusters share.
func accountName(router *networkRouter) string {
	sum := sha256.Sum256([]byte(router.UID))
	return fmt.Sprintf("networkrouter-%s-%s", router.Status.NetworkID, hex.EncodeToString(sum[:4]))
}

// make goes on as far as it can. What it makes is watched, so it is called again when that has got further.
func (r *routers) make(ctx context.Context, router *networkRouter) (ctrl.Result, error) {
	// Before there is a finalizer or a condition: of a router whose zone is missing nobody learns but from the log.
	if _, err := r.netbird.zoneID(ctx, router.Spec.DNSZoneRef.Name); err != nil {
		return ctrl.Result{}, err
	}
	network, err := r.netbird.put(ctx, "/networks", router.Status.NetworkID, networkBody{Name: router.Name})
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.faults.pass(ctx, networkMade); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.ensureFinalizer(ctx, router, r.kind().finalizer); err != nil {
		return ctrl.Result{}, err
	}
	// Only now: called again in between, it makes a second network of the name.
	if err := r.changeStatus(ctx, router, func() { router.Status.NetworkID = network }); err != nil {
		return ctrl.Result{}, err
	}
	groupID, keyed, err := r.makeEnrolment(ctx, router)
	if err != nil || !keyed {
		return ctrl.Result{}, err
	}
	peer, err := r.netbird.put(ctx, routersOf(network), router.Status.RoutingPeerID, routerBody{
		PeerGroups: []string{groupID}, Metric: routerMetric, Masquerade: true, Enabled: true,
	})
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.changeStatus(ctx, router, func() {
		router.Status.RoutingPeerID = peer
		router.Status.ObservedGeneration = router.Generation
	}); err != nil {
		return ctrl.Result{}, err
	}
	settled, err := r.makeWorkload(ctx, router)
	if err != nil || !settled {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: again}, r.markReady(ctx, router)
}

func routersOf(network string) string { return "/networks/" + network + "/routers" }

// makeEnrolment makes the group of the peers, and the setup key that puts them there. It returns the group's id, and
// whether both are in NetBird.
func (r *routers) makeEnrolment(ctx context.Context, router *networkRouter) (string, bool, error) {
	name := types.NamespacedName{Namespace: router.Namespace, Name: workloadName(router.Name)}
	own := func(kind string, spec map[string]any) error {
		return r.apply(ctx, map[string]any{
			"apiVersion": groupVersion.String(), "kind": kind, "metadata": metadata(router, name.Name, nil, nil), "spec": spec,
		})
	}
	if err := own("Group", map[string]any{"name": accountName(router)}); err != nil {
		return "", false, err
	}
	peers := &group{}
	if err := r.Get(ctx, name, peers); err != nil || peers.Status.GroupID == "" {
		return "", false, client.IgnoreNotFound(err)
	}
	if err := own("SetupKey", map[string]any{
		"name": accountName(router), "ephemeral": true,
		"autoGroups": []any{map[string]any{"id": peers.Status.GroupID}},
	}); err != nil {
		return "", false, err
	}
	key := &setupKey{}
	if err := r.Get(ctx, name, key); err != nil {
		return "", false, client.IgnoreNotFound(err)
	}
	return peers.Status.GroupID, key.Status.SetupKeyID != "", nil
}

// makeWorkload applies the Deployment and what belongs to it, and tells whether as many pods are ready as there are. That
// is so as well while there are none yet.
func (r *routers) makeWorkload(ctx context.Context, router *networkRouter) (bool, error) {
	name, forwarder := workloadName(router.Name), workloadName(router.Name)+"-forwarder"
	selector := map[string]string{"app.kubernetes.io/name": "networkrouter", "app.kubernetes.io/instance": router.Name}
	image, logLevel := r.settings.clientImage, "info"
	if router.Spec.Image != "" {
		image = router.Spec.Image
	}
	if router.Spec.LogLevel != "" {
		logLevel = router.Spec.LogLevel
	}
	template, err := basePodTemplate(podSettings{
		selector: selector, clientImage: image, forwarderImage: r.settings.forwarderImage,
		secret: setupKeySecret(name), managementURL: r.settings.managementURL, logLevel: logLevel,
		forwarder: forwarder, namespace: router.Namespace,
	})
	if err != nil {
		return false, err
	}
	replicas := int32(defaultReplicas)
	var labels, annotations map[string]string
	if override := router.Spec.WorkloadOverride; override != nil {
		labels, annotations = override.Labels, override.Annotations
		if override.Replicas != nil {
			replicas = *override.Replicas
		}
		if len(override.PodTemplate) > 0 && string(override.PodTemplate) != "null" {
			if err := mergePodTemplate(template, override.PodTemplate); err != nil {
				return false, err
			}
		}
	}
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, selector)

	pods := map[string]any{"matchLabels": selector}
	wanted := []map[string]any{
		{
			"apiVersion": "v1", "kind": "Service",
			"metadata": metadata(router, forwarder, map[string]string{"netbird.io/forwarder-router-name": router.Name}, nil),
			"spec":     map[string]any{"clusterIP": "None", "selector": selector},
		},
		{
			"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(router, forwarder, nil, nil),
		},
		{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata(router, forwarder, nil, nil),
			"rules": []any{map[string]any{
				"apiGroups": []string{""}, "resources": []string{"configmaps"}, "verbs": []string{"get", "watch"},
			}},
		},
		{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
			"metadata": metadata(router, forwarder, nil, nil),
			"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": forwarder, "namespace": router.Namespace}},
			"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": forwarder},
		},
		{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(router, name, labels, annotations),
			"spec": map[string]any{"replicas": replicas, "selector": pods, "template": template},
		},
	}
	budget := map[string]any{
		"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(router, name, labels, annotations),
		"spec": map[string]any{"maxUnavailable": 1, "selector": pods},
	}
	if replicas > 1 {
		wanted = append(wanted, budget)
	}
	for _, desired := range wanted {
		if err := r.apply(ctx, desired); err != nil {
			return false, fmt.Errorf("%s %s: %w", desired["kind"], name, err)
		}
	}
	if replicas <= 1 {
		stale := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: router.Namespace}}
		if err := client.IgnoreNotFound(r.Delete(ctx, stale)); err != nil {
			return false, err
		}
	}
	deployment := &appsv1.Deployment{}
	if err := r.Get(ctx, types.NamespacedName{Namespace: router.Namespace, Name: name}, deployment); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return deployment.Status.ReadyReplicas == deployment.Status.Replicas, nil
}

// metadata of something that a router owns.
func metadata(router *networkRouter, name string, labels, annotations map[string]string) map[string]any {
	described := map[string]any{
		"name": name, "namespace": router.Namespace, "ownerReferences": []any{ownedBy(router, "NetworkRouter")},
	}
	if len(labels) > 0 {
		described["labels"] = labels
	}
	if len(annotations) > 0 {
		described["annotations"] = annotations
	}
	return described
}

// unmake deletes the router object and the network; Group and SetupKey are deleted with their owner, by their finalizers.
func (r *routers) unmake(ctx context.Context, router *networkRouter) error {
	network := router.Status.NetworkID
	if network == "" {
		return nil
	}
	if err := r.netbird.remove(ctx, routersOf(network), router.Status.RoutingPeerID); err != nil {
		return err
	}
	return r.netbird.remove(ctx, "/networks", network)
}
