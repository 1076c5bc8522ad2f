package main

import (
	"context"
	"errors"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	kubeerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	setupKeyEntry = "setup-key"
	// shownLength is how much of a key NetBird shows after it was made.
	shownLength = 5
)

func setupKeySecret(name string) string { return "setup-key-" + name }

// setupKeys keeps NetBird setup keys and the Secrets with their values. The value comes once, when a key is made; when
// Secret or key are lost or don't match, there will be a new key.
type setupKeys struct{ *cluster }

func (k *setupKeys) kind() object[setupKey] {
	return object[setupKey]{finalizer: "finalizers.netbird.io/setupkey", make: k.make, unmake: k.unmake}
}

func (k *setupKeys) make(ctx context.Context, wanted *setupKey) (ctrl.Result, error) {
	if err := k.ensureFinalizer(ctx, wanted, k.kind().finalizer); err != nil {
		return ctrl.Result{}, err
	}
	autoGroups, err := k.groupIDs(ctx, wanted.Namespace, wanted.Spec.AutoGroups)
	if err != nil {
		return ctrl.Result{}, err
	}
	usable, err := k.usable(ctx, wanted)
	if err != nil {
		return ctrl.Result{}, err
	}
	old := wanted.Status.SetupKeyID
	if usable {
		// Ready is said where a key is made and nowhere else. So a key whose Ready was lost never gets it, and after a
		// change of the spec the condition stays with the generation before.
		err := k.netbird.send(ctx, http.MethodPut, "/setup-keys/"+old, setupKeyChange{AutoGroups: autoGroups}, nil)
		return ctrl.Result{RequeueAfter: again}, err
	}

	body := setupKeyBody{
		Name: wanted.Spec.Name, Type: "reusable", AutoGroups: autoGroups,
		Ephemeral: wanted.Spec.Ephemeral, AllowExtraDNSLabels: wanted.Spec.AllowExtraDNSLabels,
	}
	if wanted.Spec.Duration != nil {
		body.ExpiresIn = int(wanted.Spec.Duration.Seconds())
	}
	var made setupKeyAnswer
	if err := k.netbird.send(ctx, http.MethodPost, "/setup-keys", body, &made); err != nil {
		return ctrl.Result{}, err
	}
	if err := k.faults.pass(ctx, keyMade); err != nil {
		return ctrl.Result{}, err
	}
	if err := k.changeStatus(ctx, wanted, func() { wanted.Status.SetupKeyID = made.ID }); err != nil {
		return ctrl.Result{}, err
	}
	if err := k.apply(ctx, map[string]any{
		"apiVersion": "v1", "kind": "Secret",
		"metadata": map[string]any{
			"name": setupKeySecret(wanted.Name), "namespace": wanted.Namespace,
			"ownerReferences": []any{ownedBy(wanted, "SetupKey")},
		},
		"stringData": map[string]any{setupKeyEntry: made.Key},
	}); err != nil {
		return ctrl.Result{}, err
	}
	if err := k.netbird.remove(ctx, "/setup-keys", old); err != nil {
		return ctrl.Result{}, err
	}
	if err := k.faults.pass(ctx, secretWritten); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: again}, k.markReady(ctx, wanted)
}

// usable tells whether the key of the status is valid and the Secret holds it.
func (k *setupKeys) usable(ctx context.Context, wanted *setupKey) (bool, error) {
	if wanted.Status.SetupKeyID == "" {
		return false, nil
	}
	var there setupKeyAnswer
	err := k.netbird.send(ctx, http.MethodGet, "/setup-keys/"+wanted.Status.SetupKeyID, nil, &there)
	switch {
	case isGone(err):
		return false, nil
	case err != nil:
		return false, err
	case there.State == "overused":
		return false, errors.New("setup key is overused")
	case there.State != "valid":
		return false, nil
	}
	secret := &corev1.Secret{}
	err = k.Get(ctx, types.NamespacedName{Namespace: wanted.Namespace, Name: setupKeySecret(wanted.Name)}, secret)
	if kubeerrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	stored := string(secret.Data[setupKeyEntry])
	return len(stored) >= shownLength && strings.HasPrefix(there.Key, stored[:shownLength]), nil
}

func (k *setupKeys) unmake(ctx context.Context, gone *setupKey) error {
	return k.netbird.remove(ctx, "/setup-keys", gone.Status.SetupKeyID)
}
