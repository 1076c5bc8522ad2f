package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// again is how often everything is looked at without a reason. Errors come back sooner, with growing pauses.
const again = 15 * time.Minute

// cluster is what the reconcilers share: Kubernetes and NetBird.
type cluster struct {
	client.Client
	netbird *netbird
	faults  askedFaults
}

// object is the part of the reconcilers that differs: bring one object up to date, and delete what it has in NetBird.
type object[T any] struct {
	finalizer string
	make      func(ctx context.Context, object *T) (ctrl.Result, error)
	unmake    func(ctx context.Context, object *T) error
}

// reconciler turns the requests of a kind into calls on its objects.
func reconciler[T any, P interface {
	*T
	resource
}](c *cluster, kind object[T]) reconcile.Func {
	return func(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
		current := P(new(T))
		if err := c.Get(ctx, request.NamespacedName, current); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
		twice, err := c.faults.begin(ctx)
		if err != nil {
			return ctrl.Result{}, err
		}
		if current.GetDeletionTimestamp().IsZero() {
			stale := deepCopy((*T)(current))
			result, err := kind.make(ctx, (*T)(current))
			if twice {
				return kind.make(ctx, stale)
			}
			return result, err
		}
		if !controllerutil.ContainsFinalizer(current, kind.finalizer) {
			return ctrl.Result{}, nil
		}
		if err := kind.unmake(ctx, (*T)(current)); err != nil {
			return ctrl.Result{}, err
		}
		return ctrl.Result{}, client.IgnoreNotFound(c.change(ctx, current, func() {
			controllerutil.RemoveFinalizer(current, kind.finalizer)
		}))
	}
}

// change patches metadata and spec with what do changes.
func (c *cluster) change(ctx context.Context, changed client.Object, do func()) error {
	before := changed.DeepCopyObject().(client.Object)
	do()
	return c.Patch(ctx, changed, client.MergeFrom(before))
}

// changeStatus patches the status with what do changes.
func (c *cluster) changeStatus(ctx context.Context, changed resource, do func()) error {
	before := changed.DeepCopyObject().(client.Object)
	do()
	return c.Status().Patch(ctx, changed, client.MergeFrom(before))
}

func (c *cluster) ensureFinalizer(ctx context.Context, changed client.Object, name string) error {
	if controllerutil.ContainsFinalizer(changed, name) {
		return nil
	}
	return c.change(ctx, changed, func() { controllerutil.AddFinalizer(changed, name) })
}

// markReady is the end of a reconcile.
func (c *cluster) markReady(ctx context.Context, changed resource) error {
	return c.changeStatus(ctx, changed, func() {
		setReady(changed, metav1.ConditionTrue, reconciledReason, "")
		changed.common().ObservedGeneration = changed.GetGeneration()
	})
}

// markWaiting says what an object waits for.
func (c *cluster) markWaiting(ctx context.Context, changed resource, message string) error {
	return c.changeStatus(ctx, changed, func() {
		setReady(changed, metav1.ConditionFalse, dependencyReason, message)
	})
}

func setReady(changed resource, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&changed.common().Conditions, metav1.Condition{
		Type: readyCondition, Status: status, Reason: reason, Message: message, ObservedGeneration: changed.GetGeneration(),
	})
}

// ownedBy is the owner reference of what an object makes in Kubernetes: its controller, and deleted with it.
func ownedBy(owner client.Object, kind string) map[string]any {
	return map[string]any{
		"apiVersion": groupVersion.String(), "kind": kind, "name": owner.GetName(), "uid": string(owner.GetUID()),
		"controller": true, "blockOwnerDeletion": true,
	}
}

// apply is a forced server-side apply.
func (c *cluster) apply(ctx context.Context, desired map[string]any) error {
	encoded, err := json.Marshal(desired) // normalises numbers, which unstructured objects need as int64
	if err != nil {
		return err
	}
	content := &unstructured.Unstructured{}
	if err := content.UnmarshalJSON(encoded); err != nil {
		return err
	}
	return c.Apply(ctx, client.ApplyConfigurationFromUnstructured(content), client.ForceOwnership)
}

// groupIDs resolves references to groups.
func (c *cluster) groupIDs(ctx context.Context, namespace string, references []groupReference) ([]string, error) {
	ids := []string{}
	for _, reference := range references {
		id := reference.ID
		switch {
		case reference.LocalRef != nil:
			local := &group{}
			if err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: reference.LocalRef.Name}, local); err != nil {
				return nil, err
			}
			if id = local.Status.GroupID; id == "" {
				return nil, fmt.Errorf("group %s in groups list is not ready", local.Name)
			}
		case reference.Name != "":
			var groups []identified
			if err := c.netbird.send(ctx, http.MethodGet, "/groups", nil, &groups); err != nil {
				return nil, err
			}
			for _, found := range groups {
				if found.Name == reference.Name {
					id = found.ID
				}
			}
			if id == "" {
				return nil, fmt.Errorf("there is no group %s in NetBird", reference.Name)
			}
		default:
			if err := c.netbird.send(ctx, http.MethodGet, "/groups/"+id, nil, nil); err != nil {
				return nil, err
			}
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// onlyWatched are the kinds that the operator reconciles and the stand-in does not. It watches them nevertheless: as the
// operator's, its process ends when one of them does not become known to the API server within two minutes.
var onlyWatched = []schema.GroupVersionKind{
	legacyVersion.WithKind("NBGroup"), legacyVersion.WithKind("NBPolicy"), legacyVersion.WithKind("NBResource"),
	legacyVersion.WithKind("NBRoutingPeer"), legacyVersion.WithKind("NBSetupKey"),
	groupVersion.WithKind("ClusterProxy"), groupVersion.WithKind("NetworkEgress"),
}

func watch(manager ctrl.Manager, kind schema.GroupVersionKind) error {
	watched := &metav1.PartialObjectMetadata{}
	watched.SetGroupVersionKind(kind)
	return ctrl.NewControllerManagedBy(manager).For(watched).Complete(reconcile.Func(
		func(context.Context, ctrl.Request) (ctrl.Result, error) { return ctrl.Result{}, nil },
	))
}

func addControllers(manager ctrl.Manager, api *netbird, given settings) error {
	writer := client.WithFieldOwner(manager.GetClient(), fieldManager)
	shared := &cluster{writer, api, newFaults(writer, manager.GetAPIReader(), given.namespace)}
	routers := &routers{shared, given}
	services := &services{shared}
	manager.GetWebhookServer().Register(podWebhookPath, &admission.Webhook{Handler: &podWebhook{manager.GetClient()}})
	var watched error
	for _, kind := range onlyWatched {
		watched = errors.Join(watched, watch(manager, kind))
	}
	return errors.Join(
		watched,
		ctrl.NewControllerManagedBy(manager).For(&group{}).
			Complete(reconciler(shared, (&groups{shared}).kind())),
		ctrl.NewControllerManagedBy(manager).For(&setupKey{}).Owns(&corev1.Secret{}).
			Complete(reconciler(shared, (&setupKeys{shared}).kind())),
		ctrl.NewControllerManagedBy(manager).For(&networkRouter{}).
			Owns(&group{}).Owns(&setupKey{}).Owns(&appsv1.Deployment{}).Owns(&corev1.Service{}).
			Owns(&corev1.ServiceAccount{}).Owns(&rbacv1.Role{}).Owns(&rbacv1.RoleBinding{}).
			Complete(reconciler(shared, routers.kind())),
		ctrl.NewControllerManagedBy(manager).For(&networkResource{}).
			Watches(&networkRouter{}, handler.EnqueueRequestsFromMapFunc(services.ofRouter)).
			Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(services.ofService)).
			Complete(reconciler(shared, services.kind())),
	)
}
