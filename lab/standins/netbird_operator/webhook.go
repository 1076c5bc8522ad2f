package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	podWebhookPath     = "/mutate--v1-pod"
	setupKeyAnnotation = "netbird.io/setup-key"
)

// podWebhook is asked for each new pod of the cluster, but for the operator's own. Like the operator's it reads the
// SidecarProfiles of the pod's namespace, and refuses the pod when it cannot: with the kind missing nothing starts, whatever
// the failure policy says, as that is an answer and no failure. A pod that no profile selects passes as it is.
//
// A pod that would get a sidecar is refused as well: there is no sidecar in the stand-in, and a pod without one would not be
// what was asked for.
type podWebhook struct{ client.Reader }

var errNoSidecars = errors.New("the lab's stand-in for NetBird's operator has no sidecars")

func (w *podWebhook) Handle(ctx context.Context, request admission.Request) admission.Response {
	pod := &metav1.PartialObjectMetadata{}
	if err := json.Unmarshal(request.Object.Raw, pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if err := w.sidecar(ctx, request.Namespace, pod); err != nil {
		return admission.Denied(err.Error())
	}
	return admission.Allowed("")
}

func (w *podWebhook) sidecar(ctx context.Context, namespace string, pod *metav1.PartialObjectMetadata) error {
	if key := pod.Annotations[setupKeyAnnotation]; key != "" {
		legacy := &metav1.PartialObjectMetadata{}
		legacy.SetGroupVersionKind(legacyVersion.WithKind("NBSetupKey"))
		if err := w.Get(ctx, types.NamespacedName{Namespace: namespace, Name: key}, legacy); err != nil {
			return err
		}
		return fmt.Errorf("%s %s: %w", setupKeyAnnotation, key, errNoSidecars)
	}
	profiles := &list[sidecarProfile]{}
	if err := w.List(ctx, profiles, client.InNamespace(namespace)); err != nil {
		return err
	}
	for i := range profiles.Items {
		profile := &profiles.Items[i]
		// A profile without a selector is for all pods.
		selector := labels.Everything()
		if given := profile.Spec.PodSelector; given != nil {
			chosen, err := metav1.LabelSelectorAsSelector(given)
			if err != nil {
				return err
			}
			selector = chosen
		}
		if selector.Matches(labels.Set(pod.Labels)) {
			return fmt.Errorf("SidecarProfile %s: %w", profile.Name, errNoSidecars)
		}
	}
	return nil
}
