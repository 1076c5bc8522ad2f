package main

import (
	"context"
	"net/http"

	ctrl "sigs.k8s.io/controller-runtime"
)

// groups keeps NetBird groups for Group resources. Peers and resources in a group are NetBird's matter and stay.
type groups struct{ *cluster }

func (g *groups) kind() object[group] {
	return object[group]{finalizer: "finalizers.netbird.io/group", make: g.make, unmake: g.unmake}
}

func (g *groups) make(ctx context.Context, wanted *group) (ctrl.Result, error) {
	if err := g.ensureFinalizer(ctx, wanted, g.kind().finalizer); err != nil {
		return ctrl.Result{}, err
	}
	body := groupBody{Name: wanted.Spec.Name}
	id := wanted.Status.GroupID
	if id != "" {
		var there groupState
		err := g.netbird.send(ctx, http.MethodGet, "/groups/"+id, nil, &there)
		switch {
		case isGone(err):
			id = ""
		case err != nil:
			return ctrl.Result{}, err
		}
		for _, peer := range there.Peers {
			body.Peers = append(body.Peers, peer.ID)
		}
		body.Resources = there.Resources
	}
	id, err := g.netbird.put(ctx, "/groups", id, body)
	if err != nil {
		return ctrl.Result{}, err
	}
	if wanted.Status.GroupID != id {
		// On its own, and at once: without the id in the status the group would be made again, which NetBird refuses.
		if err := g.changeStatus(ctx, wanted, func() { wanted.Status.GroupID = id }); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{RequeueAfter: again}, g.markReady(ctx, wanted)
}

func (g *groups) unmake(ctx context.Context, gone *group) error {
	return g.netbird.remove(ctx, "/groups", gone.Status.GroupID)
}
