package main

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	kubeerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const recordTTLSeconds = 300

// services offers ClusterIP Services in NetBird: a resource in the router's network, and an A record in its zone.
type services struct{ *cluster }

func (s *services) kind() object[networkResource] {
	return object[networkResource]{finalizer: "finalizers.netbird.io/networkresource", make: s.make, unmake: s.unmake}
}

func (s *services) make(ctx context.Context, wanted *networkResource) (ctrl.Result, error) {
	service, router := &corev1.Service{}, &networkRouter{}
	obstacle, err := s.dependencies(ctx, wanted, service, router)
	if err != nil {
		return ctrl.Result{}, err
	}
	if obstacle != "" {
		return ctrl.Result{}, s.markWaiting(ctx, wanted, obstacle)
	}
	groups, err := s.groupIDs(ctx, wanted.Namespace, wanted.Spec.Groups)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := s.ensureFinalizer(ctx, wanted, s.kind().finalizer); err != nil {
		return ctrl.Result{}, err
	}
	network := router.Status.NetworkID
	id, err := s.netbird.put(ctx, resourcesOf(network), wanted.Status.ResourceID, resourceBody{
		Name: string(wanted.UID), Description: service.Name + "/" + service.Namespace, Address: service.Spec.ClusterIP,
		Enabled: true, Groups: groups,
	})
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := s.changeStatus(ctx, wanted, func() {
		wanted.Status.NetworkID, wanted.Status.ResourceID = network, id
	}); err != nil {
		return ctrl.Result{}, err
	}
	zoneName := router.Spec.DNSZoneRef.Name
	zone, err := s.netbird.zoneID(ctx, zoneName)
	if err != nil {
		return ctrl.Result{}, err
	}
	record := wanted.Status.DNSRecordID
	if old := wanted.Status.DNSZoneID; old != "" && old != zone {
		if err := s.netbird.remove(ctx, recordsOf(old), record); err != nil {
			return ctrl.Result{}, err
		}
		record = ""
	}
	record, err = s.netbird.put(ctx, recordsOf(zone), record, recordBody{
		Name: strings.Join([]string{service.Name, service.Namespace, zoneName}, "."), Type: "A",
		Content: service.Spec.ClusterIP, TTL: recordTTLSeconds,
	})
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := s.changeStatus(ctx, wanted, func() {
		wanted.Status.DNSZoneID, wanted.Status.DNSRecordID = zone, record
	}); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, s.markReady(ctx, wanted)
}

func resourcesOf(network string) string { return "/networks/" + network + "/resources" }
func recordsOf(zone string) string      { return "/dns/zones/" + zone + "/records" }

// dependencies reads the Service and the router, and says what is not as it has to be.
func (s *services) dependencies(
	ctx context.Context, wanted *networkResource, service *corev1.Service, router *networkRouter,
) (string, error) {
	name := types.NamespacedName{Namespace: wanted.Namespace, Name: wanted.Spec.ServiceRef.Name}
	if err := s.Get(ctx, name, service); kubeerrors.IsNotFound(err) {
		return "Referenced Service cannot be found.", nil
	} else if err != nil {
		return "", err
	}
	if service.Spec.Type != corev1.ServiceTypeClusterIP {
		return "Referenced Service is not of type ClusterIP.", nil
	}
	if service.Spec.ClusterIP == "" || service.Spec.ClusterIP == corev1.ClusterIPNone {
		return "Referenced Service does not have a ClusterIP set.", nil
	}
	reference := wanted.Spec.NetworkRouterRef
	name = types.NamespacedName{Namespace: reference.Namespace, Name: reference.Name}
	if err := s.Get(ctx, name, router); kubeerrors.IsNotFound(err) {
		return "Referenced NetworkRouter cannot be found.", nil
	} else if err != nil {
		return "", err
	}
	if router.Status.NetworkID == "" || router.Status.RoutingPeerID == "" {
		return "Referenced NetworkRouter is not ready.", nil
	}
	return "", nil
}

func (s *services) unmake(ctx context.Context, gone *networkResource) error {
	if network := gone.Status.NetworkID; network != "" {
		if err := s.netbird.remove(ctx, resourcesOf(network), gone.Status.ResourceID); err != nil {
			return err
		}
	}
	if zone := gone.Status.DNSZoneID; zone != "" {
		return s.netbird.remove(ctx, recordsOf(zone), gone.Status.DNSRecordID)
	}
	return nil
}

// ofRouter and ofService find the resources to look at again when what they refer to has changed.

func (s *services) ofRouter(ctx context.Context, changed client.Object) []reconcile.Request {
	return s.referring(ctx, "", func(wanted *networkResource) bool {
		reference := wanted.Spec.NetworkRouterRef
		return reference.Name == changed.GetName() && reference.Namespace == changed.GetNamespace()
	})
}

func (s *services) ofService(ctx context.Context, changed client.Object) []reconcile.Request {
	return s.referring(ctx, changed.GetNamespace(), func(wanted *networkResource) bool {
		return wanted.Spec.ServiceRef.Name == changed.GetName()
	})
}

func (s *services) referring(
	ctx context.Context, namespace string, refers func(*networkResource) bool,
) []reconcile.Request {
	all := &list[networkResource]{}
	if err := s.List(ctx, all, client.InNamespace(namespace)); err != nil {
		return nil
	}
	var requests []reconcile.Request
	for i := range all.Items {
		if refers(&all.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return requests
}
